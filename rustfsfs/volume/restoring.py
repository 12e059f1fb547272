"""A metadata snapshot in the place of a lost database: for the worst day, so nothing that is left is overwritten."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.errors import CloudUnavailable, DamagedVolume, RustfsfsError, UsageError
from rustfsfs.meta import database
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.soundness import is_sound
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.headers import read_disk_header
from rustfsfs.volume import copies, pagesums, snapshots
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.formatting import METADATA, Secret
from rustfsfs.volume.header import listed_disks, unlocked
from rustfsfs.volume.locking import locked
from rustfsfs.volume.notices import notice
from rustfsfs.volume.opening import RESTORED_BEFORE
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.volume.presence import find_disks
from rustfsfs.volume.reconciling import Source, reconcile
from rustfsfs.volume.upgrading import open_copy, open_metadata
from rustfsfs.world import World, real_world

SUFFIXES = ("", "-wal", "-shm")  # the files of one SQLite database


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    world: World
    path: str
    header: VolumeHeader
    keys: Keys
    reach: Callable[[], Bucket] | None


def restore_metadata(path: str, secret: Secret, *, bucket: Callable[[], Bucket] | None = None) -> str:
    """Put the newest good metadata snapshot in the place of a lost database; returns what was done, in a sentence.

    bucket   reaches the volume's, which is asked whether it has newer metadata; None: it is not known where it is

    What is left of the journal is replayed by the next open, as far as it continues the snapshot. The old database is
    kept beside it. Raises UsageError (the database is sound, and as new as the disks), DamagedVolume (no snapshot
    opens).
    """
    path = os.path.abspath(path)
    world = real_world()
    header, keys = unlocked(world, path, secret)
    place = _Place(world=world, path=path, header=header, keys=keys, reach=bucket)
    with locked(path, mount_point=None):
        refuse_sound(world, path, header, keys)
        candidates = sorted(snapshot_files(world, path), key=os.path.basename, reverse=True)
        for candidate in candidates:
            temporary = f"{path}/{METADATA}.new"
            try:
                found = _take(place, candidate, temporary, newest_epoch(world, path, header, keys))
                if found is not None:
                    put_in_place(world, path, temporary)
                    return found
            finally:
                database.remove_files(temporary)
    raise DamagedVolume(f"no metadata snapshot of {path} opens; looked at {len(candidates)}")


def _ask_bucket(place: _Place, metadata: Metadata) -> str:
    """Changes a snapshot to what the bucket has by now: packs that were demoted since are cold. Returns what is said.

    Nothing of a volume without a bucket. If it cannot be asked, sweeping finds those packs later.
    """
    if place.reach is None and not metadata.is_tiered:
        return ""
    try:
        if place.reach is None:
            raise CloudUnavailable("bucket.toml, which says where it is, is not there")
        bucket = place.reach()
        copies.our_header_in(bucket, place.header.uuid)
        newest = layout.newest_whole(copies.keys_in(bucket))
        lost = _reconcile(place, metadata, bucket) if metadata.is_tiered else ""
    except RustfsfsError as exc:
        return (
            f"; the bucket could not be asked whether it has newer metadata ({exc}): fsck --rebuild-from-bucket does,"
            " and brings that back"
        )
    if newest <= metadata.running.epoch:
        return f"; the bucket has none that is newer{lost}"
    return (
        f"; the bucket has newer metadata (epoch {newest}), and nothing is written there until you decide: fsck"
        f" --rebuild-from-bucket brings it back, fsck --accept-restored gives it up{lost}"
    )


def _reconcile(place: _Place, metadata: Metadata, bucket: Bucket) -> str:
    stores, _missing, _newer = find_disks(place.world, place.path, place.header, place.keys, metadata)
    source = Source(bucket=bucket, keys=place.keys, uuid=place.header.uuid)
    try:
        metadata.run("BEGIN IMMEDIATE")
        found = reconcile(metadata, stores, source, no_progress)
        database.write_running(metadata)
        metadata.run("COMMIT")
    except RustfsfsError:
        database.rollback(metadata)
        raise
    if not found.lost:
        return ""
    return f"; {len(found.lost)} chunks are neither on a disk nor in the bucket: fsck names their files"


def refuse_sound(world: World, path: str, header: VolumeHeader, keys: Keys, *, in_bucket: int = 0) -> bool:
    """Going back to a snapshot loses what came after it, so a database that needs no help gets none.

    in_bucket   the newest epoch there: what was restored gives way to it as long as nobody has decided; True: and it
                was used since, so that the journal goes on from it, not from the bucket's
    """
    file = f"{path}/{METADATA}"
    try:
        metadata = open_metadata(world, file, keys)
    except DamagedVolume:
        return False
    try:
        running, stale = metadata.running, PageSums(world.files, file, keys.database).stale(adopt=False)
        if stale or not is_sound(metadata) or running.epoch < newest_epoch(world, path, header, keys):
            return False
        if 0 < running.restored_epoch < in_bucket:
            return running.restored == RESTORED_BEFORE
        raise UsageError(f"the metadata is sound; nothing to restore (to go back all the same, move {file} away)")
    finally:
        metadata.close()


def newest_epoch(world: World, path: str, header: VolumeHeader, keys: Keys) -> int:
    """The newest epoch that any disk has seen; 0 if none can be asked."""
    return newest_epoch_on(world, [path, *listed_disks(world, path)], header, keys)


def newest_epoch_on(world: World, folders: Iterable[str], header: VolumeHeader, keys: Keys) -> int:
    newest = 0
    for disk in folders:
        try:
            newest = max(newest, read_disk_header(world.files, disk, keys=keys, uuid=header.uuid).epoch)
        except (RustfsfsError, OSError):
            continue
    return newest


def snapshot_files(world: World, path: str) -> Iterator[str]:
    yield from snapshot_files_on(world, [path, *listed_disks(world, path)])


def snapshot_files_on(world: World, folders: Iterable[str]) -> Iterator[str]:
    for disk in folders:
        folder = f"{disk}/{snapshots.FOLDER}"
        if not world.files.exists(disk):
            notice.warning("the disk %s is missing: a newer snapshot may lie there", disk)
        if world.files.exists(folder):
            yield from (f"{folder}/{name}" for name in world.files.names(folder) if name.endswith(".db"))


def _take(place: _Place, candidate: str, temporary: str, newest_epoch: int) -> str | None:
    """Copy a snapshot and make it ready; what it is, in a sentence, or None if it does not open."""
    database.remove_files(temporary)
    try:
        snapshots.copy_out(place.world.files, candidate, temporary, place.keys)
        metadata = open_copy(place.world, temporary, place.keys)
    except DamagedVolume:
        return None
    try:
        if not is_sound(metadata):
            return None
        found = f"the metadata is that of {words(metadata)} (from {candidate})" + _ask_bucket(place, metadata)
        database.mark_restored(metadata, newest_epoch=newest_epoch)
        return found
    finally:
        metadata.close()


def words(metadata: Metadata) -> str:
    when = datetime.fromtimestamp(metadata.running.committed_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"epoch {metadata.running.epoch}, {when}"


def put_in_place(world: World, path: str, temporary: str) -> None:
    """Order: new file durable → the pages' sums gone → old ones moved aside → new one renamed → directory durable."""
    with open(temporary, "rb") as file:
        world.files.sync(file.fileno())
    base = f"{path}/{METADATA}"
    pagesums.forget(world.files, base)
    aside = free_name(f"{base}.damaged")
    for suffix in reversed(SUFFIXES):
        if os.path.exists(base + suffix):
            os.replace(base + suffix, aside + suffix)
    for suffix in SUFFIXES[1:]:
        Path(temporary + suffix).unlink(missing_ok=True)
    os.replace(temporary, base)
    world.files.sync_dir(path)


def free_name(wanted: str) -> str:
    """`wanted`, or with the first number that nothing there has: what was lost once is not lost twice."""
    name, number = wanted, 1
    while any(os.path.lexists(name + suffix) for suffix in SUFFIXES):
        number += 1
        name = f"{wanted}.{number}"
    return name
