"""The bucket's list of packs against ours: what a crash left there goes, what is lost there is put again or told.

Once a day, and first after a life that did not end in good order. One LIST for a thousand objects.
"""

from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.errors import PackMissing
from rustfsfs.meta import objects
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import PACKS, Door, pack_key, parse_pack_key
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import epochs, paths, publishing, tiering
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
    lost: list[PackKey]  # packs the bucket should have and has not, or not whole


async def sweep(volume: Volume) -> Swept:
    """Raises CloudUnavailable, CloudRefused.

    Of a volume whose metadata was restored nothing is deleted: newer metadata may name what this one does not.
    """
    door = tiering.door_of(volume)
    await publishing.ensure_ours(volume)
    await epochs.commit(volume)
    found = await trio.to_thread.run_sync(
        _compare, volume, door.reads, tiering.wall_s(volume), limiter=volume.tier.workers
    )
    await volume.gate.opened()
    if found.leftovers and not volume.metadata.running.restored:
        log.info("%d objects of packs that were never recorded are deleted from %s", len(found.leftovers), door.name)
        await trio.to_thread.run_sync(door.writes.delete, found.leftovers, limiter=volume.tier.workers)
    for key in found.unknown:
        await _adopt(volume, door, key)
    await _deal_with_lost(volume, found.lost)
    return found


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
        sizes: dict[PackKey, int] = {
            (pack, disk): size for pack, disk, size in metadata.rows("SELECT pack, disk, size_bytes FROM objects")
        }
        packs = {(pack, disk) for pack, disk in metadata.rows("SELECT pack, disk FROM packs")}
        doomed = {(pack, disk) for pack, disk in metadata.rows("SELECT pack, disk FROM doomed_objects")}
    leftovers: list[str] = []
    unknown: list[PackKey] = []
    missing = dict(sizes)
    for facts in bucket.list(PACKS):
        key = parse_pack_key(facts.key)
        if key is None:
            continue
        if missing.get(key) == facts.size_bytes:
            del missing[key]
        elif key not in sizes and key in packs:
            unknown.append(key)
        elif key not in sizes and key not in doomed and now_s - facts.modified_s > LEFTOVER_S:
            leftovers.append(facts.key)
    return Swept(leftovers, unknown, list(missing))


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
