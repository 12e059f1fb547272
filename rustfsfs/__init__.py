"""rustfsfs: a deduplicating, compressing, encrypting POSIX file system on FUSE.

The library comes first: `volume` holds it. FUSE, the command line and systemd are three ways to call it.
"""

__version__ = "0.1.0"

if not __debug__:
    raise SystemExit("rustfsfs: refusing to run under python -O, which removes the assertions that guard your data")
