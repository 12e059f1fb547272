"""The metadata in the bucket: sealed, compacted copies of the last COMMIT, so that the bucket and a key bring it back.

Order (I5, I8): copy made on the disk, what it names pinned → parts → manifest → Publish op → barrier → older copies go.
Cut anywhere, what is left of it is found by its name and goes after the next copy. Nothing local waits for any of it.
"""

import os
from collections.abc import Callable, Set
from functools import partial
from typing import TypeVar

import msgspec
import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import HEADER_SIZE, DamagedSlot, decode_header
from rustfsfs.errors import CloudRefused, DamagedData, ObjectMissing, OpeningError, RustfsfsError
from rustfsfs.meta import database, disks, objects
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import HEADER, METADATA, Door
from rustfsfs.store.headers import read_volume_header
from rustfsfs.store.manifest import PART_SIZE, DiskEntry, Manifest, Part
from rustfsfs.units import MIB
from rustfsfs.volume import epochs, snapshots
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.formatting import CONFIG
from rustfsfs.volume.recording import record
from rustfsfs.volume.tier import Published
from rustfsfs.volume.tiering import door_of
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import opened

KEPT = 3
SPOOL = "metadata.publishing"  # in VOLUME, while a copy is on its way: uploads may be slow, and no transaction waits
CONFIG_SIZE_MAX = MIB
LAST_SIZE_MAX = 64 * MIB  # of the database, for a copy at unmount,
LAST_S = 10.0  # which is given up after this long
T = TypeVar("T")


def is_due(volume: Volume) -> bool:
    """Has anything happened since the newest copy that it should have?"""
    newest_seq = max((seq for _epoch, seq in kept(volume)), default=-1)
    return volume.metadata.is_tiered and volume.metadata.running.changed_seq > newest_seq


def kept(volume: Volume) -> list[tuple[int, int]]:
    """(epoch, seq) of the copies that are retained, oldest first."""
    is_known = volume.metadata.is_tiered and volume.metadata.lost is None
    return objects.published(volume.metadata) if is_known else []


async def publish(volume: Volume, *, part_bytes: int = PART_SIZE) -> bool:
    """Bring header and metadata to the bucket, as far as they have changed; False if the metadata had not.

    part_bytes   PART_SIZE at the most; so many are in RAM

    Raises CloudUnavailable, CloudRefused (also: the bucket has newer metadata, or another volume's), NoSpace,
    StoreError, DamagedData, OSError; then the copies that were there are there, and it is to be tried again.
    """
    async with volume.tier.publish_lock:
        door = door_of(volume)
        await _in_worker(partial(_put_header, volume, door), volume)
        await volume.gate.opened()
        if volume.health.read_only_reason is not None:
            return False
        await _look(volume, door)
        if not is_due(volume):
            return False
        try:
            made = await _copy(volume)
            whole = await _upload(volume, door, made, part_bytes)
            await volume.gate.opened()
            others = [one for one in kept(volume) if one[0] != whole.epoch]
            retained = [*others, (whole.epoch, whole.seq)][-KEPT:]
            record(volume, ops.Publish(copies=retained))
            await barrier(volume)
        finally:
            volume.pins.published_seq = 1 << 62
            await trio.to_thread.run_sync(database.remove_files, _spool(volume))
        _note(volume, whole)
        log.info("the bucket has the metadata of epoch %d: %d bytes", whole.epoch, whole.size_bytes)
        await _in_worker(partial(delete_others, door.writes, {epoch for epoch, _seq in retained}), volume)
        return True


async def _in_worker(work: Callable[[], T], volume: Volume) -> T:
    """A request may take long; who is cancelled, as at unmount, does not wait for its end."""
    return await trio.to_thread.run_sync(work, limiter=volume.tier.workers, abandon_on_cancel=True)


def _put_header(volume: Volume, door: Door) -> None:
    """The header as it is now, key slots and all, if the bucket has another. Blocking. Raises CloudRefused."""
    data = read_volume_header(volume.world.files, volume.path)
    there = header_in(door.reads)
    if there is not None and _uuid_of(there) not in (None, volume.header.uuid):
        raise CloudRefused(
            f"{door.name} holds another volume; nothing is written there until it has a prefix of its own"
        )
    if there != data and not any(isinstance(slot, DamagedSlot) for slot in decode_header(data).slots):
        door.writes.replace(HEADER, data)


