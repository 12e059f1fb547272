"""Cold packs come back to their disks. Order: all of the object, proved → file durable → Recall op."""

from functools import partial

import trio

from rustfsfs import ops
from rustfsfs.errors import DamagedData
from rustfsfs.meta import objects
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import pack_key
from rustfsfs.store.crc64 import crc64
from rustfsfs.tiers.packs import PackKey
from rustfsfs.units import KIB, MIB, PackNo
from rustfsfs.volume.owning import door_of
from rustfsfs.volume.recording import record
from rustfsfs.volume.tiering import wall_s
from rustfsfs.volume.volume import Volume

GET_SIZE, GET_SIZE_MIN = 4 * MIB, 256 * KIB


async def recall(volume: Volume, key: PackKey) -> bool:
    """Bring one cold pack back to its disk. False: it is not cold (any more), or its disk is not there.

    Raises CloudUnavailable, CloudRefused, ObjectFrozen, ObjectMissing, DamagedData, NoSpace, StoreUnavailable.
    """
    door, tier = door_of(volume), volume.tier
    await volume.gate.opened()
    found, store = objects.find(volume.metadata, *key), volume.disks.get(key[1])
    if (
        found is None
        or store is None
        or key in tier.recalling
        or key in tier.demoting
        or not objects.is_cold(volume.metadata, *key)
    ):
        return False
    tier.recalling[key] = found.size_bytes
    try:
        part_bytes = recall_part_bytes(volume.config.bucket.download_bytes_s)
        fetch = partial(_fetched, door.reads, found, part_bytes)
        parts = await trio.to_thread.run_sync(fetch, limiter=tier.recallers, abandon_on_cancel=True)
        with trio.CancelScope(shield=True):  # or a file would be left that only the next mount looks for
            adopt = partial(store.adopt_pack, PackNo(found.pack), parts)
            await trio.to_thread.run_sync(adopt, limiter=tier.recallers)
            await volume.gate.opened()
            record(volume, ops.Recall(packs=[key]))
    finally:
        del tier.recalling[key]
    tier.traffic.recalled_packs += 1
    tier.note_down(found.size_bytes)
    tier.reads_s[key] = int(wall_s(volume))
    tier.restores.pop(key, None)
    gone = tier.pieces.remove_pack(*key)
    if gone and tier.files is not None:
        await trio.to_thread.run_sync(tier.files.delete, gone)
    return True


def recall_part_bytes(rate_bytes_s: int) -> int:
    """How much to GET at once: on a slow line about a second's worth, since a reader may have to wait for one."""
    return min(GET_SIZE, max(GET_SIZE_MIN, rate_bytes_s)) if rate_bytes_s else GET_SIZE


def _fetched(bucket: Bucket, found: objects.Object, part_bytes: int) -> list[bytes]:
    """All of an object, proved. Blocking; given up in the middle, nothing comes of it."""
    name = pack_key(found.pack, found.disk)
    parts = [
        bucket.get(name, start, min(part_bytes, found.size_bytes - start))
        for start in range(0, found.size_bytes, part_bytes)
    ]
    crc = 0
    for part in parts:
        crc = crc64(part, crc)
    if crc != int.from_bytes(found.crc64):
        raise DamagedData(f"{bucket.name}: {name} is not what was put there (CRC-64)")
    return parts
