"""Mounts of ours, among all that the kernel names (volume/mountinfo.py)."""

import errno
import os
import pwd
import subprocess

from rustfsfs.errors import MachineTrouble
from rustfsfs.volume.mountinfo import Mount, at, covering, file_system_of, is_inside, mounts

__all__ = [
    "FSTYPE",
    "Mount",
    "at",
    "covering",
    "detach",
    "file_system_of",
    "is_dead",
    "is_inside",
    "mounts",
    "ours_at",
    "refuse_of_others",
    "resolve",
]
FSTYPE = "fuse.rustfsfs"


def ours_at(point: str) -> Mount | None:
    found = at(point)
    return found if found is not None and found.fstype == FSTYPE else None


def resolve(point: str) -> str:
    """A mount point as the kernel names it: symlinks followed, and what is mounted there not asked: it may be dead."""
    parent, name = os.path.split(point.rstrip("/"))
    if name in ("", ".", ".."):
        return os.path.realpath(point)
    found = os.path.join(os.path.realpath(parent), name)
    return os.path.realpath(found) if at(found) is None and os.path.islink(found) else found


def detach(point: str, *, lazy: bool) -> str | None:
    """Unmount; what the tool says if it could not. Raises MachineTrouble (there is no tool)."""
    if os.geteuid() == 0:
        tool = ["umount", *(["-l"] if lazy else []), point]
    else:
        tool = ["fusermount3", "-u", *(["-z"] if lazy else []), point]
    try:
        done = subprocess.run(tool, check=False, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as exc:
        raise MachineTrouble(f"{tool[0]} is not on the PATH; install the packages mount and fuse3") from exc
    return None if done.returncode == 0 else done.stderr.strip().replace("\n", "; ")


def refuse_of_others(mount: Mount) -> None:
    """Raises MachineTrouble for a mount of another user, unless we are root."""
    if mount.owner is None or os.geteuid() in (0, mount.owner):
        return
    try:
        name = pwd.getpwuid(mount.owner).pw_name
    except KeyError:
        name = f"with number {mount.owner}"
    raise MachineTrouble(f"{mount.point} was mounted by the user {name}; only that user and root can do this")


def is_dead(point: str) -> bool:
    """Is a mount there whose daemon is gone?"""
    try:
        os.statvfs(point)  # the kernel answers stat(2) from its cache for a day
    except OSError as exc:
        return exc.errno == errno.ENOTCONN  # "Transport endpoint is not connected"
    return False
