"""Metadata snapshots: sealed copies of the database on every disk, so that no single file holds all the names.

DISK/snapshots/<epoch, 16 hex digits>.db, the two newest: the database's pages, then magic 16 | MAC 32 of them. What a
retained snapshot names, packs and journal segments, is not deleted (I5). Order: copy durable on every disk →
KeepSnapshots op durable → older files deleted.
"""

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

import trio

from rustfsfs import ops
from rustfsfs.content.keys import Keys, RunningMac, derive
from rustfsfs.errors import DamagedVolume, StoreError, StoreUnavailable
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
TEMPORARY = "metadata.copy"  # in VOLUME, while one is made
STEP = MIB  # bytes copied at once
TRAILER_MAGIC = b"rustfsfs snapend"
TRAILER_SIZE = len(TRAILER_MAGIC) + 32  # and the MAC of all before it: of two epochs' pages no mixture is taken for one


def file_name(epoch: int) -> str:
    return f"{epoch:016x}.db"


def is_due(volume: Volume) -> bool:
    """Has anything happened since the newest retained snapshot that it should have? Its own ops are bookkeeping."""
    newest_seq = max((snapshot.seq for snapshot in disks.snapshots(volume.metadata)), default=-1)
    return volume.metadata.running.changed_seq > newest_seq


async def take(volume: Volume, *, keep: int = KEPT) -> None:
    """Make a snapshot of the last COMMIT on every disk, and delete all but the newest `keep`.

    A disk that cannot take it is logged and left out, as long as one can. Raises StoreError, OSError when none could.
    """
    async with volume.snapshot_lock:
        await _take(volume, keep)


async def _take(volume: Volume, keep: int) -> None:
    await epochs.commit(volume)
    if volume.health.read_only_reason is not None:
        return
    await volume.gate.opened()
    with _held(volume, disks.snapshots(volume.metadata)):
        await _replace(volume, keep)


async def _replace(volume: Volume, keep: int) -> None:
    async with reading(volume) as made:
        published = await trio.to_thread.run_sync(_write_everywhere, volume, made, dict(volume.disks))
        await volume.gate.opened()
        # the same epoch again, if every COMMIT since has failed: it takes the older one's place
        kept = [one for one in disks.snapshots(volume.metadata) if one.epoch != made.epoch]
        kept = [*kept, made][-keep:]
        record(volume, ops.KeepSnapshots(snapshots=[(s.epoch, s.seq, s.segments) for s in kept]))
    rows = {row.disk: row for row in disks.all_(volume.metadata)}
    for number in published & rows.keys():
        row = rows[number]
        record(volume, ops.SetDisk(disk=number, epoch=made.epoch, draining=bool(row.draining), path=row.path))
    await barrier(volume)
    await trio.to_thread.run_sync(delete_others, volume, {snapshot.epoch for snapshot in kept}, dict(volume.disks))


@contextmanager
def _held(volume: Volume, there: Sequence[disks.Snapshot]) -> Iterator[None]:
    """What these name stays, although no row may name them any more: until their files are gone they may be needed."""
    with volume.journal.pinned({number for one in there for number in one.segments}):
        volume.pins.dropped_seq = min((one.seq for one in there), default=1 << 62)
        try:
            yield
        finally:
            volume.pins.dropped_seq = 1 << 62


@asynccontextmanager
async def reading(volume: Volume) -> AsyncIterator[disks.Snapshot]:
    """The last COMMIT, in a read transaction of the second connection, to be copied in a worker, which may end it.

    What it names is not deleted before the block is left (I5). For who holds `snapshot_lock`.
    """
    async with volume.reader_lock:
        made = await _begin(volume)
        with volume.journal.pinned(set(made.segments)):
            try:
                yield made
            finally:
                volume.pins.snapshot_seq = 1 << 62
                if volume.reader.db.in_transaction:  # cancelled between the two workers
                    volume.reader.run("COMMIT")


async def _begin(volume: Volume) -> disks.Snapshot:
    """Open the read transaction of a snapshot, and pin what it names; nothing is deleted until that is known (I5)."""
    volume.pins.snapshot_begins = True
    try:
        made = await trio.to_thread.run_sync(_begin_reading, volume)
        volume.pins.snapshot_seq = made.seq
        return made
    finally:
        volume.pins.snapshot_begins = False


def _begin_reading(volume: Volume) -> disks.Snapshot:
    """Blocking."""
    reader = volume.reader
    reader.run("BEGIN")
    try:
        database.read_running(reader)
        return disks.Snapshot(reader.running.epoch, reader.running.last_seq, disks.hot_segments(reader))
    except BaseException:
        reader.run("COMMIT")
        raise


async def keep_none(volume: Volume) -> None:
    """Let go of every snapshot: the last means of a full disk."""
    async with volume.snapshot_lock:
        await volume.gate.opened()
        record(volume, ops.KeepSnapshots(snapshots=[]))
        await trio.to_thread.run_sync(delete_others, volume, set(), dict(volume.disks))


def _write_everywhere(volume: Volume, made: disks.Snapshot, stores: dict[int, PackStore]) -> set[int]:
    """Blocking, on the second connection, whose read transaction it ends; returns the disks that have it."""
    reader = volume.reader
    try:
        if not stores:
            raise StoreUnavailable("no disk is there that could take a metadata snapshot")
        targets = _Targets(volume, made.epoch, stores)
        try:
            whole = RunningMac(_mac_key(volume.keys))
            for data in database.copied(reader.db, f"{volume.path}/{TEMPORARY}", volume.keys.database, step=STEP):
                whole.update(data)
                targets.append(data)
            targets.append(TRAILER_MAGIC + whole.digest())
        finally:
            targets.close()
        return targets.publish()
    finally:
        reader.run("COMMIT")


