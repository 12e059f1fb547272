"""VOLUME, MOUNTPOINT and NAME arguments: what a word stands for.

A word that /etc/rustfsfs/NAME.toml stands for is that NAME, whatever lies in the working directory: a unit's is /,
where a name like "home" is a directory. Who means a path writes a slash.
"""

import os
from typing import NamedTuple

import click

from rustfsfs.errors import MachineTrouble, NotAVolume, NotThere
from rustfsfs.service import mounts, sites
from rustfsfs.siteconfig import NAME, Site
from rustfsfs.store.headers import VOLUME_HEADER
from rustfsfs.volume.directories import check_name
from rustfsfs.volume.formatting import METADATA
from rustfsfs.volume.locking import holder, is_locked

PLACE, MOUNTED = "NAME|VOLUME|MOUNTPOINT", "NAME|MOUNTPOINT"
PATH = click.Path(readable=False)  # what cannot be read is said in our words, with our codes
FILE = click.Path(readable=False, dir_okay=False)


class Place(NamedTuple):
    """A volume, and where it is mounted now, if it is."""

    volume: str
    mount_point: str | None
    pid: int | None
    site: Site | None = None  # if it was named by its NAME

    @property
    def is_mounted(self) -> bool:
        return self.mount_point is not None


def site_of(word: str) -> Site | None:
    """Of a NAME; None: it is a path. Raises UsageError (a mistake in its file), MachineTrouble."""
    return sites.load(word, os.environ) if sites.is_name(word, os.environ) else None


def find(word: str) -> Place:
    """A volume, a mount point of one, or a NAME; a mount whose daemon is gone stands for its volume.

    Raises NotAVolume (NotThere of a NAME), UsageError, MachineTrouble.
    """
    site = site_of(word)
    if site is None:
        return _find(word)
    try:
        return _find(site.mount.volume)._replace(site=site)
    except NotAVolume:
        ensure_there(site)
        raise


def _find(path: str) -> Place:
    point = mounts.resolve(path)
    there = mounts.ours_at(point)
    if there is not None:
        mounts.refuse_of_others(there)
        if not mounts.is_dead(point):
            return _mounted(there.source, point)
    full = os.path.realpath(path) if there is None else there.source
    ensure_readable(full)
    if not is_volume(full):
        what = f", nor is {sites.path_of(path, os.environ)} there" if NAME.match(path) else ""
        raise NotAVolume(f"{path} is neither a rustfsfs volume nor the mount point of one{what}")
    if is_locked(full):
        known = holder(full).get("mount_point")
        return _mounted(full, str(known) if known else None)
    return Place(full, None, None)


def is_volume(path: str) -> bool:
    return os.path.exists(f"{path}/{VOLUME_HEADER}") or os.path.exists(f"{path}/{METADATA}")


def ensure_readable(volume: str) -> None:
    """A directory we may not look into could be a volume. Raises UsageError (its name), MachineTrouble."""
    check_name(volume)
    if os.path.isdir(volume) and not os.access(volume, os.R_OK | os.X_OK):
        raise MachineTrouble(f"{volume} cannot be read (Permission denied)")


def ensure_there(site: Site) -> None:
    """What NAME.toml names, and is nowhere or empty as a mount point, may be on a disk that comes late.

    A path that somebody types is rather mistyped. Raises NotThere, MachineTrouble.
    """
    volume = site.mount.volume
    try:
        if os.listdir(volume):
            return
        found = "is an empty directory"
    except NotADirectoryError:
        return
    except FileNotFoundError:
        found = "is not there"
    except OSError as exc:
        raise MachineTrouble(f"{volume} cannot be read ({exc.strerror})") from exc
    raise NotThere(f"{volume}, the volume of {site.name}, {found}; mount its disk first, or correct {site.path}")


def _mounted(volume: str, point: str | None) -> Place:
    pid = holder(volume).get("pid")
    return Place(volume, point, pid if isinstance(pid, int) else None)


def find_mounted(path: str) -> Place:
    """A mount point, or a volume that is mounted, or its NAME. Raises NotAVolume."""
    found = find(path)
    if not found.is_mounted:
        how = f"{found.volume} MOUNTPOINT" if found.site is None else found.site.name
        raise NotAVolume(f"{path} is not mounted; mount it first with: rustfsfs mount {how}")
    return found


def whole_path(credentials: str) -> str:
    """A file may be named from here; what is no path is left for others to judge, and never shown."""
    return os.path.abspath(credentials) if "/" in credentials or os.path.exists(credentials) else credentials
