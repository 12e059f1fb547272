"""Collection: what nothing names goes, and packs with much dead space are rewritten (DESIGN.md §3, I5).

Order: live frames durable in another pack → Move op → DropPack op → COMMIT → no snapshot names it → file deleted.
"""

from collections.abc import Callable, Sequence

import trio

from rustfsfs import ops
from rustfsfs.content import codec
from rustfsfs.errors import DamagedData, NoSpace, StoreError
from rustfsfs.meta import chunks, disks
from rustfsfs.meta.chunks import Chunk
from rustfsfs.store.base import PackStore
from rustfsfs.tiers.collect import PackFacts, plan_collection
from rustfsfs.volume import ballast, epochs, packing, snapshots
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log

CHUNKS_PER_OP = 100  # about 2 ms
FRAMES_PER_OP = 250  # of small ones; of large ones a pack holds fewer
MAKE_ROOM_EVERY_S = 5.0  # how often a full disk may ask for a collection that found nothing
Progress = Callable[[int, int, str], None]


def no_progress(_done: int, _total: int, _text: str) -> None:
    return


async def bury(volume: Volume) -> int:
    """Look at every chunk that lost an extent, and delete those that have none; returns how many were looked at."""
    looked = 0
    while True:
        await volume.gate.opened()
        suspects = chunks.suspects(volume.metadata, CHUNKS_PER_OP)
        if not suspects:
            return looked
        for chunk in suspects:
            volume.cache.remove(chunk)
        record(volume, ops.Collect(chunks=suspects))
        looked += len(suspects)
        await trio.lowlevel.checkpoint()


async def collect(volume: Volume, *, live_share: float, progress: Progress = no_progress) -> int:
    """Bury the dead, rewrite packs below `live_share`, delete what is free to go; returns bytes given back.

    Packs that a retained snapshot names stay until it is replaced: `collect_now` replaces it. Raises NoSpace.
    """
    await bury(volume)
    dropped = await _drop_empty(volume)
    emptied = await _rewrite(volume, live_share, progress)
    if dropped or emptied or chunks.doomed(volume.metadata):
        await epochs.commit(volume)
    return await delete_doomed(volume)


async def collect_now(volume: Volume, *, live_share: float, progress: Progress = no_progress) -> int:
    """As `collect`, and nothing held back: open packs are closed first, and fresh snapshots replace the older ones.

    Works on a full disk: what is wholly dead goes first, and each round's space serves the next. Raises NoSpace when
    nothing can be rewritten although there is something to rewrite.
    """
    await packing.close_full(volume, everything=True)
    freed = 0
    while True:
        await bury(volume)
        await _drop_empty(volume)
        freed += await _release(volume)
        try:
            emptied = await _rewrite(volume, live_share, progress)
        except NoSpace:
            if not ballast.give_up(volume):
                raise
            continue
        if not emptied:
            return freed
        await packing.close_full(volume, everything=True)
        live_share = min(live_share, LIVE_SHARE_AGAIN)


LIVE_SHARE_AGAIN = 0.5  # what a round has just written is not rewritten for little


async def _drop_empty(volume: Volume) -> int:
    """Drop the packs in which nothing lives any more; no bytes are moved."""
    await volume.gate.opened()
    empty = [fact for fact in _facts(volume) if not fact.live_bytes]
    for fact in empty:
        await volume.gate.opened()
        record(volume, ops.DropPack(pack=fact.pack, disk=fact.disk))
    return len(empty)


async def _rewrite(volume: Volume, live_share: float, progress: Progress) -> int:
    """Empty packs below `live_share`, emptiest first; returns how many. Raises NoSpace if not one could be."""
    await volume.gate.opened()
    plan = plan_collection(_facts(volume), live_share=live_share)
    emptied = 0
    for done, (pack, disk) in enumerate(plan):
        progress(done, len(plan), "rewriting packs")
        try:
            emptied += await empty_pack(volume, pack, disk)
        except NoSpace:
            if not emptied:
                raise
            break
    return emptied


async def _release(volume: Volume) -> int:
    """Make doomed packs free to go: rows durable, and one fresh snapshot, not naming them, for older ones."""
    await epochs.commit(volume)
    await volume.gate.opened()
    if not chunks.doomed(volume.metadata):
        return 0
    try:
        await snapshots.take(volume, keep=1)
    except (NoSpace, StoreError, OSError) as exc:
        log.warning("no room for a new metadata snapshot (%s): the older ones go first", exc)
        ballast.give_up(volume)
        await snapshots.keep_none(volume)
        freed = await delete_doomed(volume)
        await snapshots.take(volume, keep=1)
        return freed
    return await delete_doomed(volume)


