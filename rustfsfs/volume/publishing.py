"""The metadata in the bucket: sealed, compacted copies of the last COMMIT, so that the bucket and a key bring it back.

Order (I5, I8, I9): the bucket is ours → copy made on the disk, what it names pinned → parts → it is ours yet →
manifest → Publish op → barrier → it is ours yet → older copies go → Publish op without them: as long as a copy is
there, a row names it, and what it names stays.
Cut anywhere, what is left of it is found by its name and goes after the next copy. Nothing local waits for any of it.
"""

import os
from collections.abc import Set
from functools import partial
from typing import TypeVar

import msgspec
import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.content.slots import DamagedSlot, decode_header
from rustfsfs.errors import RustfsfsError
from rustfsfs.meta import database, disks, objects
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import HEADER, Door
from rustfsfs.store.headers import read_volume_header
from rustfsfs.store.manifest import PART_SIZE, DiskEntry, Manifest, Part
from rustfsfs.units import MIB
from rustfsfs.volume import copies, epochs, owning, snapshots
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.formatting import CONFIG
from rustfsfs.volume.owning import door_of, in_worker
from rustfsfs.volume.recording import record
from rustfsfs.volume.tier import Published
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
        volume.tier.header = None  # somebody may have taken it away since
        await _bring_header(volume, door)
        await volume.gate.opened()
        if volume.health.read_only_reason is not None or not is_due(volume):
            return False
        await owning.ensure_newest(volume)
        tier, began_s = volume.tier, trio.current_time()
        went_cold, tier.went_cold, is_whole = tier.went_cold, False, False
        try:
            made = await _copy(volume)
            whole = await _upload(volume, door, made, part_bytes)
            await volume.gate.opened()
            named = [*(one for one in kept(volume) if one[0] != whole.epoch), (whole.epoch, whole.seq)]
            record(volume, ops.Publish(copies=named))
            await barrier(volume)
            is_whole = True
        finally:
            tier.went_cold |= went_cold and not is_whole
            volume.pins.published_seq = 1 << 62
            await trio.to_thread.run_sync(database.remove_files, _spool(volume))
        _note(volume, whole)
        tier.published_s = trio.current_time()
        tier.publishing_took_s = tier.published_s - began_s
        log.info("the bucket has the metadata of epoch %d: %d bytes", whole.epoch, whole.size_bytes)
        await _delete_others(volume, door, {epoch for epoch, _seq in named[-KEPT:]})
        if len(named) > KEPT:
            await volume.gate.opened()
            record(volume, ops.Publish(copies=named[-KEPT:]))
        return True


async def publish_header(volume: Volume) -> None:
    """Which keys open what is in the bucket does not wait for metadata to change. Raises as `publish`.

    No request as long as the bucket is known to have it; nothing if some slot is damaged: the bucket's may be whole.
    """
    async with volume.tier.publish_lock:
        await _bring_header(volume, door_of(volume))


async def _bring_header(volume: Volume, door: Door) -> None:
    data = await trio.to_thread.run_sync(read_volume_header, volume.world.files, volume.path)
    if data == volume.tier.header:
        return
    there = await in_worker(partial(copies.our_header_in, door.reads, volume.header.uuid), volume)
    await volume.gate.opened()
    if there != data and not any(isinstance(slot, DamagedSlot) for slot in decode_header(data).slots):
        if volume.health.read_only_reason is not None:
            return
        await owning.ensure_newest(volume)
        await in_worker(partial(door.writes.replace, HEADER, data), volume)
    volume.tier.header = data


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
    """The parts one after the other, then the manifest, if the bucket is ours yet; returns it whole."""
    salt, parts = volume.world.random_bytes(layout.SALT_SIZE), list[Part]()
    name, size_bytes = layout.copy_name(made.epoch, salt), os.path.getsize(_spool(volume))
    for start in range(0, size_bytes, part_bytes):
        put = partial(_put_part, volume, door.writes, name, len(parts), salt, start, part_bytes)
        parts.append(await in_worker(put, volume))
    await owning.ensure_owner(volume)  # that took its time, and the new owner's copies are to be the newest
    whole = msgspec.structs.replace(made, parts=parts, term=volume.tier.term)
    sealed = layout.seal_manifest(whole, salt=salt, keys=volume.keys, uuid=volume.header.uuid)
    await in_worker(
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
    there = await in_worker(partial(copies.copies_in, door.reads), volume)
    names = [name for name, keys in there.items() if layout.is_whole(keys) and layout.epoch_of(name) in epochs_kept]
    if names:
        read = partial(copies.read_manifest, door.reads, names[-1], volume.keys, volume.header.uuid)
        _note(volume, (await in_worker(read, volume))[0])


def _note(volume: Volume, whole: Manifest) -> None:
    volume.tier.published = Published(
        epoch=whole.epoch,
        committed_ns=whole.committed_ns,
        size_bytes=whole.size_bytes,
        hot_bytes=whole.hot_bytes,
        local_packs=whole.local_packs,
        local_bytes=whole.local_bytes,
    )


async def _delete_others(volume: Volume, door: Door, kept_epochs: Set[int]) -> None:
    """Copies that are not to be kept go, manifests first, and what was never finished; if the bucket is ours yet."""
    there = await in_worker(partial(copies.keys_in, door.reads), volume)
    owning.ensure_newest_term(volume, there)
    gone = [
        key
        for name, keys in layout.copies(there).items()
        if not layout.is_whole(keys) or layout.epoch_of(name) not in kept_epochs
        for key in keys
    ]
    manifests = [key for key in gone if layout.is_manifest(key)]
    for keys in (manifests, [key for key in gone if not layout.is_manifest(key)]):
        if keys:
            await in_worker(partial(door.writes.delete, keys), volume)


async def publish_last(volume: Volume) -> None:
    """At unmount: the header, and the metadata if it is due and will be quick.

    Never raises for the bucket's sake, nor waits longer than LAST_S.
    """
    if volume.tier.door is None:
        return
    is_quick = volume.world.files.size(volume.metadata.path) <= LAST_SIZE_MAX
    with trio.move_on_after(LAST_S) as scope:
        try:
            if is_quick and is_due(volume):
                await publish(volume)
            else:
                await publish_header(volume)
        except (RustfsfsError, OSError) as exc:
            log.warning("the bucket has not got the metadata of this unmount, or the keys: %s", exc)
    if scope.cancelled_caught:
        log.warning(
            "the bucket has not got the metadata of this unmount, or the keys: it took longer than %g s", LAST_S
        )
