"""The FUSE front end: a protocol adapter and nothing else."""
