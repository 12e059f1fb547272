"""Verbs on disks: list, add, remove. `drive` is the file's name only because `disks` are the rows."""

import os
from typing import Any

from rustfsfs import ops
from rustfsfs.content.slots import encode_header
from rustfsfs.errors import InUse, MachineTrouble, UsageError
from rustfsfs.meta import chunks, disks
from rustfsfs.store.disks import LocalDisk
from rustfsfs.store.headers import DiskHeader, write_disk_header, write_volume_header
from rustfsfs.units import DiskNo
from rustfsfs.volume import collecting, epochs, packing, snapshots
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.formatting import DISKS
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import publish


def list_(volume: Volume) -> list[dict[str, Any]]:
    """One dictionary a disk: number, path, state, space, stored bytes."""
    found = []
    for row in disks.all_(volume.metadata):
        stored = volume.metadata.rows("SELECT coalesce(sum(live_bytes), 0) FROM packs WHERE disk = ?", (row.disk,))
        disk = volume.disks.get(row.disk)
        space = disk.space() if disk else None
        found.append(
            {
                "number": row.disk,
                "path": row.path,
                "state": "missing" if disk is None else "draining" if row.draining else "ready",
                "total_bytes": space.total_bytes if space else None,
                "free_bytes": space.free_bytes if space else None,
                "stored_bytes": stored[0][0],
            }
        )
    return found


async def add(volume: Volume, path: str) -> int:
    """A new disk at an empty directory; returns its number.

    Order: its headers durable → AddDisk op → COMMIT. Raises UsageError, InUse (not empty), MachineTrouble.
    """
    path = os.path.abspath(path)
    rows = disks.all_(volume.metadata)
    if any(row.path == path for row in rows):
        raise UsageError(f"{path} is a disk of this volume already")
    files = volume.world.files
    try:
        if not files.exists(path):
            files.mkdir(path)
        if [name for name in files.names(path) if name != "lost+found"]:
            raise InUse(f"{path} is not empty; name an empty or new directory")
        number = max((row.disk for row in rows), default=0) + 1
        uuid = volume.world.random_bytes(16)
        header = DiskHeader(volume_uuid=volume.header.uuid, disk_uuid=uuid, number=number, epoch=0)
        files.mkdir(f"{path}/packs")
        write_disk_header(volume.world, path, header, keys=volume.keys)
        write_volume_header(files, path, encode_header(volume.header, mac_key=volume.keys.header_mac))
    except OSError as exc:
        raise MachineTrouble(f"{path} cannot be used ({exc.strerror})") from exc
    await volume.gate.opened()
    record(volume, ops.AddDisk(disk=number, uuid=uuid, path=path))
    volume.disks[number] = LocalDisk(
        world=volume.world,
        path=path,
        number=DiskNo(number),
        uuid=uuid,
        volume_uuid=volume.header.uuid,
        keys=volume.keys,
    )
    await epochs.commit(volume)
    write_list(volume)
    await snapshots.take(volume)
    return number


async def remove(volume: Volume, path: str, *, progress: Progress = no_progress) -> None:
    """Move everything off a disk, then forget it. Cut off, it goes on where it was when called again.

    Raises UsageError (no such disk, or the last one), NoSpace (the others cannot take it), MachineTrouble (a frame
    cannot be read: nothing is forgotten).
    """
    path = os.path.abspath(path)
    rows = {row.path: row for row in disks.all_(volume.metadata)}
    row = rows.get(path)
    if row is None:
        raise UsageError(f"{path} is no disk of this volume; it has: {', '.join(rows)}")
    others = [other for other in rows.values() if other.disk != row.disk and other.disk in volume.disks]
    if len(others) < volume.header.copies:
        raise UsageError(f"{path} cannot be removed: {volume.header.copies} other disks are needed; add one first")
    record(volume, ops.SetDisk(disk=row.disk, epoch=0, draining=True, path=row.path))
    await packing.close_full(volume, everything=True)
    while True:
        await collecting.bury(volume)
        packs = [pack for pack in chunks.packs(volume.metadata) if pack.disk == row.disk]
        if not packs:
            break
        for done, pack in enumerate(packs):
            progress(done, len(packs), f"moving packs off {path}")
            if not await collecting.empty_pack(volume, pack.pack, row.disk, avoid=frozenset({row.disk})):
                raise MachineTrouble(f"pack {pack.pack} on {path} has frames that cannot be read; run fsck --data")
    await packing.close_full(volume, everything=True)
    await epochs.commit(volume)
    await snapshots.take(volume, keep=1)
    await collecting.delete_doomed(volume)
    await volume.gate.opened()
    record(volume, ops.RemoveDisk(disk=row.disk))
    volume.disks.pop(row.disk, None)
    await epochs.commit(volume)
    write_list(volume)


def write_list(volume: Volume) -> None:
    """The text file that names the disks when the database cannot."""
    paths = "".join(row.path + "\n" for row in disks.all_(volume.metadata))
    publish(volume.world.files, f"{volume.path}/{DISKS}", paths.encode())
