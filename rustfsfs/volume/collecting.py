"""Collection: what nothing names goes, and packs with much dead space are rewritten (DESIGN.md §3, I5).

Order: live frames durable in another pack → Move op → DropPack op → COMMIT → no snapshot names it → file deleted.
"""

from collections.abc import Callable, Container, Mapping, Sequence

import trio

from rustfsfs import ops
from rustfsfs.errors import NoSpace, PackMissing, StoreError, StoreUnavailable
from rustfsfs.meta import chunks, disks
from rustfsfs.store.base import PackStore
from rustfsfs.tiers.collect import PackFacts, plan_collection
from rustfsfs.tiers.prices import PRICES_2025, paid_since_s
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import ballast, epochs, moving, packing, snapshots, watermarks
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.turns import turn, wait_for_turn
from rustfsfs.volume.volume import Volume, log

CHUNKS_PER_OP = 50  # about 1 ms
FRAMES_PER_OP = 250  # of small ones; of large ones a pack holds fewer
PACKS_LOOKED_AT = 200  # at once: a terabyte has 65 000
MAKE_ROOM_EVERY_S = 5.0  # how often a full disk may ask for a collection that found nothing
Progress = Callable[[int, int, str], None]


def no_progress(_done: int, _total: int, _text: str) -> None:
    return


async def bury(volume: Volume) -> int:
    """Look at every chunk that lost an extent, and delete those that have none; returns how many were looked at."""
    looked = 0
    while True:
        await wait_for_turn(volume, "bury")
        suspects = chunks.suspects(volume.metadata, CHUNKS_PER_OP)
        if not suspects:
            return looked
        async with turn(volume):
            record(volume, ops.Collect(chunks=suspects))
            for chunk in suspects:  # each new chunk is one, and most of them live
                if chunks.find(volume.metadata, chunk) is None:
                    volume.cache.remove(chunk)
        looked += len(suspects)


async def collect(volume: Volume, *, live_share: float, progress: Progress = no_progress) -> int:
    """Bury the dead, rewrite packs below `live_share`, delete what is free to go; returns bytes given back.

    What lies in the bucket too stays while its minimum days there are billed anyway, if its disk has room: what lives
    of it would be paid for twice. Packs that a retained snapshot names stay until it is replaced: `collect_now`
    replaces it. Raises NoSpace.
    """
    async with volume.collect_lock:
        await bury(volume)
        dropped = await _drop_empty(volume)
        emptied = await _rewrite(volume, live_share, progress, held=await _held(volume))
        if dropped or emptied or chunks.doomed(volume.metadata):
            await epochs.commit(volume)
        return await delete_doomed(volume)


async def collect_now(volume: Volume, *, live_share: float, progress: Progress = no_progress) -> int:
    """As `collect`, and nothing held back: open packs are closed first, and fresh snapshots replace the older ones.

    Works on a full disk: what is wholly dead goes first, and each round's space serves the next. Raises NoSpace when
    nothing can be rewritten although there is something to rewrite.
    """
    async with volume.collect_lock:
        return await _collect_now(volume, live_share, progress)


async def _collect_now(volume: Volume, live_share: float, progress: Progress) -> int:
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
    dropped = 0
    while empty := await _sparse(volume, 0.0, {}):
        for pack in empty:
            await volume.gate.opened()
            record(volume, ops.DropPack(pack=pack.pack, disk=pack.disk))
            volume.health.left_alone.release((pack.pack, pack.disk))
        dropped += len(empty)
    return dropped


async def _held(volume: Volume) -> chunks.Held | None:
    """Packs whose minimum days in the bucket are billed anyway, on disks that have room."""
    await volume.gate.opened()
    if not volume.metadata.is_tiered:
        return None
    paid = paid_since_s(PRICES_2025, now_s=volume.world.now_ns() / SECOND_NS)
    disks_with_room = [number for number in volume.disks if watermarks.has_room(volume, number, 0)]
    return chunks.Held({placement.value: since_s for placement, since_s in paid.items()}, disks_with_room)


async def _sparse(
    volume: Volume, live_share: float, done: Container[tuple[int, int]], held: chunks.Held | None = None
) -> list[PackFacts]:
    """Packs worth collecting, those without anything live at 0; not the open ones, nor those seen to no use."""
    await volume.gate.opened()
    rows = (
        chunks.sparse_packs(volume.metadata, live_share, PACKS_LOOKED_AT, held)
        if live_share
        else chunks.empty_packs(volume.metadata, PACKS_LOOKED_AT)
    )
    alone = volume.health.left_alone.packs(Why.UNREADABLE, Why.NOT_NOW, now_s=trio.current_time())
    return [
        PackFacts(row.pack, row.disk, row.size_bytes, row.live_bytes)
        for row in rows
        if (not row.live_bytes if row.is_cold else row.disk in volume.disks)
        and (row.pack, row.disk) not in done
        and (row.pack, row.disk) not in alone
        and not packing.is_open(volume, row.pack, row.disk)
    ]


