"""Local copies of packs go, and the bucket has them.

Order (I5, I7): Uploaded op → barrier → the object is there → Demote op → barrier → file.
"""

from collections.abc import Iterable, Sequence

import trio

from rustfsfs import ops
from rustfsfs.errors import StoreError
from rustfsfs.meta import objects
from rustfsfs.store.base import PackStore
from rustfsfs.store.cold import Door
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import elsewhere
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.owning import ensure_owner
from rustfsfs.volume.proving import is_there
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log


async def demote(volume: Volume, keys: Iterable[PackKey]) -> int:
    """Local copies of packs go, if the bucket has them, or their chunks in other packs, now too.

    Returns the bytes that came free. Raises CloudUnavailable, CloudRefused, JournalFailed; then what was not demoted is
    where it was.
    """
    wanted, there, doubles = list(keys), list[objects.Object](), list[PackKey]()
    if not wanted:
        return 0
    door = await ensure_owner(volume)  # a local copy may go because the object stays
    await volume.gate.opened()
    for key in wanted:
        found = objects.find(volume.metadata, *key)
        if found is not None and key[1] in volume.disks:
            there.append(found)
        elif found is None and key[1] in volume.disks and volume.header.copies > 1:
            doubles.append(key)
    freed = await _drop_all(volume, door, doubles)
    return freed + await _demote(volume, door, there)


async def _demote(volume: Volume, door: Door, there: list[objects.Object]) -> int:
    """Nobody brings a pack back while it goes: its file would go after all."""
    tier = volume.tier
    await volume.gate.opened()
    there = [
        found
        for found in there
        if not objects.is_cold(volume.metadata, found.pack, found.disk)
        and (found.pack, found.disk) not in {*tier.recalling, *tier.demoting}
    ]
    tier.demoting |= (held := {(found.pack, found.disk) for found in there})
    try:
        return await _demote_held(volume, door, there)
    finally:
        tier.demoting -= held


async def _demote_held(volume: Volume, door: Door, there: list[objects.Object]) -> int:
    there = [found for found in there if await is_there(volume, door, found)]
    if not there:
        return 0
    with trio.CancelScope(shield=True):  # or files would be left that only the next mount looks for
        await barrier(volume)
        await volume.gate.opened()
        record(volume, ops.Demote(packs=[(found.pack, found.disk) for found in there]))
        await barrier(volume)
        await volume.gate.opened()
        gone = [(one.pack, one.disk) for one in there if objects.is_cold(volume.metadata, one.pack, one.disk)]
        freed = await trio.to_thread.run_sync(delete_files, dict(volume.disks), gone, limiter=volume.sealers)
        _note_demoted(volume, gone)
    return freed


def _note_demoted(volume: Volume, keys: Iterable[PackKey]) -> None:
    volume.room.looked_s = -1e9
    for key in keys:
        volume.tier.went_cold = True
        volume.tier.traffic.demoted_packs += 1
        volume.tier.first_seen_s.pop(key, None)
        volume.tier.busy.pop(key, None)


async def _drop_all(volume: Volume, door: Door, keys: Iterable[PackKey]) -> int:
    """Packs whose chunks the bucket has in others; returns the bytes that came free at once."""
    asked: dict[PackKey, bool] = {}

    async def is_known(found: objects.Object) -> bool:
        key = found.pack, found.disk
        if key not in asked:
            asked[key] = await is_there(volume, door, found)
        return asked[key]

    gone, at_once = list[PackKey](), list[PackKey]()
    for key in keys:
        may_go = await elsewhere.drop(volume, key, is_known)
        gone += [key] if may_go is not None else []
        at_once += [key] if may_go else []
    freed = await trio.to_thread.run_sync(delete_files, dict(volume.disks), at_once, limiter=volume.sealers)
    _note_demoted(volume, gone)
    return freed


def delete_files(stores: dict[int, PackStore], keys: Sequence[PackKey]) -> int:
    """Of packs that are cold by now. Blocking. What cannot be deleted goes at the next mount."""
    freed = 0
    for pack, disk in keys:
        store = stores.get(disk)
        if store is None:
            continue
        try:
            size = store.pack_size(pack)
            store.delete(pack)
            freed += size
        except StoreError as exc:
            log.warning("pack %d is in the bucket, and its file stays for now: %s", pack, exc)
    return freed
