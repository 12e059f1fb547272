"""VOLUME and MOUNTPOINT arguments: what a path stands for."""

import os
from typing import NamedTuple

from rustfsfs.errors import NotAVolume
from rustfsfs.service import mounts
from rustfsfs.store.headers import VOLUME_HEADER
from rustfsfs.volume.locking import holder, is_locked


class Place(NamedTuple):
    """A volume, and where it is mounted now, if it is."""

    volume: str
    mount_point: str | None
    pid: int | None

    @property
    def is_mounted(self) -> bool:
        return self.mount_point is not None


def find(path: str) -> Place:
    """A volume or a mount point of one. Raises NotAVolume."""
    full = os.path.realpath(path) if not mounts.ours_at(os.path.abspath(path)) else os.path.abspath(path)
    there = mounts.ours_at(full)
    if there is not None:
        return _mounted(there.source, full)
    if not os.path.exists(f"{full}/{VOLUME_HEADER}") and not os.path.exists(f"{full}/metadata.db"):
        raise NotAVolume(f"{path} is neither a rustfsfs volume nor the mount point of one")
    if is_locked(full):
        point = holder(full).get("mount_point")
        return _mounted(full, str(point) if point else None)
    return Place(full, None, None)


def _mounted(volume: str, point: str | None) -> Place:
    pid = holder(volume).get("pid")
    return Place(volume, point, pid if isinstance(pid, int) else None)


def find_mounted(path: str) -> Place:
    """A mount point, or a volume that is mounted. Raises NotAVolume."""
    found = find(path)
    if not found.is_mounted:
        raise NotAVolume(f"{path} is not mounted; mount it first with: rustfsfs mount {found.volume} MOUNTPOINT")
    return found
