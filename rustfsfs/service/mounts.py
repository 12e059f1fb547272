"""What the kernel says is mounted: /proc/self/mountinfo (proc(5)), read as text."""

import errno
import os
import re
from typing import NamedTuple

FSTYPE = "fuse.rustfsfs"
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    point: str
    fstype: str
    source: str
    device: str  # major:minor


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def mounts() -> list[Mount]:
    """All mounts, oldest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _dash, after = line.rstrip("\n").partition(" - ")
            fields, rest = before.split(" "), after.split(" ")
            found.append(Mount(_plain(fields[4]), rest[0], _plain(rest[1]), fields[2]))
    return found


def at(point: str) -> Mount | None:
    """The topmost mount on exactly this point."""
    return next((mount for mount in reversed(mounts()) if mount.point == point), None)


def ours_at(point: str) -> Mount | None:
    found = at(point)
    return found if found is not None and found.fstype == FSTYPE else None


def file_system_of(path: str) -> str:
    """The type of the file system a path lies on, as mountinfo names it."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    return next((mount.fstype for mount in reversed(mounts()) if mount.device == number), "unknown")


def is_dead(point: str) -> bool:
    """Is a mount there whose daemon is gone?"""
    try:
        os.statvfs(point)  # the kernel answers stat(2) from its cache for a day
    except OSError as exc:
        return exc.errno == errno.ENOTCONN  # "Transport endpoint is not connected"
    return False
