"""What the kernel keeps in memory, and how it is made to forget: so that a figure says what it was measured with."""

import os
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")  # proc(5): 3 = pages, entries and inodes, as far as they are clean


def can_drop_all() -> bool:
    return os.geteuid() == 0 and os.access(DROP_CACHES, os.W_OK)


def drop_all() -> bool:
    """Everything clean of the whole machine is forgotten: of a mount, and of the disk below it. Was it?

    Only root can.
    """
    if not can_drop_all():
        return False
    os.sync()
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:  # a container may show it and not allow it
        return False
    return True


def drop_pages(path: str) -> None:
    """The clean pages of one file are forgotten: on a mount its reads go to the daemon again, whose caches stay."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
