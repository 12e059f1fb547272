"""Verbs on disks: list, add, remove. `drive` is the file's name only because `disks` are the rows."""

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio

from rustfsfs import ops
from rustfsfs.errors import InUse, MachineTrouble, NoSpace, RustfsfsError, UsageError
from rustfsfs.meta import chunks, disks
from rustfsfs.meta.disks import DiskRow
from rustfsfs.store.disks import LocalDisk
from rustfsfs.store.headers import DiskHeader, read_disk_header, write_disk_header, write_volume_header
from rustfsfs.units import DiskNo
from rustfsfs.volume import collecting, directories, epochs, packing, snapshots
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.diskspace import asked
from rustfsfs.volume.formatting import DISKS
from rustfsfs.volume.header import find_header
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Files, opened, publish

PACKS_AT_ONCE = 100
LIST_SIZE_MAX = 1 << 20


async def list_(volume: Volume) -> list[dict[str, Any]]:
    """One dictionary a disk: number, path, state, space, stored bytes."""
    spaces, found = await asked(volume), []
    await volume.gate.opened()
    for row in disks.all_(volume.metadata):
        sql = "SELECT coalesce(sum(live_bytes), 0) FROM packs WHERE disk = ? AND NOT closed & 2"
        stored = volume.metadata.rows(sql, (row.disk,))
        space = spaces.get(row.disk)
        found.append(
            {
                "number": row.disk,
                "path": row.directory(volume.path),
                "state": "missing" if space is None else "draining" if row.draining else "ready",
                "total_bytes": space.total_bytes if space else None,
                "free_bytes": space.free_bytes if space else None,
                "stored_bytes": stored[0][0],
            }
        )
    return found


async def add(volume: Volume, path: str) -> int:
    """A new disk at an empty directory, or the new place of a disk that is missing; returns its number.

    Order: its headers durable → AddDisk op → COMMIT. Raises UsageError, InUse (not empty), MachineTrouble.
    """
    path = os.path.realpath(path)
    directories.check_name(path)
    async with volume.collect_lock:  # disks come and go one at a time, and not while packs move
        await trio.to_thread.run_sync(directories.check_file_system, path)
        await volume.gate.opened()
        rows = disks.all_(volume.metadata)
        if any(row.disk in volume.disks and row.directory(volume.path) == path for row in rows):
            raise UsageError(f"{path} is a disk of this volume already")
        moved = await trio.to_thread.run_sync(_missing_disk_at, volume, path, rows)
        if moved is not None:
            return await _moved(volume, moved, path)
        others = [row.directory(volume.path) for row in rows]
        await trio.to_thread.run_sync(partial(directories.check_new_disk, path, volume=volume.path, others=others))
        number = max((row.disk for row in rows), default=0) + 1
        uuid = volume.world.random_bytes(16)
        await trio.to_thread.run_sync(_prepare, volume, path, number, uuid)
        await volume.gate.opened()
        record(volume, ops.AddDisk(disk=number, uuid=uuid, path=path))
        volume.disks[number] = _disk(volume, path, number, uuid)
        volume.health.short_again_s = -1e9
        await epochs.commit(volume)
        await write_list(volume)
    await snapshots.take(volume)
    return number


def _disk(volume: Volume, path: str, number: int, uuid: bytes) -> LocalDisk:
    return LocalDisk(
        world=volume.world,
        path=path,
        number=DiskNo(number),
        uuid=uuid,
        volume_uuid=volume.header.uuid,
        keys=volume.keys,
    )


def _prepare(volume: Volume, path: str, number: int, uuid: bytes) -> None:
    """The directory and its headers. The volume's header as it is now: keys may have come or gone since the mount."""
    files = volume.world.files
    try:
        if not files.exists(path):
            files.mkdir(path)
            files.sync_dir(os.path.dirname(path))  # else a row would name a disk that a power cut took away
        volume.disk_locks.take(path)
        header = DiskHeader(volume_uuid=volume.header.uuid, disk_uuid=uuid, number=number, epoch=0)
        files.mkdir(f"{path}/packs")
        write_volume_header(files, path, find_header(volume.world, volume.path))
        write_disk_header(volume.world, path, header, keys=volume.keys)
    except OSError as exc:
        volume.disk_locks.release(path)
        raise MachineTrouble(f"{path} cannot be used ({exc.strerror})") from exc


def _missing_disk_at(volume: Volume, path: str, rows: Sequence[DiskRow]) -> DiskRow | None:
    """The missing disk whose header lies at a path, if it is whole. Raises InUse for an older copy of it."""
    try:
        header = read_disk_header(volume.world.files, path, keys=volume.keys, uuid=volume.header.uuid)
    except (RustfsfsError, OSError):
        return None
    for row in rows:
        if row.uuid == header.disk_uuid and row.disk not in volume.disks:
            if header.epoch < row.epoch:
                raise InUse(f"{path} is an older copy of disk {row.disk}; bring the newer one")
            return row
    return None


