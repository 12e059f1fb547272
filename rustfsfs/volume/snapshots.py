"""Metadata snapshots: sealed copies of the database on every disk, so that no single file holds all the names.

DISK/snapshots/<epoch, 16 hex digits>.db, the two newest. What a retained snapshot names, packs and journal segments, is
not deleted (I5). Order: copy durable on every disk → KeepSnapshots op durable → older files deleted.
"""

import trio

from rustfsfs import ops
from rustfsfs.errors import StoreError
from rustfsfs.meta import database, disks
from rustfsfs.store.base import PackStore
from rustfsfs.store.headers import DiskHeader, write_disk_header
from rustfsfs.units import MIB
from rustfsfs.volume import epochs
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import Files, opened

KEPT = 2  # DESIGN.md §3, Disks
FOLDER = "snapshots"
STEP = MIB  # bytes copied at once


def file_name(epoch: int) -> str:
    return f"{epoch:016x}.db"


def is_due(volume: Volume) -> bool:
    """Has anything been committed since the newest retained snapshot?"""
    newest = max((snapshot.seq for snapshot in disks.snapshots(volume.metadata)), default=-1)
    return volume.activity.committed_seq > newest + 1  # its own KeepSnapshots op does not count


async def take(volume: Volume, *, keep: int = KEPT) -> None:
    """Make a snapshot of the last COMMIT on every disk, and delete all but the newest `keep`.

    A disk that cannot take it is logged and left out, as long as one can. Raises StoreError, OSError when none could.
    """
    await epochs.commit(volume)
    if volume.health.read_only_reason is not None:
        return
    async with volume.reader_lock:
        made = await trio.to_thread.run_sync(_write_everywhere, volume)
    await volume.gate.opened()
    kept = [*disks.snapshots(volume.metadata), made]
    del kept[:-keep]
    record(volume, ops.KeepSnapshots(snapshots=[(s.epoch, s.seq, s.segments) for s in kept]))
    rows = {row.disk: row for row in disks.all_(volume.metadata)}
    for number in volume.disks:
        row = rows[number]
        record(volume, ops.SetDisk(disk=number, epoch=made.epoch, draining=bool(row.draining), path=row.path))
    await barrier(volume)
    await trio.to_thread.run_sync(delete_others, volume, {snapshot.epoch for snapshot in kept})


def _write_everywhere(volume: Volume) -> disks.Snapshot:
    """Blocking, on the second connection: one read transaction from the first page to the last."""
    reader = volume.reader
    reader.run("BEGIN")
    try:
        database.read_running(reader)
        running = reader.running
        made = disks.Snapshot(running.epoch, running.last_seq, disks.hot_segments(reader))
        first: str | None = None
        trouble: Exception | None = None
        for number, disk in sorted(volume.disks.items()):
            try:
                first = _write_one(volume, disk, made.epoch, first)
                _renew_header(volume, number, disk, made.epoch)
            except (StoreError, OSError) as exc:
                log.error("no metadata snapshot on disk %s: %s", disk.path, exc)
                trouble = exc
        if first is None and trouble is not None:
            raise trouble
        return made
    finally:
        reader.run("COMMIT")


def _write_one(volume: Volume, disk: PackStore, epoch: int, first: str | None) -> str:
    """One copy, durable: from the database, or from the first copy. Returns its path."""
    files, folder = volume.world.files, f"{disk.path}/{FOLDER}"
    files.mkdir(folder)
    path, temporary = f"{folder}/{file_name(epoch)}", f"{folder}/{file_name(epoch)}.new"
    files.unlink(temporary)
    if first is None:
        database.copy_to(volume.reader.db, temporary, volume.keys.database)
    else:
        _copy(files, first, temporary)
    with opened(files, temporary, write=True) as fd:
        files.sync(fd)
    files.rename(temporary, path)
    files.sync_dir(folder)
    return path


def _copy(files: Files, source: str, target: str) -> None:
    with opened(files, source) as old:
        new = files.create(target)
        try:
            offset = 0
            while data := files.pread(old, STEP, offset):
                if files.pwrite(new, data, offset) != len(data):
                    raise OSError(f"{target} could not be written whole")
                offset += len(data)
        finally:
            files.close(new)


def _renew_header(volume: Volume, number: int, disk: PackStore, epoch: int) -> None:
    header = DiskHeader(volume_uuid=volume.header.uuid, disk_uuid=disk.uuid, number=number, epoch=epoch)
    write_disk_header(volume.world, disk.path, header, keys=volume.keys)


def delete_others(volume: Volume, kept: set[int]) -> None:
    """Delete snapshot files of other epochs, and half-made ones. Blocking."""
    names = {file_name(epoch) for epoch in kept}
    for disk in volume.disks.values():
        folder = f"{disk.path}/{FOLDER}"
        if not volume.world.files.exists(folder):
            continue
        for name in volume.world.files.names(folder):
            if name not in names:
                volume.world.files.unlink(f"{folder}/{name}")