async def _rewrite(volume: Volume, live_share: float, progress: Progress, *, held: chunks.Held | None = None) -> int:
    """Empty packs below `live_share`, emptiest first; returns how many. Raises NoSpace if not one could be."""
    emptied, done = 0, set[tuple[int, int]]()
    while plan := plan_collection(await _sparse(volume, live_share, done, held), live_share=live_share):
        for pack, disk in plan:
            progress(len(done), len(done) + len(plan), "rewriting packs")
            done.add((pack, disk))
            try:
                emptied += await empty_pack(volume, pack, disk)
            except NoSpace:
                if not emptied:
                    raise
                return emptied
    return emptied


async def _release(volume: Volume) -> int:
    """Make doomed packs free to go: rows durable, and one fresh snapshot, not naming them, for older ones."""
    await epochs.commit(volume)
    await volume.gate.opened()
    if not chunks.doomed(volume.metadata):
        return 0
    try:
        await snapshots.take(volume, keep=1)
    except StoreUnavailable:  # no disk is there: the older snapshots lie where nothing can be freed now
        raise
    except (NoSpace, StoreError, OSError) as exc:
        log.warning("no room for a new metadata snapshot (%s): the older ones go first", exc)
        ballast.give_up(volume)
        await snapshots.keep_none(volume)
        freed = await delete_doomed(volume)
        await snapshots.take(volume, keep=1)
        return freed
    return await delete_doomed(volume)


async def make_room(volume: Volume) -> None:
    """The disk is full: seal nothing new, but free whatever is dead, with the ballast's help.

    Who comes while another is at it waits for that one's end, and shares what it found.
    """
    asked_s = trio.current_time()
    async with volume.room.making:
        if volume.room.made_s >= asked_s or asked_s - volume.room.made_s < MAKE_ROOM_EVERY_S:
            return
        try:
            await collect_now(volume, live_share=0.01)
        except (NoSpace, StoreError, OSError) as exc:
            if not ballast.give_up(volume):
                log.warning("nothing could be collected: %s", exc)
        finally:
            volume.room.made_s = trio.current_time()


async def empty_pack(
    volume: Volume, pack: int, disk: int, *, avoid: frozenset[int] = frozenset(), known: moving.Known | None = None
) -> bool:
    """Move what is live out of a pack, and drop it. False if a frame could not be read: then the pack stays, and is
    left alone for a while.

    A frame that cannot be read there, or whose disk is missing, is taken from the chunk's other copy.
    known   frames that were read already, from the bucket, before `collect_lock` was taken
    """
    await volume.gate.opened()
    avoid |= {row.disk for row in disks.all_(volume.metadata) if row.draining}
    behind, bad, not_now = -1, 0, ""
    while live := chunks.live_in(volume.metadata, pack, disk, behind=behind, limit=FRAMES_PER_OP):
        behind = live[-1][1].offset
        sources = [moving.Source(volume, chunk, place) for chunk, place in live]
        read = await moving.read_all(volume, sources, known=known)
        await moving.move(volume, sources, read.frames, avoid=avoid)
        if volume.metadata.is_tiered and volume.header.copies > 1:
            await volume.gate.opened()
            await moving.make_up(volume, sources, read.frames)
        bad += len(live) - len(read.frames) - len(read.not_now)
        not_now = next(map(str, read.not_now.values()), not_now)
        await volume.gate.opened()
    if bad:
        text = f"{bad} frames of it cannot be read"
        volume.health.left_alone.leave((pack, disk), Why.UNREADABLE, text, now_s=trio.current_time())
    elif not_now:
        volume.health.left_alone.leave((pack, disk), Why.NOT_NOW, not_now, now_s=trio.current_time())
    if bad or not_now:
        return False
    record(volume, ops.DropPack(pack=pack, disk=disk))
    volume.health.left_alone.release((pack, disk))
    return True


async def delete_doomed(volume: Volume) -> int:
    """Delete the files of packs whose rows are gone durably, and which no snapshot names (I5); returns bytes freed."""
    await volume.gate.opened()
    if volume.pins.snapshot_begins:
        return 0
    snapshot_seqs = [snapshot.seq for snapshot in disks.snapshots(volume.metadata)]
    oldest_seq = min([*snapshot_seqs, volume.pins.snapshot_seq, volume.pins.dropped_seq])
    free = [
        (pack, disk)
        for pack, disk, seq in chunks.doomed(volume.metadata)
        if seq <= min(volume.activity.committed_seq, oldest_seq)
        and (pack, disk) not in volume.pins.packs
        and disk in volume.disks
    ]
    if not free:
        return 0
    freed = await trio.to_thread.run_sync(_delete_packs, dict(volume.disks), free, limiter=volume.sealers)
    await volume.gate.opened()
    record(volume, ops.Deleted(packs=list(freed)))  # lost in a crash, it is found out again: PackMissing
    volume.room.looked_s = -1e9
    return sum(freed.values())


def _delete_packs(stores: Mapping[int, PackStore], packs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Bytes freed, by (pack, disk). Blocking: ext4 takes 3 ms to free 16 MiB (measured)."""
    gone: dict[tuple[int, int], int] = {}
    for pack, disk in packs:
        try:
            size_bytes = stores[disk].pack_size(pack)
            stores[disk].delete(pack)
        except PackMissing:
            size_bytes = 0  # deleted before a crash, which kept that from being recorded
        except StoreError as exc:
            log.warning("pack %d on disk %d could not be deleted: %s", pack, disk, exc)
            continue
        gone[pack, disk] = size_bytes
    return gone
