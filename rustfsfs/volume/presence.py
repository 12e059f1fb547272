"""Which disks are there. One that goes while the volume is open is missing from then on, as if it had been mounted
without it (`--degraded`); one that comes back is there again.

Nothing of that is recorded: what to do about a disk that is missing at the next opening is for a person to decide.
"""

import math

import trio

from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.errors import DamagedData, RustfsfsError, StoreUnavailable
from rustfsfs.meta import disks
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.disks import OWN, DiskRow
from rustfsfs.store.base import PackStore
from rustfsfs.store.disks import LocalDisk
from rustfsfs.store.headers import (
    DiskHeader,
    read_disk_header,
    read_volume_header,
    write_volume_header,
)
from rustfsfs.units import DiskNo
from rustfsfs.volume import packing
from rustfsfs.volume.diskspace import hanging
from rustfsfs.volume.header import find_header
from rustfsfs.volume.volume import READ_ONLY_ASKED, Volume, log
from rustfsfs.world import Files, World

ANSWER_S_MAX = 120.0  # who has not said who it is by then hangs; a controller that resets its bus takes half as long
PROVE_EVERY_S = 60.0  # while data is sealed


def find_disks(
    world: World, volume_path: str, header: VolumeHeader, keys: Keys, metadata: Metadata
) -> tuple[dict[int, PackStore], dict[int, str], list[str]]:
    """(disks that are there, why others are not, signs that the metadata was rolled back)."""
    found: dict[int, PackStore] = {}
    missing: dict[int, str] = {}
    newer: list[str] = []
    for row in disks.all_(metadata):
        path = row.directory(volume_path)
        try:
            on_disk = _header_of(world.files, row, path, keys=keys, uuid=header.uuid)
        except (RustfsfsError, OSError) as exc:
            missing[row.disk] = f"{path}: {_said(exc)}"
            continue
        if on_disk.epoch > metadata.running.epoch:
            newer.append(f"disk {path} has seen epoch {on_disk.epoch}, the metadata {metadata.running.epoch}")
        found[row.disk] = _disk(world, row, path, header, keys)
    return found, missing, newer


def _header_of(
    files: Files, row: DiskRow, path: str, *, keys: Keys, uuid: bytes, past_cache: bool = False
) -> DiskHeader:
    """Of the disk that should lie at a path. Raises NotAVolume, DamagedData, StoreUnavailable, OSError: it does not."""
    found = read_disk_header(files, path, keys=keys, uuid=uuid, disk_uuid=row.uuid, past_cache=past_cache)
    if found.disk_uuid != row.uuid:
        raise StoreUnavailable(f"holds another disk of this volume (number {found.number})")
    if found.epoch < row.epoch:
        raise StoreUnavailable(f"is an older copy (epoch {found.epoch}, the metadata expects {row.epoch})")
    return found


def _said(exc: RustfsfsError | OSError) -> str:
    return f"it cannot be read ({exc.strerror})" if isinstance(exc, OSError) else str(exc)


def _disk(world: World, row: DiskRow, path: str, header: VolumeHeader, keys: Keys) -> LocalDisk:
    return LocalDisk(world=world, path=path, number=DiskNo(row.disk), uuid=row.uuid, volume_uuid=header.uuid, keys=keys)


