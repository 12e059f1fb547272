"""Where packs rest: local disks and a bucket on OSS; and the headers that say whose a directory is."""