async def make_room(volume: Volume) -> None:
    """The disk is full: seal nothing new, but free whatever is dead, with the ballast's help."""
    if trio.current_time() - volume.room.made_s < MAKE_ROOM_EVERY_S:
        return
    volume.room.made_s = trio.current_time()
    try:
        await collect_now(volume, live_share=0.01)
    except (NoSpace, OSError) as exc:
        if not ballast.give_up(volume):
            log.warning("nothing could be collected: %s", exc)


def _facts(volume: Volume) -> list[PackFacts]:
    return [
        PackFacts(row.pack, row.disk, row.size_bytes, row.live_bytes)
        for row in chunks.packs(volume.metadata)
        if row.disk in volume.disks and not packing.is_open(volume, row.pack, row.disk)
    ]


async def empty_pack(volume: Volume, pack: int, disk: int, *, avoid: frozenset[int] = frozenset()) -> bool:
    """Move what is live out of a pack, and drop it. False if a frame could not be read: then the pack stays."""
    await volume.gate.opened()
    behind, bad = -1, 0
    while live := chunks.live_in(volume.metadata, pack, disk, behind=behind, limit=FRAMES_PER_OP):
        behind = live[-1][1].offset
        frames = await trio.to_thread.run_sync(read_live, volume, volume.disks[disk], live, limiter=volume.sealers)
        async with volume.pack_lock:
            await _move(volume, frames, pack, disk, avoid)
        await packing.close_full(volume)
        bad += len(live) - len(frames)
        await volume.gate.opened()
    if bad:
        return False
    record(volume, ops.DropPack(pack=pack, disk=disk))
    return True


def read_live(
    volume: Volume, store: PackStore, live: Sequence[tuple[Chunk, ops.Place]]
) -> list[tuple[Chunk, ops.Place, bytes]]:
    """Frames of a pack, each verified: damage is not copied on. Those that do not open are left out. Blocking."""
    good = []
    for chunk, place in live:
        try:
            frame = store.read(place.pack, place.offset, place.stored_bytes)
            codec.open_frame(
                frame,
                chunk_id=chunk.chunk_id,
                plain_bytes=chunk.plain_bytes,
                keys=volume.keys,
                uuid=volume.header.uuid,
            )
        except (DamagedData, StoreError) as exc:
            log.error("pack %d on disk %d, chunk %d stays where it is: %s", place.pack, place.disk, chunk.chunk, exc)
            continue
        good.append((chunk, place, frame))
    return good


async def _move(
    volume: Volume,
    frames: Sequence[tuple[Chunk, ops.Place, bytes]],
    pack: int,
    disk: int,
    avoid: frozenset[int],
) -> None:
    """Copy frames to the open pack of one disk, the same if it may be, and record where they are now."""
    if not frames:
        return
    target = disk if disk not in avoid else None
    pairs = [(bytes(chunk.chunk_id), frame) for chunk, _place, frame in frames]
    stored = await packing.store_copy(volume, pairs, target=target, avoid=avoid)
    await volume.gate.opened()
    moves = [(int(chunk.chunk), disk, pack, stored[bytes(chunk.chunk_id)]) for chunk, _place, _frame in frames]
    record(volume, ops.Move(packs=packing.packs_of([[place] for *_old, place in moves]), moves=moves))


async def delete_doomed(volume: Volume) -> int:
    """Delete the files of packs whose rows are gone durably, and which no retained snapshot names (I5)."""
    await volume.gate.opened()
    oldest_seq = min((snapshot.seq for snapshot in disks.snapshots(volume.metadata)), default=1 << 62)
    committed_seq = volume.activity.committed_seq
    gone, freed = [], 0
    for pack, disk, seq in chunks.doomed(volume.metadata):
        if seq > committed_seq or oldest_seq < seq or (pack, disk) in volume.pins.packs or disk not in volume.disks:
            continue
        store = volume.disks[disk]
        try:
            freed += store.pack_size(pack)
            store.delete(pack)
        except StoreError as exc:
            log.warning("pack %d on disk %d could not be deleted: %s", pack, disk, exc)
            continue
        gone.append((pack, disk))
    if gone:
        record(volume, ops.Deleted(packs=gone))
        await barrier(volume)
        volume.room.looked_s = -1e9
    return freed