class Watch:
    """Asks the disks, each in a thread of its own: one that hangs keeps nobody from the others."""

    def __init__(self, volume: Volume, *, answer_s_max: float = ANSWER_S_MAX) -> None:
        self._volume = volume
        self._answer_s_max = answer_s_max
        self._asking: set[tuple[int, str]] = set()  # (disk, path) that a thread waits for
        self._held: dict[tuple[int, str], PackStore] = {}  # what was not let go of yet, since something hangs
        self._limiter = trio.CapacityLimiter(math.inf)
        self._proved_s, self._sealed_bytes = (
            -math.inf,
            0,
        )  # when all were asked past the cache, and what was sealed then

    async def look(self) -> None:
        """Note which disks went, and which came back."""
        volume = self._volume
        volume.health.suspects.update(hanging(volume))
        self._doubt_when_sealing()
        await volume.gate.opened()
        for row in disks.all_(volume.metadata):
            await self._look_at(row)

    def _doubt_when_sealing(self) -> None:
        """What is sealed may rest on chunks that a disk has already, and its page cache outlives a disk (I6).

        When nothing is written nothing is asked: disks that sleep go on doing so.
        """
        volume, now_s = self._volume, trio.current_time()
        if volume.activity.sealed_bytes != self._sealed_bytes and now_s - self._proved_s >= PROVE_EVERY_S:
            self._proved_s, self._sealed_bytes = now_s, volume.activity.sealed_bytes
            volume.health.suspects.update(volume.disks)

    async def _look_at(self, row: DiskRow) -> None:
        volume, health = self._volume, self._volume.health
        store = volume.disks.get(row.disk)
        past_cache = store is None or row.disk in health.suspects
        health.suspects.discard(row.disk)
        why = await self._why_missing(row, store, past_cache=past_cache)
        await volume.gate.opened()
        if volume.disks.get(row.disk) is not store or not _is_row(volume, row):
            return  # somebody added or removed it meanwhile
        if store is not None and why is not None:
            await self._leave(row, store, why)
        elif store is None and why is None:
            await self._come_back(row)
        elif why is not None:
            health.missing_disks[row.disk] = why
            await self._let_go(row)

    async def _why_missing(self, row: DiskRow, store: PackStore | None, *, past_cache: bool) -> str | None:
        path = row.directory(self._volume.path)
        asked, said = (row.disk, path), list[str | None]()
        if asked in self._asking:
            return f"{path}: it still does not answer"

        def ask() -> None:
            try:
                said.append(_trouble(self._volume, row, path, store, past_cache=past_cache))
            finally:
                self._asking.discard(asked)

        self._asking.add(asked)
        with trio.move_on_after(self._answer_s_max):
            await trio.to_thread.run_sync(ask, limiter=self._limiter, abandon_on_cancel=True)
        if not said:  # else it answered, however long this process was stopped meanwhile
            return f"{path}: it has not answered for {self._answer_s_max:.0f} s"
        return None if said[0] is None else f"{path}: {said[0]}"

    async def _leave(self, row: DiskRow, store: PackStore, why: str) -> None:
        volume = self._volume
        del volume.disks[row.disk]
        volume.health.missing_disks[row.disk] = why
        volume.room.looked_s = -1e9
        volume.wishes.seal.set()
        log.error("a disk is missing: %s; new data goes to the others, and what only it has cannot be read", why)
        self._held[row.disk, store.path] = store
        await self._let_go(row)

    async def _let_go(self, row: DiskRow) -> bool:
        """Of a disk's open pack, files and lock, so that its file system can be unmounted, and come back.

        False: not yet. It hangs, or a disk does to which something is written: the others are not to wait for that.
        """
        key = row.disk, row.directory(self._volume.path)
        if key not in self._held:
            return True
        if key in self._asking:
            return False
        with trio.move_on_after(self._answer_s_max) as waiting:
            await self._volume.pack_lock.acquire()
        if waiting.cancelled_caught:
            return False
        try:
            await packing.abandon(self._volume, [row.disk])
        finally:
            self._volume.pack_lock.release()
        store = self._held.pop(key)
        await trio.to_thread.run_sync(store.close)
        _unlock(self._volume, row, store)
        return True

    async def _come_back(self, row: DiskRow) -> None:
        volume, path = self._volume, row.directory(self._volume.path)
        if not await self._let_go(row):
            volume.health.missing_disks[row.disk] = f"{path}: it is back, and what was written before does not end"
            return
        store = _disk(volume.world, row, path, volume.header, volume.keys)
        try:
            _lock(volume, row, store)
        except (RustfsfsError, OSError) as exc:
            volume.health.missing_disks[row.disk] = f"{path}: {_said(exc)}"
            return
        try:
            newest = await trio.to_thread.run_sync(_make_alike, volume, store)
        except (RustfsfsError, OSError) as exc:
            _unlock(volume, row, store)
            volume.health.missing_disks[row.disk] = f"{path}: {_said(exc)}"
            return
        await volume.gate.opened()
        if row.disk in volume.disks or not _is_row(volume, row):
            _unlock(volume, row, store)
            return
        volume.numbers.pack = max(volume.numbers.pack, newest + 1)
        volume.disks[row.disk] = store
        for known in (volume.health.missing_disks, volume.health.failing_disks, volume.health.lost_disks):
            known.pop(row.disk, None)
        volume.health.left_alone.release_disk(row.disk)
        volume.health.short_again_s = -1e9
        volume.room.looked_s = -1e9
        log.warning("the disk %s is there again", path)


def _is_row(volume: Volume, row: DiskRow) -> bool:
    """Is it a disk of the volume yet, at the same place?"""
    return any(one[:3] == row[:3] for one in disks.all_(volume.metadata))


def _trouble(volume: Volume, row: DiskRow, path: str, store: PackStore | None, *, past_cache: bool) -> str | None:
    """Why a disk is not there. Of one that was, a damaged header is for scrubbing to mend. Blocking."""
    try:
        found = _header_of(
            volume.world.files, row, path, keys=volume.keys, uuid=volume.header.uuid, past_cache=past_cache
        )
        if store is not None:
            store.space()
    except DamagedData as exc:
        return str(exc) if store is None else None
    except (RustfsfsError, OSError) as exc:
        return _said(exc)
    if store is None and found.epoch > volume.metadata.running.epoch:
        return f"has seen epoch {found.epoch}, the metadata {volume.metadata.running.epoch}"
    return None


def _lock(volume: Volume, row: DiskRow, store: PackStore) -> None:
    """Raises InUse. VOLUME's own directory stays locked all the time."""
    if row.path != OWN:
        is_shared = volume.health.read_only_reason == READ_ONLY_ASKED and store.space().read_only
        volume.disk_locks.take(store.path, is_shared=is_shared)


def _unlock(volume: Volume, row: DiskRow, store: PackStore) -> None:
    if row.path != OWN:
        volume.disk_locks.release(store.path)


def _make_alike(volume: Volume, store: PackStore) -> int:
    """Keys may have come or gone meanwhile. Returns the greatest number of its packs. Blocking."""
    files = volume.world.files
    if volume.health.read_only_reason is None:
        header = find_header(volume.world, volume.path)
        if read_volume_header(files, store.path) != header:
            write_volume_header(files, store.path, header)
    return max(store.packs(), default=0)
