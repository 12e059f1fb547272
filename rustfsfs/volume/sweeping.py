"""The bucket's list of packs against ours: what a crash left there goes, what is lost there is put again or told.

Once a day, and first after a life that did not end in good order. One LIST for a thousand objects.
"""

from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.errors import PackMissing
from rustfsfs.meta import objects
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import Bucket, ObjectFacts
from rustfsfs.store.cold import PACKS, Door, pack_key, parse_pack_key
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import coldreading, epochs, owning, paths, tiering
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log

SWEEP_EVERY_S = 86400.0
FIRST_S = 60.0  # after a mount: readers come first
LEFTOVER_S = 3600.0  # what is younger may be an upload whose record is yet to come
PATHS_MAX = 10


class Swept(NamedTuple):
    leftovers: list[str]  # keys of objects that are nobody's
    unknown: list[PackKey]  # packs that we have, and do not know to be in the bucket
    moved: list[ObjectFacts]  # packs that are of another class than we knew
    lost: list[PackKey]  # packs the bucket should have and has not, or not whole


async def sweep(volume: Volume) -> Swept:
    """Raises CloudUnavailable, CloudRefused.

    Of a volume whose metadata was restored nothing is deleted: newer metadata may name what this one does not.
    """
    door = await owning.ensure_owner(volume)
    await epochs.commit(volume)
    found = await trio.to_thread.run_sync(
        _compare, volume, door.reads, tiering.wall_s(volume), limiter=volume.tier.workers
    )
    await volume.gate.opened()
    if found.leftovers and not volume.metadata.running.restored:
        log.info("%d objects of packs that were never recorded are deleted from %s", len(found.leftovers), door.name)
        await owning.ensure_owner(volume)  # the list took its time
        await trio.to_thread.run_sync(door.writes.delete, found.leftovers, limiter=volume.tier.workers)
    for key in found.unknown:
        await _adopt(volume, door, key)
    await _note_moved(volume, door, found.moved)
    await _deal_with_lost(volume, found.lost)
    return found


async def _note_moved(volume: Volume, door: Door, moved: list[ObjectFacts]) -> None:
    """By rules of the bucket's owner, or by its hand; frozen ones are told, for they cannot be read at once."""
    frozen = [facts for facts in moved if facts.placement.freezes]
    if frozen:
        log.warning(
            "%d packs in %s were moved to %s, and have to be restored to be read; remove the rule that does so",
            *(len(frozen), door.name, frozen[0].placement.value),
        )
    for facts in moved:
        await volume.gate.opened()
        if (key := parse_pack_key(facts.key)) is not None:
            coldreading.note_class(volume, key, facts)


async def _adopt(volume: Volume, door: Door, key: PackKey) -> None:
    """A pack whose file is not on its disk lies in the bucket: older metadata, restored, does not know it was demoted.

    One whose file is there the next round uploads, and finds it there.
    """
    store = volume.disks.get(key[1])
    if store is None or await trio.to_thread.run_sync(_is_on, store, key[0]):
        return
    facts = await trio.to_thread.run_sync(door.reads.head, pack_key(*key), limiter=volume.tier.workers)
    if facts.crc64 is None:
        return
    await volume.gate.opened()
    log.warning("pack %d of disk %d is not on its disk, and is in the bucket: it is cold from now on", *key)
    put = ops.Uploaded(
        pack=key[0],
        disk=key[1],
        size_bytes=facts.size_bytes,
        crc64=facts.crc64.to_bytes(8),
        placement=facts.placement.value,
        put_s=int(facts.modified_s),
    )
    for op in (ops.ClosePack(pack=key[0], disk=key[1], size_bytes=facts.size_bytes), put, ops.Demote(packs=[key])):
        record(volume, op)


def _is_on(store: PackStore, pack: int) -> bool:
    """Blocking."""
    try:
        return store.pack_size(pack) > 0
    except PackMissing:
        return False


def _compare(volume: Volume, bucket: Bucket, now_s: float) -> Swept:
    """Blocking. All names of packs are in memory meanwhile: 200 bytes for 16 MiB."""
    with paths.reading_apart(volume) as metadata:
        rows = metadata.rows("SELECT pack, disk, size_bytes, placement FROM objects")
        known: dict[PackKey, tuple[int, str]] = {
            (pack, disk): (size, placement) for pack, disk, size, placement in rows
        }
        packs = {(pack, disk) for pack, disk in metadata.rows("SELECT pack, disk FROM packs")}
        doomed = {(pack, disk) for pack, disk in metadata.rows("SELECT pack, disk FROM doomed_objects")}
    leftovers: list[str] = []
    unknown: list[PackKey] = []
    moved: list[ObjectFacts] = []
    missing = dict(known)
    for facts in bucket.list(PACKS):
        key = parse_pack_key(facts.key)
        if key is None:
            continue
        size_bytes, placement = missing.get(key, (-1, ""))
        if size_bytes == facts.size_bytes:
            del missing[key]
            if placement != facts.placement.value:
                moved.append(facts)
        elif key not in known and key in packs:
            unknown.append(key)
        elif key not in known and key not in doomed and now_s - facts.modified_s > LEFTOVER_S:
            leftovers.append(facts.key)
    return Swept(leftovers, unknown, moved, list(missing))


async def _deal_with_lost(volume: Volume, lost: list[PackKey]) -> None:
    """What lies on a disk too is put there again by the next round; the files of the rest are named."""
    volume.health.left_alone.forget(Why.LOST)
    for pack, disk in lost:
        await volume.gate.opened()
        if objects.find(volume.metadata, pack, disk) is None:
            continue  # it was dropped meanwhile
        if not objects.is_cold(volume.metadata, pack, disk):
            log.warning("pack %d of disk %d is gone from the bucket; it is uploaded again", pack, disk)
            record(volume, ops.ObjectLost(pack=pack, disk=disk))
            continue
        named = await trio.to_thread.run_sync(_files_of, volume, (pack, disk))
        text = (
            f"{pack_key(pack, disk)} is lost in the bucket: {', '.join(named[:PATHS_MAX]) or 'no file'} cannot be read"
        )
        volume.health.left_alone.leave((pack, disk), Why.LOST, text, now_s=trio.current_time())
        log.error("%s", text)


def _files_of(volume: Volume, key: PackKey) -> list[str]:
    """Those that need a pack and have no other copy on a disk. Blocking."""
    named: dict[str, None] = {}
    with paths.reading_apart(volume) as metadata:
        found = metadata.rows(
            "SELECT p.chunk FROM places p WHERE p.pack = ? AND p.disk = ? AND NOT EXISTS (SELECT 1 FROM places o"
            " JOIN packs k USING (pack, disk) WHERE o.chunk = p.chunk AND NOT k.closed & 2) LIMIT 1000",
            key,
        )
        for (chunk,) in found:
            named.update(dict.fromkeys(paths.paths_of_chunk(metadata, chunk)))
            if len(named) >= PATHS_MAX:
                break
    return list(named)
