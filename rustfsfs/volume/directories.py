"""Which directories may hold a volume or one of its disks. Asked before anything is made."""

import os
from collections.abc import Sequence

from rustfsfs.errors import InUse, MachineTrouble, UsageError
from rustfsfs.volume import mountinfo
from rustfsfs.volume.notices import notice

REFUSED_FILE_SYSTEMS = ("nfs", "nfs4", "overlay", "fuse.rustfsfs")  # none keeps what an fsync promised
EXPECTED = "lost+found"  # all that may be in a new disk's directory


def check_name(path: str) -> None:
    """VOLUME/disks is UTF-8, one path a line, and SQLite's names are UTF-8 too. Raises UsageError."""
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        shown = os.fsencode(path).decode(errors="replace")
        raise UsageError(f"the path {shown} is not UTF-8; volumes and disks need one that is") from exc
    if "\n" in path:
        raise UsageError(f"the path {path!r} has a line break in it; volumes and disks need one without")


def check_file_system(path: str) -> None:
    """Raises MachineTrouble for one that cannot be trusted; says so of one that is gone when the machine stops.

    By the mount's name first: what lies in our own mount is never touched, since the daemon would wait for itself.
    """
    found = mountinfo.covering(os.path.abspath(path))
    fstype = found.fstype if found is not None else "unknown"
    if fstype not in REFUSED_FILE_SYSTEMS:
        fstype = mountinfo.file_system_of(path)
    if fstype in REFUSED_FILE_SYSTEMS:
        raise MachineTrouble(f"{path} is on {fstype}, which cannot be trusted with a volume; use a local disk")
    if fstype == "tmpfs":
        notice.warning("warning: %s is in RAM (tmpfs): all of it is gone when the machine stops", path)


def check_new_disk(path: str, *, volume: str, others: Sequence[str]) -> None:
    """May the directory `path`, there or not yet, become a disk beside `others` of the volume at `volume`?

    Paths are absolute. The volume's own directory may. Raises UsageError (it is one already, or lies inside or around
    another), MachineTrouble (its file system will not do), InUse (it is not empty).
    """
    check_name(path)
    check_file_system(path)
    real = os.path.realpath(path)
    for other in others:
        if _is_same(real, os.path.realpath(other)):
            raise UsageError(f"{path} is a disk of this volume already, as {other}; name another directory")
    for other in dict.fromkeys([volume, *others]):
        _refuse_nested(path, real, other)
    check_empty(path)


def _is_same(one: str, other: str) -> bool:
    """By name, or by inode: a bind mount has two names."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False


def _refuse_nested(path: str, real: str, other: str) -> None:
    there = os.path.realpath(other)
    if real == there:
        return
    if mountinfo.is_inside(real, there):
        raise UsageError(f"{path} lies inside {other}, which the volume uses already; name another directory")
    if mountinfo.is_inside(there, real):
        raise UsageError(f"{path} lies around {other}, which the volume uses already; name another directory")


def check_empty(path: str) -> None:
    """Is `path` an empty directory that can be written, or can it be made? Raises InUse, MachineTrouble."""
    try:
        left = [name for name in sorted(os.listdir(path)) if name != EXPECTED]
    except FileNotFoundError:
        _check_parent(path)
        return
    except NotADirectoryError as exc:
        raise InUse(f"{path} is not a directory") from exc
    except OSError as exc:
        raise MachineTrouble(f"{path} cannot be used ({exc.strerror})") from exc
    if left:
        raise InUse(f"{path} is not empty ({left[0]}); name an empty or new directory")
    _check_writable(path)


def _check_parent(path: str) -> None:
    above = os.path.dirname(path)
    if os.path.islink(path) or not os.path.isdir(above):
        raise MachineTrouble(f"{path} cannot be made, since {above} is no directory; make that first")
    _check_writable(above)


def _check_writable(folder: str) -> None:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise MachineTrouble(f"{folder} is on a read-only file system")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MachineTrouble(f"{folder} cannot be written (Permission denied)")
