"""Cold packs come back: to their disk, or, if that is gone for good, what lives of them to another one.

Frames are read before `collect_lock` is taken: on a full disk writers wait for who holds it. Order: as in `moving`.
"""

import trio

from rustfsfs.errors import without_frames
from rustfsfs.meta import chunks, objects
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import collecting, moving, recalling
from rustfsfs.volume.volume import Volume

LOCK_S = 10.0  # the collector's rounds take seconds; `disk remove` holds its lock for hours


async def bring_back(volume: Volume, key: PackKey, *, is_asked: bool = False) -> bool:
    """False: it is not cold (any more), is coming back already, or not now. Raises as `recalling.recall`, `rewrite`."""
    if key[1] in volume.disks:
        return await recalling.recall(volume, key)
    if not await rewrite(volume, key, is_asked=is_asked):
        return False
    volume.tier.traffic.recalled_packs += 1
    return True


async def rewrite(volume: Volume, key: PackKey, *, is_asked: bool = False) -> bool:
    """What lives of a cold pack goes to packs on disks; it is dropped, and its object with it, by and by.

    is_asked   by a person, who waits for whoever else moves frames; else that is for a later round
    False: it is not cold (any more), a frame cannot be read (then it is left alone), or others move frames for long.
    Raises CloudUnavailable, CloudRefused, ObjectFrozen, NoSpace, StoreUnavailable.
    """
    await volume.gate.opened()
    if not objects.is_cold(volume.metadata, *key) or (volume.collect_lock.locked() and not is_asked):
        return False
    known = await _frames(volume, key)
    with trio.CancelScope() as waiting:
        if not is_asked:
            waiting.deadline = trio.current_time() + LOCK_S
        await volume.collect_lock.acquire()
    if waiting.cancelled_caught:
        return False
    try:
        await volume.gate.opened()
        if not objects.is_cold(volume.metadata, *key):
            return False
        return await collecting.empty_pack(volume, *key, known=known)
    finally:
        volume.collect_lock.release()


async def _frames(volume: Volume, key: PackKey) -> dict[int, bytes | None]:
    """Of all chunks that live in a pack; None: cannot be read."""
    known, behind = dict[int, bytes | None](), -1
    while True:
        await volume.gate.opened()
        live = chunks.live_in(volume.metadata, *key, behind=behind, limit=collecting.FRAMES_PER_OP)
        if not live:
            return known
        behind = live[-1][1].offset
        read = await moving.read_all(volume, [moving.Source(volume, chunk, place) for chunk, place in live])
        for exc in read.not_now.values():
            raise without_frames(exc)
        known |= {chunk.chunk: read.frames.get(chunk.chunk) for chunk, _place in live}
