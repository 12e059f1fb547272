"""Where packs rest: local disks now, a bucket later; and the headers that say whose a directory is."""