def header_in(bucket: Bucket) -> bytes | None:
    """The header of the volume that a bucket belongs to; None: it has none. Blocking."""
    try:
        return bucket.get(HEADER, 0, HEADER_SIZE)
    except (ObjectMissing, DamagedData):  # the latter: it is shorter
        return None


def _uuid_of(header: bytes) -> bytes | None:
    try:
        return decode_header(header).uuid
    except OpeningError:
        return None


def copies_in(bucket: Bucket) -> dict[str, list[str]]:
    """As `manifest.copies`. Blocking: a request for 1 000 keys."""
    return layout.copies(found.key for found in bucket.list(METADATA))


def newest_epoch_in(bucket: Bucket) -> int:
    """Of the whole copies; 0 if there is none. Blocking."""
    return max((layout.epoch_of(name) for name, keys in copies_in(bucket).items() if layout.is_whole(keys)), default=0)


async def ensure_ours(volume: Volume) -> None:
    """Before anything of this life is written there, and ever after: does nobody else go on with the bucket?

    Raises CloudRefused, CloudUnavailable.
    """
    tier, door = volume.tier, door_of(volume)
    if tier.fenced is not None:
        raise CloudRefused(tier.fenced)
    if not tier.is_looked:
        await _look(volume, door)


async def _look(volume: Volume, door: Door) -> None:
    newest_epoch = await _in_worker(partial(newest_epoch_in, door.reads), volume)
    await volume.gate.opened()
    _go_behind(volume, newest_epoch)
    volume.tier.is_looked = True


def _go_behind(volume: Volume, newest_epoch: int) -> None:
    """Epochs only grow, so newer metadata is not ours: to go on would delete what it names. Raises CloudRefused.

    A restored volume goes on behind it, since a person has decided.
    """
    running = volume.metadata.running
    if newest_epoch <= running.epoch:
        return
    if not running.restored:
        volume.tier.fenced = (
            f"the bucket has metadata of epoch {newest_epoch}, this volume is at {running.epoch}: another host goes on"
            " with it, or the metadata was rolled back; nothing more is written to the bucket from here"
        )
        raise CloudRefused(volume.tier.fenced)
    running.epoch = newest_epoch


async def _copy(volume: Volume) -> Manifest:
    """A copy of the last COMMIT in the spool, and what is known of it; parts are not cut yet."""
    async with volume.snapshot_lock:
        await epochs.commit(volume)
        async with snapshots.reading(volume) as made:
            volume.pins.published_seq = made.seq
            facts = await trio.to_thread.run_sync(_copy_out, volume, made)
        await trio.to_thread.run_sync(database.compact, _spool(volume), volume.keys.database)
    return facts


def _spool(volume: Volume) -> str:
    return f"{volume.path}/{SPOOL}"


def _copy_out(volume: Volume, made: disks.Snapshot) -> Manifest:
    """Blocking, on the second connection, whose read transaction it ends."""
    reader = volume.reader
    try:
        database.copy_to(reader.db, _spool(volume), volume.keys.database)
        packs, live_bytes = objects.not_in_bucket(reader)
        return Manifest(
            epoch=made.epoch,
            seq=made.seq,
            committed_ns=reader.running.committed_ns,
            parts=[],
            config_text=_config_text(volume),
            disks=[DiskEntry(row.disk, row.uuid, row.path) for row in disks.all_(reader)],
            hot_bytes=reader.running.hot_bytes,
            local_packs=packs,
            local_bytes=live_bytes,
        )
    finally:
        reader.run("COMMIT")


def _config_text(volume: Volume) -> bytes:
    files, path = volume.world.files, f"{volume.path}/{CONFIG}"
    if not files.exists(path):
        return b""
    with opened(files, path) as fd:
        return files.pread(fd, CONFIG_SIZE_MAX, 0)


