"""A Debian machine in software emulation: the units under its own systemd, the kernel's NFS, power cuts."""