def _mac_key(keys: Keys) -> bytes:
    return derive(keys.database, b"snapshot")


def copy_out(files: Files, snapshot: str, target: str, keys: Keys) -> None:
    """A snapshot as the database it is, at `target`, which is new: SQLite makes files beside what it opens. Blocking.

    Raises DamagedVolume (not all of it is what was written), OSError.
    """
    copy = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(copy, "wb") as file:
        if read_whole(files, snapshot, keys, file.write) is False:
            raise DamagedVolume(f"the metadata snapshot {snapshot} is damaged")


def read_whole(files: Files, snapshot: str, keys: Keys, take: Callable[[bytes], object]) -> bool | None:
    """Give the database that a snapshot holds to `take`, piece by piece; is all of it what was written? Blocking.

    None: it is of 0.1.0 and has no MAC of the whole. Raises OSError.
    """
    size_bytes = files.size(snapshot)
    has_trailer = size_bytes % database.PAGE_SIZE == TRAILER_SIZE
    end = size_bytes - TRAILER_SIZE * has_trailer
    whole = RunningMac(_mac_key(keys))
    with opened(files, snapshot) as fd:
        for offset in range(0, end, STEP):
            data = files.pread(fd, min(STEP, end - offset), offset)
            whole.update(data)
            take(data)
        trailer = files.pread(fd, TRAILER_SIZE, end)
    if size_bytes % database.PAGE_SIZE == 0:
        return None
    return trailer == TRAILER_MAGIC + whole.digest()


class _Targets:
    """The copies being written, one on each disk. A disk that fails is logged and left out, as long as one is left."""

    def __init__(self, volume: Volume, epoch: int, stores: dict[int, PackStore]) -> None:
        self._volume = volume
        self._epoch = epoch
        self._stores = stores
        self._files: Files = volume.world.files
        self._open: dict[int, int] = {}  # disk -> descriptor
        self._left = set(stores)  # disks that have not failed
        self._offset = 0
        for number in stores:
            self._try(number, self._begin)

    def _path(self, number: int) -> str:
        return f"{self._stores[number].path}/{FOLDER}/{file_name(self._epoch)}"

    def _try(self, number: int, work: Callable[[int], None]) -> None:
        try:
            work(number)
        except (StoreError, OSError) as exc:
            log.error("no metadata snapshot on disk %s: %s", self._stores[number].path, exc)
            self._left.discard(number)
            self._give_up(number)
            if not self._left:
                raise

    def _give_up(self, number: int) -> None:
        fd = self._open.pop(number, None)
        if fd is not None:
            self._files.close(fd)
        try:
            self._files.unlink(self._path(number) + ".new")
        except OSError:
            pass  # the next opening deletes it

    def _begin(self, number: int) -> None:
        disk = self._stores[number].path
        if not self._stores[number].answers():  # or the path of an unmounted one would become a disk of its own
            raise StoreUnavailable("it is not there any more; is it mounted?")
        if not self._files.exists(f"{disk}/{FOLDER}"):
            self._files.mkdir(f"{disk}/{FOLDER}")
            self._files.sync_dir(disk)
        self._files.unlink(self._path(number) + ".new")
        self._open[number] = self._files.create(self._path(number) + ".new")

    def append(self, data: bytes) -> None:
        def put(number: int) -> None:
            if self._files.pwrite(self._open[number], data, self._offset) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        for number in list(self._open):
            self._try(number, put)
        self._offset += len(data)

    def close(self) -> None:
        """Each copy durable, though not yet by its name."""
        for number in list(self._open):
            self._try(number, lambda number: self._files.sync(self._open[number]))
            fd = self._open.pop(number, None)
            if fd is not None:
                self._files.close(fd)

    def publish(self) -> set[int]:
        """Order: the copy by its name, durable → the disk's header names its epoch."""
        for number in sorted(self._left):
            self._try(number, self._publish)
        return self._left

    def _publish(self, number: int) -> None:
        path = self._path(number)
        self._files.rename(path + ".new", path)
        self._files.sync_dir(os.path.dirname(path))
        _renew_header(self._volume, number, self._stores[number], self._epoch)


def _renew_header(volume: Volume, number: int, disk: PackStore, epoch: int) -> None:
    header = DiskHeader(volume_uuid=volume.header.uuid, disk_uuid=disk.uuid, number=number, epoch=epoch)
    write_disk_header(volume.world, disk.path, header, keys=volume.keys)


def delete_others(volume: Volume, kept: set[int], stores: Mapping[int, PackStore]) -> None:
    """Delete snapshot files of other epochs, and half-made ones. Blocking. Raises OSError, after all had their turn."""
    names = {file_name(epoch) for epoch in kept}
    trouble: OSError | None = None
    for disk in stores.values():
        try:
            _delete_but(volume.world.files, f"{disk.path}/{FOLDER}", names)
        except OSError as exc:
            trouble = trouble or exc
    if trouble is not None:
        raise trouble


def _delete_but(files: Files, folder: str, kept: set[str]) -> None:
    if files.exists(folder):
        for name in files.names(folder):
            if name not in kept:
                files.unlink(f"{folder}/{name}")
