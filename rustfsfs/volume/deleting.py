"""Objects that nobody needs go.

Order (I5): DropPack op → COMMIT → no snapshot and no published metadata names it → object → ObjectsDeleted op.
"""

import trio

from rustfsfs import ops
from rustfsfs.meta import disks, objects
from rustfsfs.store.cold import pack_key
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume.owning import ensure_owner
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume

OBJECTS_AT_ONCE = 1000  # deleted with one request; OSS.md


async def delete_objects(volume: Volume) -> int:
    """Delete doomed objects that no snapshot and no published metadata names (I5); returns how many."""
    deleted = 0
    while keys := list(await free_to_go(volume)):
        door = await ensure_owner(volume)
        names = [pack_key(*key) for key in keys]
        await trio.to_thread.run_sync(door.writes.delete, names, limiter=volume.tier.workers, abandon_on_cancel=True)
        await volume.gate.opened()
        record(volume, ops.ObjectsDeleted(packs=keys))
        deleted += len(keys)
    return deleted


async def free_to_go(volume: Volume) -> dict[PackKey, int]:
    """Doomed objects that may be deleted now, and their sizes in bytes; at most OBJECTS_AT_ONCE."""
    await volume.gate.opened()
    if volume.pins.snapshot_begins:
        return {}
    seqs = [snapshot.seq for snapshot in disks.snapshots(volume.metadata)]
    seqs += [seq for _epoch, seq in objects.published(volume.metadata)]
    oldest_seq = min([*seqs, volume.pins.snapshot_seq, volume.pins.published_seq, volume.activity.committed_seq])
    return {
        (pack, disk): size_bytes
        for pack, disk, size_bytes in objects.doomed(volume.metadata, OBJECTS_AT_ONCE, until_seq=oldest_seq)
        if (pack, disk) not in volume.pins.packs and (pack, disk) not in volume.tier.uploading
    }
