"""Open packs: where sealed frames are appended. All under `volume.pack_lock`."""

from collections.abc import Iterable, Sequence

import trio

from rustfsfs import ops
from rustfsfs.errors import NoSpace, RustfsfsError, StoreError, StoreUnavailable, without_frames
from rustfsfs.meta import chunks
from rustfsfs.store.base import PackAppender, PackStore
from rustfsfs.tiers.place import choose_disks
from rustfsfs.units import MIB, PackNo
from rustfsfs.volume.diskspace import lost, note_failed, note_stored, takers
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Storing, Volume, log

PACK_SIZE = 16 * MIB  # DESIGN.md §3; a pack closes with the frame that passes it


async def store_frames(
    volume: Volume, frames: Sequence[tuple[bytes, bytes | memoryview]], *, avoid: frozenset[int] = frozenset()
) -> dict[bytes, list[ops.Place]]:
    """Append (chunk id, frame)s to the open packs of `copies` disks; durable on return.

    Raises NoSpace, StoreUnavailable: then nothing of it counts, and the packs that failed are closed for good.
    """
    if not frames:
        return {}
    return await _place(volume, frames, None, avoid, copies=volume.header.copies)


async def store_copy(
    volume: Volume, frames: Sequence[tuple[bytes, bytes | memoryview]], *, target: int | None, avoid: frozenset[int]
) -> dict[bytes, ops.Place]:
    """As `store_frames`, one copy: on disk `target` if it takes packs, or the one with the most room."""
    stored = await _place(volume, frames, target, avoid, copies=1)
    return {chunk_id: places[0] for chunk_id, places in stored.items()}


async def _place(
    volume: Volume,
    frames: Sequence[tuple[bytes, bytes | memoryview]],
    target: int | None,
    avoid: frozenset[int],
    *,
    copies: int,
) -> dict[bytes, list[ops.Place]]:
    """Instead of a disk that fails others are chosen, as long as there are some."""
    need = sum(len(frame) for _id, frame in frames)
    failed: dict[int, StoreUnavailable] = {}
    while True:
        await volume.gate.opened()
        chosen = _choose(volume, need, target, avoid, copies=copies)
        for disk in failed.keys() & {*chosen}:
            raise failed[disk]
        volume.activity.storing = Storing(trio.current_time(), chosen)
        try:
            placed = await _store(volume, frames, chosen)
        except StoreUnavailable as exc:
            if exc.disk is None:
                raise
            note_failed(volume, exc.disk, str(exc))
            failed[exc.disk] = without_frames(exc)
        else:
            note_stored(volume, chosen)
            if len(chosen) < copies:
                _note_short(volume, len(chosen), copies)
            return placed
        finally:
            volume.activity.storing = None


async def _store(
    volume: Volume, frames: Sequence[tuple[bytes, bytes | memoryview]], chosen: Sequence[int]
) -> dict[bytes, list[ops.Place]]:
    for disk in chosen:
        if disk not in volume.writers:
            if disk not in volume.disks:
                raise StoreUnavailable(f"disk {disk} went while another one's pack was made", disk=disk)
            volume.writers[disk] = await trio.to_thread.run_sync(volume.disks[disk].create_pack, next_pack(volume))
    writers = {disk: volume.writers[disk] for disk in chosen}
    try:
        return await trio.to_thread.run_sync(_append_all, writers, frames, limiter=volume.sealers)
    except (RustfsfsError, OSError):
        await abandon(volume, chosen)
        raise


def _note_short(volume: Volume, count: int, wanted: int) -> None:
    if not volume.health.short_batches:
        log.error("new data has %d copies instead of %d, as long as so few disks take it", count, wanted)
    volume.health.short_batches += 1


