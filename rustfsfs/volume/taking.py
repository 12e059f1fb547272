"""Which directories here are the disks that a copy of the metadata names: it may come from another host.

Only the copy is changed, but for the header of a disk that VOLUME becomes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.errors import RustfsfsError
from rustfsfs.meta import chunks, disks
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.disks import DiskRow
from rustfsfs.store.headers import DiskHeader, read_disk_header, write_disk_header
from rustfsfs.volume.formatting import DISKS, JOURNAL
from rustfsfs.volume.header import listed_disks
from rustfsfs.volume.presence import find_disks
from rustfsfs.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """A volume's directory, and what opens the headers of its disks."""

    world: World
    path: str
    header: VolumeHeader
    keys: Keys


def take_new(here: Here, metadata: Metadata) -> list[str]:
    """In a new directory: VOLUME takes the place of a disk that is gone; the others that are gone are forgotten."""
    world, path = here.world, here.path
    world.files.mkdir(f"{path}/{JOURNAL}")
    gone = _gone(here, metadata)
    if not gone:
        return []
    own = next((row for row in gone if row.path == disks.OWN), gone[0])
    disks.change(metadata, own.disk, epoch=own.epoch, draining=False, path=disks.OWN)
    world.files.mkdir(f"{path}/packs")
    header = DiskHeader(volume_uuid=here.header.uuid, disk_uuid=own.uuid, number=own.disk, epoch=own.epoch)
    write_disk_header(world, path, header, keys=here.keys)
    notes = [] if own.path == disks.OWN else [f"{path} is disk {own.disk} now, in place of {own.path}"]
    return [*notes, *_forget(metadata, [row for row in gone if row.disk != own.disk])]


def take_again(here: Here, metadata: Metadata) -> list[str]:
    """In a directory that is a volume: its disks are where they are here, the other host's are forgotten.

    As long as a disk that VOLUME/disks names is not there, nothing is forgotten: it may be one of those.
    """
    if not os.path.exists(f"{here.path}/{DISKS}"):
        return []
    folders = {here.path: disks.OWN} | {path: path for path in listed_disks(here.world, here.path)}
    there, is_complete = dict[bytes, str](), True
    for folder, path in folders.items():
        try:
            header = read_disk_header(here.world.files, folder, keys=here.keys, uuid=here.header.uuid)
            there[header.disk_uuid] = path
        except (RustfsfsError, OSError):
            is_complete &= path == disks.OWN  # not each VOLUME is a disk
    for row in disks.all_(metadata):
        if (path := there.get(row.uuid, row.path)) != row.path:
            disks.change(metadata, row.disk, epoch=row.epoch, draining=bool(row.draining), path=path)
    gone = [row for row in _gone(here, metadata) if row.uuid not in there and row.path not in folders.values()]
    return _forget(metadata, gone) if there and is_complete else []


def accept_older(here: Here, metadata: Metadata) -> set[int]:
    """Disks whose headers are older than the copy's rows say are let in all the same; which they are.

    A volume that went on elsewhere, or a disk of an earlier day: what lies there is to be looked at before it is used.
    """
    older = set[int]()
    for row in disks.all_(metadata):
        path = row.directory(here.path)
        try:
            found = read_disk_header(here.world.files, path, keys=here.keys, uuid=here.header.uuid, disk_uuid=row.uuid)
        except (RustfsfsError, OSError):
            continue
        if found.disk_uuid == row.uuid and found.epoch < row.epoch:
            disks.set_back(metadata, row.disk, epoch=found.epoch)
            older.add(row.disk)
    return older


def _gone(here: Here, metadata: Metadata) -> list[DiskRow]:
    _stores, missing, _newer = find_disks(here.world, here.path, here.header, here.keys, metadata)
    return [row for row in disks.all_(metadata) if row.disk in missing]


def _forget(metadata: Metadata, gone: Sequence[DiskRow]) -> list[str]:
    notes = []
    for row in gone:
        doomed = [(pack, disk) for pack, disk, _seq in chunks.doomed(metadata) if disk == row.disk]
        chunks.forget_doomed(metadata, doomed)
        disks.remove(metadata, row.disk)
        notes.append(f"disk {row.disk} ({row.path}) is gone, and no disk of the volume any more")
    return notes
