"""The mover's way up: packs go to the bucket.

Order (I5, I7): pack verified → PUT, proved → Uploaded op. Cut anywhere, the next round does what is left: an object has
its pack's name, so it is found again and is the same.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.content import codec
from rustfsfs.errors import DamagedData, ObjectExists, PackMissing, StoreUnavailable
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import Door, pack_key
from rustfsfs.store.crc64 import crc64
from rustfsfs.tiers.packs import Pack, PackKey
from rustfsfs.tiers.placing import placement_of
from rustfsfs.volume import packing
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.owning import door_of, ensure_owner
from rustfsfs.volume.recording import record
from rustfsfs.volume.tiering import wall_s
from rustfsfs.volume.volume import Volume, log

T = TypeVar("T")
FRAMES_SAMPLED = 64  # of a pack, before its local copy may go; each takes 0.1 ms


async def upload(volume: Volume, pack: Pack) -> bool:
    """Bring one closed pack to the bucket and record it. False: it was dropped, or cannot be read; logged.

    Raises CloudUnavailable, CloudRefused, DamagedData (the bucket has something else under its name).
    """
    door, tier, store = door_of(volume), volume.tier, volume.disks.get(pack.disk)
    if store is None or pack.key in tier.uploading:
        return False
    placement = placement_of(pack, volume.config.bucket, now_s=wall_s(volume))
    tier.uploading[pack.key] = pack.size_bytes
    try:
        data = await trio.to_thread.run_sync(_read_verified, volume, store, pack.key, limiter=tier.uploaders)
        facts = await _put(volume, door, data, pack.key, placement)
    except (PackMissing, StoreUnavailable) as exc:
        log.warning("pack %d on disk %d was not uploaded: %s", pack.pack, pack.disk, exc)
        return False
    except DamagedPack as exc:
        log.error("pack %d on disk %d is damaged and was not uploaded: %s; scrub --repair helps", *pack.key, exc)
        volume.health.left_alone.leave(pack.key, Why.DAMAGED, str(exc), now_s=trio.current_time())
        return False
    finally:
        del tier.uploading[pack.key]
    assert facts.crc64 is not None
    await volume.gate.opened()
    record(
        volume,
        ops.Uploaded(
            pack=pack.pack,
            disk=pack.disk,
            size_bytes=facts.size_bytes,
            crc64=facts.crc64.to_bytes(8),
            placement=facts.placement.value,
            put_s=int(facts.modified_s),
        ),
    )
    tier.traffic.uploaded_packs += 1
    tier.note_up(facts.size_bytes)
    return True


class DamagedPack(Exception):
    """What lies on the disk is not what was sealed: it must not take the place of anything."""


def _read_verified(volume: Volume, store: PackStore, key: PackKey) -> bytes:
    """Blocking."""
    try:
        data = store.read(key[0], 0, store.pack_size(key[0]))
        _verify(volume, store, key[0], data)
    except DamagedData as exc:
        raise DamagedPack(str(exc)) from exc
    return data


async def _put(volume: Volume, door: Door, data: bytes, key: PackKey, placement: Placement) -> ObjectFacts:
    """Given up in the middle, the next life finds what arrived by its name."""
    name, uploads = pack_key(*key), door.uploads

    async def in_worker(work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=volume.tier.uploaders, abandon_on_cancel=True)

    try:
        return await in_worker(partial(uploads.put, name, data, placement=placement))
    except ObjectExists:
        facts = await in_worker(partial(uploads.head, name))
    if (facts.size_bytes, facts.crc64) == (len(data), await in_worker(partial(crc64, data))):
        return facts  # an earlier round's, whose record a crash took
    await ensure_owner(volume)
    log.warning("%s has something else under the name of pack %d: it is replaced", door.name, key[0])
    await in_worker(partial(uploads.delete, [name]))
    return await in_worker(partial(uploads.put, name, data, placement=placement))


def _verify(volume: Volume, store: PackStore, pack: int, data: bytes) -> None:
    """Header, directory and a sample of the frames, or all. Raises DamagedData."""
    store.check_header(pack)
    entries, view = store.read_directory(pack), memoryview(data)
    # Of two copies one goes to the bucket, and the other for its sake: then it is better to be sure of all
    step = max(1, len(entries) // FRAMES_SAMPLED) if volume.header.copies == 1 else 1
    for entry in entries[::step]:
        codec.open_part(
            view[entry.offset : entry.offset + entry.stored_bytes],
            0,
            chunk_id=entry.chunk_id,
            plain_bytes=entry.plain_bytes,
            keys=volume.keys,
            uuid=volume.header.uuid,
        )


async def close_packs(volume: Volume, keys: Iterable[PackKey]) -> None:
    """Open packs that wait for their upload take no more."""
    wanted = set(keys)
    async with volume.pack_lock:
        for disk, writer in list(volume.writers.items()):
            if (writer.pack, disk) in wanted:
                await packing.close(volume, disk, writer)
