"""Mounts of ours, among all that the kernel names (volume/mountinfo.py)."""

import errno
import os

from rustfsfs.volume.mountinfo import Mount, at, covering, file_system_of, is_inside, mounts

__all__ = ["FSTYPE", "at", "covering", "file_system_of", "is_dead", "is_inside", "mounts", "of", "ours_at", "resolve"]
FSTYPE = "fuse.rustfsfs"


def ours_at(point: str) -> Mount | None:
    found = at(point)
    return found if found is not None and found.fstype == FSTYPE else None


def of(volume: str) -> Mount | None:
    """The newest mount of a volume."""
    return next((m for m in reversed(mounts()) if m.fstype == FSTYPE and m.source == volume), None)


def resolve(point: str) -> str:
    """A mount point as the kernel names it: symlinks followed, and what is mounted there not asked: it may be dead."""
    parent, name = os.path.split(point.rstrip("/"))
    if name in ("", ".", ".."):
        return os.path.realpath(point)
    found = os.path.join(os.path.realpath(parent), name)
    return os.path.realpath(found) if at(found) is None and os.path.islink(found) else found


def is_dead(point: str) -> bool:
    """Is a mount there whose daemon is gone?"""
    try:
        os.statvfs(point)  # `stat` is answered from the kernel's cache for a second
    except OSError as exc:
        return exc.errno == errno.ENOTCONN  # "Transport endpoint is not connected"
    return False