def _append_all(
    writers: dict[int, PackAppender], frames: Sequence[tuple[bytes, bytes | memoryview]]
) -> dict[bytes, list[ops.Place]]:
    placed: dict[bytes, list[ops.Place]] = {}
    for disk, writer in writers.items():
        offsets = writer.append([frame for _id, frame in frames])
        for (chunk_id, frame), offset in zip(frames, offsets, strict=True):
            placed.setdefault(chunk_id, []).append(ops.Place(disk, writer.pack, offset, len(frame)))
    for writer in writers.values():
        writer.sync()
    return placed


def _choose(volume: Volume, need: int, target: int | None, avoid: frozenset[int], *, copies: int) -> tuple[int, ...]:
    free = {disk: space.free_bytes for disk, space in takers(volume, copies=copies, avoid=avoid).items()}
    if target in free:
        return (target,)
    if len(free) < copies and (silent := lost(volume)):  # it is looked at now: it may be gone
        volume.health.suspects.update(silent)
        volume.wishes.disks.set()
        raise StoreUnavailable("; ".join(silent.values()))
    if not volume.disks:
        raise StoreUnavailable("; ".join(volume.health.missing_disks.values()))
    copies = min(copies, max(1, len(free)))
    chosen = choose_disks(free, copies=copies, need_bytes=need, current=frozenset(volume.writers))
    if len(chosen) < copies:
        raise NoSpace("no disk has room for a pack")
    return chosen


def next_pack(volume: Volume) -> PackNo:
    number = volume.numbers.pack
    volume.numbers.pack += 1
    return PackNo(number)


def packs_of(places: Iterable[Sequence[ops.Place]]) -> list[tuple[int, int]]:
    return sorted({(place.pack, place.disk) for group in places for place in group})


async def abandon(volume: Volume, chosen: Iterable[int]) -> None:
    """Writers of a failed append, or of a disk that is gone, take no more.

    What rows name in their packs stays, and the next mount finishes those. What no row names goes at once: rounds that
    fail again and again must leave neither bytes nor descriptors behind.
    """
    for disk in chosen:
        await volume.gate.opened()
        writer = volume.writers.pop(disk, None)
        if writer is None:
            continue
        row = chunks.find_pack(volume.metadata, writer.pack, disk)
        log.warning("pack %d on disk %d takes no more frames", writer.pack, disk)
        await trio.to_thread.run_sync(writer.abandon, row.end_bytes if row is not None else 0, limiter=volume.sealers)


async def close_full(volume: Volume, *, everything: bool = False) -> None:
    """Close the packs that are full (or all): directory written, synced, recorded.

    Not those of a disk that went: if it hangs, that would not end, and sealing and unmounting neither.
    """
    async with volume.pack_lock:
        for disk, writer in list(volume.writers.items()):
            if disk in volume.disks and (everything or writer.size_bytes >= PACK_SIZE):
                await close(volume, disk, writer)


async def close(volume: Volume, disk: int, writer: PackAppender) -> None:
    """Its directory written, synced, recorded. The caller holds `pack_lock`."""
    del volume.writers[disk]
    with trio.CancelScope(shield=True):  # or only the next mount would close it
        try:
            size_bytes = await trio.to_thread.run_sync(writer.close, limiter=volume.sealers)
        except (StoreError, NoSpace, OSError) as exc:
            log.warning("pack %d on disk %d could not be closed, the next mount does it: %s", writer.pack, disk, exc)
            return
        await volume.gate.opened()
    if chunks.find_pack(volume.metadata, writer.pack, disk) is not None:
        record(volume, ops.ClosePack(pack=writer.pack, disk=disk, size_bytes=size_bytes))
        volume.wishes.tier.set()


def is_open(volume: Volume, pack: int, disk: int) -> bool:
    writer = volume.writers.get(disk)
    return writer is not None and writer.pack == pack


def present(volume: Volume, places: Iterable[ops.Place]) -> list[tuple[PackStore, ops.Place]]:
    return [(volume.disks[place.disk], place) for place in places if place.disk in volume.disks]
