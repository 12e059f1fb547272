"""What lies below a file system: encrypted, turning? Read in /sys (sysfs(5)), by device numbers; nothing is opened."""

import os
from typing import NamedTuple

from rustfsfs.volume.mountinfo import Mount

SYS = "/sys"
CRYPT = "CRYPT-"  # dm/uuid of a device of dm-crypt begins so, LUKS or plain


class Below(NamedTuple):
    is_encrypted: bool | None  # all of it; None: it cannot be seen
    is_rotational: bool | None  # any of it


UNKNOWN = Below(None, None)


def below(device: str, *, sys: str = SYS) -> Below:
    """`device` is major:minor."""
    folder = os.path.realpath(f"{sys}/dev/block/{device}")
    return _below(folder) if os.path.isdir(folder) else UNKNOWN


def _below(folder: str) -> Below:
    if _read(f"{folder}/dm/uuid").startswith(CRYPT):
        return Below(True, _turns(folder))
    parts = _names(f"{folder}/slaves")
    if not parts:
        return Below(False, _turns(folder))
    found = [_below(os.path.realpath(f"{folder}/slaves/{name}")) for name in parts]
    return Below(all(one.is_encrypted for one in found), any(one.is_rotational for one in found))


def _turns(folder: str) -> bool | None:
    """Of a partition its disk knows."""
    whole = os.path.dirname(folder) if os.path.exists(f"{folder}/partition") else folder
    said = _read(f"{whole}/queue/rotational")
    return None if not said else said == "1"


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def device_of(mount: Mount) -> str:
    """Of a mounted file system. One that spans several devices has a number of its own: then its source's counts."""
    if mount.device.startswith("0:") and mount.source.startswith("/dev/"):
        try:
            return number(os.stat(mount.source).st_rdev)
        except OSError:
            pass
    return mount.device