async def _upload(volume: Volume, door: Door, made: Manifest, part_bytes: int) -> Manifest:
    """The parts one after the other, then the manifest; returns it whole."""
    salt, parts = volume.world.random_bytes(layout.SALT_SIZE), list[Part]()
    name, size_bytes = layout.copy_name(made.epoch, salt), os.path.getsize(_spool(volume))
    for start in range(0, size_bytes, part_bytes):
        put = partial(_put_part, volume, door.writes, name, len(parts), salt, start, part_bytes)
        parts.append(await _in_worker(put, volume))
    whole = msgspec.structs.replace(made, parts=parts)
    sealed = layout.seal_manifest(whole, salt=salt, keys=volume.keys, uuid=volume.header.uuid)
    await _in_worker(
        partial(door.writes.put, layout.manifest_key(name), sealed, placement=Placement.STANDARD),
        volume,
    )
    return whole


def _put_part(volume: Volume, bucket: Bucket, name: str, number: int, salt: bytes, start: int, part_bytes: int) -> Part:
    """Blocking. It opens the spool itself: nobody else may close what a thread that was given up still reads."""
    with open(_spool(volume), "rb") as file:
        file.seek(start)
        data = file.read(part_bytes)
    bucket.put(layout.part_key(name, number), data, placement=Placement.STANDARD)
    return Part(len(data), layout.part_mac(data, number, salt=salt, keys=volume.keys))


async def look(volume: Volume) -> None:
    """What the newest copy of ours is, for status: of this life nobody has made one yet. Raises as `publish`."""
    door = door_of(volume)
    await volume.gate.opened()
    epochs_kept = {epoch for epoch, _seq in kept(volume)}
    there = await _in_worker(partial(copies_in, door.reads), volume)
    names = [name for name, keys in there.items() if layout.is_whole(keys) and layout.epoch_of(name) in epochs_kept]
    if names:
        read = partial(read_manifest, door.reads, names[-1], volume.keys, volume.header.uuid)
        _note(volume, (await _in_worker(read, volume))[0])


def read_manifest(bucket: Bucket, name: str, keys: Keys, uuid: bytes) -> tuple[Manifest, bytes]:
    """The manifest of a copy, and its salt. Blocking. Raises DamagedData, ObjectMissing."""
    size_bytes = bucket.head(layout.manifest_key(name)).size_bytes
    if size_bytes > layout.MANIFEST_SIZE_MAX:
        raise DamagedData("its manifest is larger than any that rustfsfs writes")
    sealed = bucket.get(layout.manifest_key(name), 0, size_bytes)
    return layout.open_manifest(sealed, name=name, keys=keys, uuid=uuid)


def _note(volume: Volume, whole: Manifest) -> None:
    volume.tier.published = Published(
        epoch=whole.epoch,
        committed_ns=whole.committed_ns,
        size_bytes=whole.size_bytes,
        hot_bytes=whole.hot_bytes,
        local_packs=whole.local_packs,
        local_bytes=whole.local_bytes,
    )


def delete_others(bucket: Bucket, kept_epochs: Set[int]) -> None:
    """Copies that no row names go, manifests first, and what was never finished. Blocking."""
    gone = [
        key
        for name, keys in copies_in(bucket).items()
        if not layout.is_whole(keys) or layout.epoch_of(name) not in kept_epochs
        for key in keys
    ]
    for keys in (
        [key for key in gone if layout.is_manifest(key)],
        [key for key in gone if not layout.is_manifest(key)],
    ):
        if keys:
            bucket.delete(keys)


async def publish_last(volume: Volume) -> None:
    """At unmount: if it is due and will be quick. Never raises for the bucket's sake, nor waits longer than LAST_S."""
    door, size_bytes = volume.tier.door, volume.world.files.size(volume.metadata.path)
    if door is None or size_bytes > LAST_SIZE_MAX or not is_due(volume):
        return
    with trio.move_on_after(LAST_S) as scope:
        try:
            await publish(volume)
        except (RustfsfsError, OSError) as exc:
            log.warning("the bucket has not got the metadata of this unmount: %s", exc)
    if scope.cancelled_caught:
        log.warning("the bucket has not got the metadata of this unmount: it took longer than %g s", LAST_S)
