"""The mover's verbs: packs go to the bucket, their local copies go, packs come back, objects nobody needs go.

Orders (I5, I7):
    demote   pack verified → PUT, proved → Uploaded op → barrier → the object is there → Demote op → barrier → file
    recall   all of the object, proved → file durable → Recall op
    reclass  object of another class, proved → Reclassed op
    delete   DropPack op → COMMIT → no snapshot and no published metadata names it → object → ObjectsDeleted op
Cut anywhere, the next round does what is left: an object has its pack's name, so it is found again and is the same, and
one that is of its new class already is left as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.content import codec
from rustfsfs.errors import (
    DamagedData,
    ObjectExists,
    ObjectFrozen,
    ObjectMissing,
    PackMissing,
    StoreError,
    StoreUnavailable,
)
from rustfsfs.meta import disks, objects
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import Bucket, ObjectFacts
from rustfsfs.store.cold import Door, pack_key
from rustfsfs.store.crc64 import crc64
from rustfsfs.tiers import twice
from rustfsfs.tiers.packs import BucketObject, Disk, Pack, PackKey
from rustfsfs.tiers.placing import placement_of
from rustfsfs.units import MIB, PackNo
from rustfsfs.volume import elsewhere, packing, paths, watermarks
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.owning import door_of, ensure_owner, in_worker
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log

ROWS_AT_ONCE = 200  # about 1 ms
READS_PER_OP = 1000
FRAMES_SAMPLED = 64  # of a pack, before its local copy may go; each takes 0.1 ms
GET_SIZE = 4 * MIB
OBJECTS_AT_ONCE = 1000  # deleted with one request; OSS.md


class Facts(NamedTuple):
    """What the policies decide by."""

    packs: list[Pack]
    disks: list[Disk]
    now_s: float
    unknown: set[PackKey]  # packs that wait: whether the bucket has their chunks in others is not known yet


def wall_s(volume: Volume) -> float:
    return volume.world.now_ns() / 1e9


async def gather(volume: Volume) -> Facts:
    """All packs and disks as they are now; requests go on meanwhile. A pack seen the first time counts as read now."""
    now_s, found = wall_s(volume), list[Pack]()
    pinned = await packs_of_trees(volume, await _pinned(volume))
    after = (-1, -1)
    while True:
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        rows = objects.rows_behind(volume.metadata, after, ROWS_AT_ONCE)
        if not rows:
            break
        found += [_pack(volume, row, now_s, (row.pack, row.disk) in pinned) for row in rows]
        after = rows[-1].disk, rows[-1].pack
    unknown = set[PackKey]()
    if volume.header.copies > 1:
        found, unknown = await elsewhere.with_others(volume, found)
        found = await trio.to_thread.run_sync(partial(twice.covered, found, lost=set(volume.tier.lost)))
        await volume.gate.opened()
    return Facts(found, _disks(volume), now_s, unknown)


async def _pinned(volume: Volume) -> list[int]:
    await volume.gate.opened()
    return objects.pinned(volume.metadata)


def _pack(volume: Volume, row: objects.PackRow, now_s: float, is_pinned: bool) -> Pack:
    tier, key = volume.tier, (row.pack, row.disk)
    noted_s = tier.reads_s.get(key, row.read_s)
    if noted_s is None:
        noted_s = tier.reads_s[key] = int(now_s)
    there = None
    if row.object_bytes is not None and row.placement is not None and row.put_s is not None:
        there = BucketObject(row.put_s, Placement(row.placement), row.object_bytes)
    return Pack(
        pack=row.pack,
        disk=row.disk,
        size_bytes=row.size_bytes,
        live_bytes=row.live_bytes,
        closed=row.is_closed,
        is_local=not row.is_cold and row.disk in volume.disks,
        object=there,
        has_holes=False,
        sealed_s=_first_seen_s(volume, key, now_s if not row.is_closed else noted_s, is_sent=there is not None),
        last_read_s=noted_s,
        is_pinned=is_pinned,
        busy=tier.busy.get(key),
    )


def _first_seen_s(volume: Volume, key: PackKey, seen_s: float, *, is_sent: bool) -> float:
    """Since when a pack waits for its upload: reading it changes nothing of that."""
    if is_sent:
        return volume.tier.first_seen_s.pop(key, seen_s)
    return volume.tier.first_seen_s.setdefault(key, seen_s)


def _disks(volume: Volume) -> list[Disk]:
    """What is still to be sealed will lie on them, what comes back, and what nobody looks after."""
    found = []
    hot_bytes = volume.metadata.running.hot_bytes * volume.header.copies
    for number, disk in volume.disks.items():
        space = disk.space()
        growing_bytes = sum(size for key, size in volume.tier.recalling.items() if key[1] == number)
        growing_bytes += hot_bytes // len(volume.disks) + watermarks.margin_bytes(space)
        found.append(Disk(number, space.usable_bytes, space.used_bytes, growing_bytes))
    return found


async def packs_of_trees(volume: Volume, inodes: Sequence[int]) -> set[PackKey]:
    """The packs that files need, of those inodes and all below them, as of the last COMMIT."""
    if not inodes:
        return set()
    return set(await trio.to_thread.run_sync(_packs_of_trees, volume, inodes))


def _packs_of_trees(volume: Volume, inodes: Sequence[int]) -> list[PackKey]:
    """Blocking."""
    sql = (
        "WITH RECURSIVE t(inode) AS (SELECT value FROM json_each(?) UNION"
        " SELECT e.inode FROM entries e JOIN t ON e.parent = t.inode)"
        " SELECT DISTINCT p.pack, p.disk FROM t JOIN inodes i USING (inode) JOIN extents e ON e.fork = i.fork"
        " JOIN places p ON p.chunk = e.base WHERE e.segment = 0 AND i.fork > 0"
    )
    with paths.reading_apart(volume) as metadata:
        return [(pack, disk) for pack, disk in metadata.rows(sql, (str(list(inodes)),))]


async def record_reads(volume: Volume) -> None:
    """What was noted in RAM of when packs were read."""
    tier = volume.tier
    while tier.reads_s:
        await volume.gate.opened()
        keys = list(tier.reads_s)[:READS_PER_OP]
        record(volume, ops.PacksRead(reads=[(pack, disk, tier.reads_s[pack, disk]) for pack, disk in keys]))
        for key in keys:
            del tier.reads_s[key]
        await trio.lowlevel.checkpoint()


# --- up ------------------------------------------------------------------------------------------------------------


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
        data = await trio.to_thread.run_sync(_read_verified, volume, store, pack.key, limiter=tier.workers)
        facts = await _put(volume, door, data, pack.key, placement)
    except (PackMissing, StoreUnavailable) as exc:
        log.warning("pack %d on disk %d was not uploaded: %s", pack.pack, pack.disk, exc)
        return False
    except DamagedPack as exc:
        log.error("pack %d on disk %d is damaged and was not uploaded: %s; scrub --repair helps", *pack.key, exc)
        tier.unfit[pack.key] = str(exc)
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
    tier.traffic.up_bytes += facts.size_bytes
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
    name = pack_key(*key)
    try:
        return await in_worker(partial(door.writes.put, name, data, placement=placement), volume)
    except ObjectExists:
        facts = await in_worker(partial(door.writes.head, name), volume)
    if (facts.size_bytes, facts.crc64) == (len(data), await in_worker(partial(crc64, data), volume)):
        return facts  # an earlier round's, whose record a crash took
    await ensure_owner(volume)
    log.warning("%s has something else under the name of pack %d: it is replaced", door.name, key[0])
    await in_worker(partial(door.writes.delete, [name]), volume)
    return await in_worker(partial(door.writes.put, name, data, placement=placement), volume)


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
    there = [found for found in there if await _is_there(volume, door, found)]
    if not there:
        return 0
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
        volume.tier.traffic.demoted_packs += 1
        volume.tier.first_seen_s.pop(key, None)
        volume.tier.busy.pop(key, None)


async def _drop_all(volume: Volume, door: Door, keys: Iterable[PackKey]) -> int:
    """Packs whose chunks the bucket has in others; returns the bytes that came free at once."""
    asked: dict[PackKey, bool] = {}

    async def is_there(found: objects.Object) -> bool:
        key = found.pack, found.disk
        if key not in asked:
            asked[key] = await _is_there(volume, door, found)
        return asked[key]

    gone, at_once = list[PackKey](), list[PackKey]()
    for key in keys:
        may_go = await elsewhere.drop(volume, key, is_there)
        gone += [key] if may_go is not None else []
        at_once += [key] if may_go else []
    freed = await trio.to_thread.run_sync(delete_files, dict(volume.disks), at_once, limiter=volume.sealers)
    _note_demoted(volume, gone)
    return freed


async def _is_there(volume: Volume, door: Door, found: objects.Object) -> bool:
    """And can it be read at once? Somebody may have deleted it since: then a later round puts it there again. Or a rule
    of the bucket's owner may have frozen it: that is recorded, and its local copy stays.
    """
    facts = await _proved(volume, found, partial(door.writes.head, pack_key(found.pack, found.disk)))
    if facts is None:
        return False
    if facts.placement.value != found.placement:
        log.warning("pack %d of disk %d was moved to %s by the bucket", found.pack, found.disk, facts.placement.value)
        await volume.gate.opened()
        placement, put_s = facts.placement.value, int(facts.modified_s)
        record(volume, ops.Reclassed(pack=found.pack, disk=found.disk, placement=placement, put_s=put_s))
    return facts.readable


async def _proved(volume: Volume, found: objects.Object, request: Callable[[], ObjectFacts]) -> ObjectFacts | None:
    """What the bucket says of a pack's object, if it is the one that was put there; else that it is lost is recorded.

    Raises CloudUnavailable, CloudRefused, ObjectFrozen.
    """
    try:
        facts = await trio.to_thread.run_sync(request, limiter=volume.tier.workers, abandon_on_cancel=True)
        if (facts.size_bytes, facts.crc64) == (found.size_bytes, int.from_bytes(found.crc64)):
            return facts
        why = "it is not what was put there"
    except DamagedData as exc:
        why = str(exc)
    except ObjectMissing:
        why = "it is gone from the bucket"
    await volume.gate.opened()
    if objects.find(volume.metadata, found.pack, found.disk) is None:
        return None  # its pack was dropped meanwhile
    text = f"the copy of pack {found.pack} of disk {found.disk} in the bucket is lost: {why}"
    log.error("%s", text)
    record(volume, ops.ObjectLost(pack=found.pack, disk=found.disk))
    if objects.is_cold(volume.metadata, found.pack, found.disk):
        volume.tier.lost.setdefault((found.pack, found.disk), text)
    return None


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


# --- another class -------------------------------------------------------------------------------------------------


async def reclass(volume: Volume, key: PackKey, *, placement: Placement) -> bool:
    """Bring the object of a pack to another class, and record of which it is. False: of the one that we knew, or lost.

    Raises CloudUnavailable, CloudRefused.
    """
    door = door_of(volume)
    await volume.gate.opened()
    found = objects.find(volume.metadata, *key)
    if found is None:
        return False
    try:
        facts = await _proved(volume, found, partial(door.writes.reclass, pack_key(*key), placement=placement))
    except ObjectFrozen as exc:
        log.warning("%s; a rule of the bucket's owner may have frozen it", exc)
        facts = await _proved(volume, found, partial(door.writes.head, pack_key(*key)))
    if facts is None:
        return False
    await volume.gate.opened()
    record(volume, ops.Reclassed(*key, placement=facts.placement.value, put_s=int(facts.modified_s)))
    return facts.placement.value != found.placement


# --- back ----------------------------------------------------------------------------------------------------------


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
        await trio.to_thread.run_sync(_recall, door.reads, store, found, limiter=tier.workers)
    finally:
        del tier.recalling[key]
    await volume.gate.opened()
    record(volume, ops.Recall(packs=[key]))
    tier.traffic.recalled_packs += 1
    tier.traffic.down_bytes += found.size_bytes
    tier.reads_s[key] = int(wall_s(volume))
    gone = tier.pieces.remove_pack(*key)
    if gone and tier.files is not None:
        await trio.to_thread.run_sync(tier.files.delete, gone)
    return True


def _recall(bucket: Bucket, store: PackStore, found: objects.Object) -> None:
    """Blocking."""
    name = pack_key(found.pack, found.disk)
    parts = [
        bucket.get(name, start, min(GET_SIZE, found.size_bytes - start))
        for start in range(0, found.size_bytes, GET_SIZE)
    ]
    crc = 0
    for part in parts:
        crc = crc64(part, crc)
    if crc != int.from_bytes(found.crc64):
        raise DamagedData(f"{bucket.name}: {name} is not what was put there (CRC-64)")
    store.adopt_pack(PackNo(found.pack), parts)


# --- what nobody needs -----------------------------------------------------------------------------------------------


async def delete_objects(volume: Volume) -> int:
    """Delete doomed objects that no snapshot and no published metadata names (I5); returns how many."""
    deleted = 0
    while keys := await _free_to_go(volume):
        door = await ensure_owner(volume)
        names = [pack_key(*key) for key in keys]
        await trio.to_thread.run_sync(door.writes.delete, names, limiter=volume.tier.workers, abandon_on_cancel=True)
        await volume.gate.opened()
        record(volume, ops.ObjectsDeleted(packs=keys))
        deleted += len(keys)
    return deleted


async def _free_to_go(volume: Volume) -> list[PackKey]:
    await volume.gate.opened()
    if volume.pins.snapshot_begins:
        return []
    seqs = [snapshot.seq for snapshot in disks.snapshots(volume.metadata)]
    seqs += [seq for _epoch, seq in objects.published(volume.metadata)]
    pins = volume.pins
    oldest_seq = min([*seqs, pins.snapshot_seq, pins.dropped_seq, pins.published_seq, volume.activity.committed_seq])
    return [
        (pack, disk)
        for pack, disk, _seq in objects.doomed(volume.metadata, OBJECTS_AT_ONCE, until_seq=oldest_seq)
        if (pack, disk) not in volume.pins.packs and (pack, disk) not in volume.tier.uploading
    ]


async def close_packs(volume: Volume, keys: Iterable[PackKey]) -> None:
    """Open packs that wait for their upload take no more."""
    wanted = set(keys)
    async with volume.pack_lock:
        for disk, writer in list(volume.writers.items()):
            if (writer.pack, disk) in wanted:
                await packing.close(volume, disk, writer)
