"""Packs whose chunks lie in other packs too (`copies = 2`): which they are, and how one of them leaves the tables.

Order (I5, I7): the bucket is asked for the packs that keep the chunks → DropPlaces ops → DropPack op → barrier → file.
Cut anywhere, the next round goes on with what is left of the pack.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.meta import chunks, objects
from rustfsfs.tiers.packs import Pack, PackKey
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.tier import Known
from rustfsfs.volume.volume import Volume

FRAMES_AT_ONCE = 250  # about 1 ms
PACKS_AT_ONCE = 200
LOOKED_UP_MAX = 2000  # packs in one round: 0.3 ms each, where chunks are large


async def with_others(volume: Volume, packs: Sequence[Pack]) -> tuple[list[Pack], set[PackKey]]:
    """Packs that are to be uploaded or dropped get their `others`; and those of which they are not known yet."""
    live_bytes = {pack.key: pack.live_bytes for pack in packs}
    known, found, unknown, looked = volume.tier.others, list[Pack](), set[PackKey](), 0
    for gone in known.keys() - live_bytes.keys():
        known.pop(gone, None)
    for number, pack in enumerate(packs):
        if not number % PACKS_AT_ONCE:
            await trio.lowlevel.checkpoint()
        if not pack.closed or not pack.is_local or pack.object is not None or not pack.live_bytes:
            known.pop(pack.key, None)
            found.append(pack)
            continue
        held = known.get(pack.key)
        if (held is None or not _is_true(held, live_bytes)) and looked < LOOKED_UP_MAX:
            looked += 1
            held = await _look_up(volume, pack.key)
        if held is None or not _is_true(held, live_bytes):
            unknown.add(pack.key)
            found.append(pack)
            continue
        known[pack.key] = held
        found.append(pack._replace(others=held.others))
    return found, unknown


def _is_true(held: Known, live_bytes: dict[PackKey, int]) -> bool:
    return all(live_bytes.get(key) == bytes_ for key, bytes_ in held.live_bytes)


async def _look_up(volume: Volume, key: PackKey) -> Known | None:
    """None: something moved meanwhile."""
    groups, live_bytes, behind = set[frozenset[PackKey]](), dict[PackKey, int](), -1
    while True:
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        frames = chunks.elsewhere(volume.metadata, *key, behind=behind, limit=FRAMES_AT_ONCE)
        seen = {other for frame in frames for other in frame.packs} | {key}
        for other in seen - live_bytes.keys():
            live_bytes[other] = _live_bytes(volume, other)
        if not frames:
            break
        groups |= {frame.packs for frame in frames}
        behind = frames[-1].offset
    is_still = all(_live_bytes(volume, other) == size for other, size in live_bytes.items())
    if not is_still:
        return None
    return Known(tuple(sorted(tuple(sorted(group)) for group in groups)), tuple(live_bytes.items()))


def _live_bytes(volume: Volume, key: PackKey) -> int:
    row = chunks.find_pack(volume.metadata, *key)
    return -1 if row is None or not row.is_closed else row.live_bytes  # an open one takes as well as it gives


async def drop(volume: Volume, key: PackKey, is_there: Callable[[objects.Object], Awaitable[bool]]) -> bool | None:
    """Drop a local pack whose live chunks the bucket has in others: durably out of the tables, and its file doomed.

    is_there   asks the bucket for a pack

    None: it stays, since the bucket has not all of it. Else: may its file go at once? Not if frames of it are dead, or
    somebody reads it: an older snapshot may name the dead ones, which are nowhere else. The live ones are where the
    snapshot looks next. Raises CloudUnavailable, CloudRefused, JournalFailed.
    """
    await volume.gate.opened()
    row = chunks.find_pack(volume.metadata, *key)
    if row is None or not row.is_closed or row.is_cold:
        return None
    is_whole = row.live_bytes == row.size_bytes
    kept_in = await _kept_in(volume, key)
    if kept_in is None:
        return None
    for found in kept_in:
        if not await is_there(found):
            return None
    await _drop_places(volume, key, [(found.pack, found.disk) for found in kept_in])
    row = chunks.find_pack(volume.metadata, *key)
    if row is None or row.live_bytes:
        return None
    record(volume, ops.DropPack(*key))
    volume.health.left_alone.release(key)
    await barrier(volume)
    await volume.gate.opened()
    volume.wishes.collect.set()
    return is_whole and key not in volume.pins.packs


async def _kept_in(volume: Volume, key: PackKey) -> list[objects.Object] | None:
    """Packs in the bucket, readable at once, that have each live chunk of a pack among them; None: it has not all."""
    found, behind = dict[PackKey, objects.Object | None](), -1
    chosen: dict[PackKey, objects.Object] = {}
    while True:
        await volume.gate.opened()
        frames = chunks.elsewhere(volume.metadata, *key, behind=behind, limit=FRAMES_AT_ONCE)
        if not frames:
            return list(chosen.values())
        for frame in frames:
            for other in frame.packs - found.keys():
                found[other] = _readable(volume, other)
            there = {other: one for other in sorted(frame.packs) if (one := found[other]) is not None}
            if not there:
                return None
            if chosen.keys().isdisjoint(there):
                chosen[min(there)] = there[min(there)]
        behind = frames[-1].offset
        await trio.lowlevel.checkpoint()


def _readable(volume: Volume, key: PackKey) -> objects.Object | None:
    found, lost = (
        objects.find(volume.metadata, *key),
        volume.health.left_alone.packs(Why.LOST, now_s=trio.current_time()),
    )
    if found is None or key in lost or Placement(found.placement).freezes:
        return None
    return found


async def _drop_places(volume: Volume, key: PackKey, kept_in: list[PackKey]) -> None:
    behind = -1
    while True:
        await volume.gate.opened()
        frames = chunks.elsewhere(volume.metadata, *key, behind=behind, limit=FRAMES_AT_ONCE)
        if not frames:
            return
        record(volume, ops.DropPlaces(*key, chunks=[frame.chunk for frame in frames], kept_in=kept_in))
        behind = frames[-1].offset
        await trio.lowlevel.checkpoint()