async def _moved(volume: Volume, row: DiskRow, path: str) -> int:
    volume.disk_locks.take(path)
    async with volume.pack_lock:
        await packing.abandon(volume, [row.disk])  # of the place where it was before, if it went in this life
    await volume.gate.opened()
    record(volume, ops.SetDisk(disk=row.disk, epoch=row.epoch, draining=bool(row.draining), path=path))
    volume.disks[row.disk] = _disk(volume, path, row.disk, row.uuid)
    for known in (volume.health.missing_disks, volume.health.failing_disks, volume.health.lost_disks):
        known.pop(row.disk, None)
    volume.health.left_alone.release_disk(row.disk)
    volume.health.short_again_s = volume.room.looked_s = -1e9
    await epochs.commit(volume)
    await write_list(volume)
    return row.disk


async def remove(volume: Volume, path: str, *, progress: Progress = no_progress) -> None:
    """Move everything off a disk, then forget it. Cut off, it goes on where it was when called again.

    Of a disk that is missing, the chunks' other copies are stored once more. Raises UsageError (no such disk, or too
    few are left), NoSpace (the others cannot take it: it stays a disk like the others), MachineTrouble (a frame cannot
    be read: nothing is forgotten).
    """
    async with volume.collect_lock:
        await volume.gate.opened()
        row = _removable(volume, path)
        record(volume, ops.SetDisk(disk=row.disk, epoch=0, draining=True, path=row.path))
        try:
            await _empty(volume, row.disk, path, progress)
        except NoSpace:
            await volume.gate.opened()
            record(volume, ops.SetDisk(disk=row.disk, epoch=0, draining=False, path=row.path))
            raise
        await packing.close_full(volume, everything=True)
        await epochs.commit(volume)
        await snapshots.take(volume, keep=1)
        await collecting.delete_doomed(volume)
        await volume.gate.opened()
        record(volume, ops.RemoveDisk(disk=row.disk))
        volume.disks.pop(row.disk, None)
        volume.health.missing_disks.pop(row.disk, None)
        await epochs.commit(volume)
        await write_list(volume)
        if row.path != disks.OWN:
            volume.disk_locks.release(row.directory(volume.path))


def _removable(volume: Volume, path: str) -> DiskRow:
    """The disk at a path, if enough others are left for all copies. Raises UsageError."""
    rows = {row.directory(volume.path): row for row in disks.all_(volume.metadata)}
    row = rows.get(path) or rows.get(os.path.realpath(path))
    if row is None:
        raise UsageError(f"{path} is no disk of this volume; it has: {', '.join(rows)}")
    others = [other for other in rows.values() if other.disk != row.disk and other.disk in volume.disks]
    if sum(not other.draining for other in others) < volume.header.copies:
        raise UsageError(f"{path} cannot be removed: {volume.header.copies} other disks are needed; add one first")
    return row


async def _empty(volume: Volume, disk: int, path: str, progress: Progress) -> None:
    await packing.close_full(volume, everything=True)
    done = 0
    while True:
        await collecting.bury(volume)
        await volume.gate.opened()
        left = volume.metadata.rows("SELECT count(*) FROM packs WHERE disk = ?", (disk,))[0][0]
        packs = chunks.packs_on(volume.metadata, disk, PACKS_AT_ONCE)
        if not packs:
            return
        for pack in packs:
            progress(done, done + left, f"moving packs off {path}")
            if not await collecting.empty_pack(volume, pack.pack, disk, avoid=frozenset({disk})):
                raise _stays(volume, pack, path)
            done, left = done + 1, left - 1
            if volume.activity.uncommitted_rows >= volume.activity.epoch_rows:  # not mounted, nobody else does it
                await epochs.commit(volume)


def _stays(volume: Volume, pack: chunks.Pack, path: str) -> MachineTrouble:
    why = volume.health.left_alone.packs(Why.NOT_NOW, now_s=trio.current_time()).get((pack.pack, pack.disk))
    if why is not None:
        return MachineTrouble(
            f"pack {pack.pack} of {path} is damaged, and the bucket, which has it, does not help: {why}"
        )
    return MachineTrouble(f"pack {pack.pack} of {path} has frames that cannot be read; run fsck --data")


async def write_list(volume: Volume) -> None:
    """The text file that names the disks when the database cannot; written when it differs."""
    await volume.gate.opened()
    paths = "".join(row.path + "\n" for row in disks.all_(volume.metadata)).encode()
    await trio.to_thread.run_sync(_write_list, volume.world.files, f"{volume.path}/{DISKS}", paths)


def _write_list(files: Files, name: str, paths: bytes) -> None:
    if not files.exists(name) or _contents(files, name) != paths:
        publish(files, name, paths)


def _contents(files: Files, name: str) -> bytes:
    with opened(files, name) as fd:
        return files.pread(fd, LIST_SIZE_MAX, 0)
