"""What the kernel says is mounted: /proc/self/mountinfo (proc(5)), read as text. Touches none of the mounts."""

import os
import re
from typing import NamedTuple

_OCTAL = re.compile(r"\\([0-7]{3})")
_OWNER = re.compile(r"\buser_id=([0-9]+)")


class Mount(NamedTuple):
    point: str
    fstype: str
    source: str
    device: str  # major:minor
    owner: int | None  # user id of who mounted it, if the file system says so: FUSE does


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def mounts() -> list[Mount]:
    """All mounts, oldest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _dash, after = line.rstrip("\n").partition(" - ")
            fields, rest = before.split(" "), after.split(" ")
            owner = _OWNER.search(rest[2])
            uid = int(owner[1]) if owner else None
            found.append(Mount(_plain(fields[4]), rest[0], _plain(rest[1]), fields[2], uid))
    return found


def at(point: str) -> Mount | None:
    """The topmost mount on exactly this point."""
    return next((mount for mount in reversed(mounts()) if mount.point == point), None)


def covering(path: str) -> Mount | None:
    """The mount that an absolute path lies on, by its name alone: symlinks are the caller's, and it need not exist."""
    above = [mount for mount in mounts() if is_inside(path, mount.point)]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def file_system_of(path: str) -> str:
    """The type of the file system a path lies on, or would, as mountinfo names it."""
    found = covering(os.path.realpath(path))
    return "unknown" if found is None else found.fstype


def is_inside(path: str, folder: str) -> bool:
    """Is an absolute path `folder`, or below it? By name alone."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
