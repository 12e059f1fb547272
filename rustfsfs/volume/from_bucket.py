"""A lost database, or a whole lost host, brought back from the bucket: the newest copy of the metadata that is whole.

Nothing that is left is overwritten: a damaged database stays beside the new one. In a new directory VOLUME/header comes
last, so that what was cut off is no volume, and the same command begins anew.
"""

import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from rustfsfs.config import default_config_text
from rustfsfs.content.keys import Keys, derive_keys
from rustfsfs.content.slots import VolumeHeader, check_header, decode_header, unlock
from rustfsfs.errors import DamagedData, DamagedVolume, NotAVolume, ObjectMissing, UsageError
from rustfsfs.meta import chunks, database, disks, objects
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.soundness import is_sound
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.headers import write_volume_header
from rustfsfs.store.manifest import Manifest
from rustfsfs.units import format_size
from rustfsfs.volume import copies, directories, paths, publishing, restoring, snapshots, taking
from rustfsfs.volume.bucketfile import BucketFile, write_bucket_file
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.formatting import CONFIG, DISKS, JOURNAL, METADATA, Secret
from rustfsfs.volume.header import find_header, listed_disks, unlocked
from rustfsfs.volume.locking import locked
from rustfsfs.volume.presence import find_disks
from rustfsfs.volume.reconciling import Source, Whereabouts, reconcile
from rustfsfs.volume.upgrading import open_copy
from rustfsfs.world import World, publish, real_world

MARKER = "rebuilding"  # in a new VOLUME, from its first file until its header is there
PATHS_NAMED_MAX = 100


class Rebuilt(NamedTuple):
    done: str
    notes: list[str]
    lost: list[str]  # a line for each file, or disk, of which something cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is rebuilt, and from where."""

    world: World
    path: str
    header: VolumeHeader
    keys: Keys
    bucket: Bucket
    progress: Progress
    is_new: bool  # nothing was there
    gives_up_journal: bool = False  # it goes on from other metadata, so it is put aside

    @property
    def temporary(self) -> str:
        return f"{self.path}/{METADATA}.new"


def rebuild_from_bucket(
    path: str, secret: Secret, bucket: Bucket, *, settings: BucketFile | None = None, progress: Progress = no_progress
) -> Rebuilt:
    """Put the newest whole copy of the metadata in the place of a lost database, or into a new directory.

    settings   to be kept as VOLUME/bucket.toml; None: it is there

    What is left of a journal is replayed by the next open, as far as it continues the copy. Raises UsageError (the
    database is sound, or the disks have a newer copy), NotAVolume, WrongKey, DamagedVolume (no copy is whole), InUse (a
    directory that is not empty, and no volume), CloudUnavailable, CloudRefused; then nothing has changed.
    """
    path = os.path.abspath(path)
    world = real_world()
    if not _is_new(world, path):
        header, keys = unlocked(world, path, secret)
        with locked(path, mount_point=None):
            newest = layout.newest_whole(copies.keys_in(bucket))
            gives_up_journal = restoring.refuse_sound(world, path, header, keys, in_bucket=newest)
            place = _Place(
                world=world,
                path=path,
                header=header,
                keys=keys,
                bucket=bucket,
                progress=progress,
                is_new=False,
                gives_up_journal=gives_up_journal,
            )
            return _rebuild(place, settings)
    data, header, keys = header_from(bucket, secret)
    with _made(world, path), locked(path, mount_point=None):
        place = _Place(world=world, path=path, header=header, keys=keys, bucket=bucket, progress=progress, is_new=True)
        done = _rebuild(place, settings)
        write_volume_header(world.files, path, data)
        return done


def _is_new(world: World, path: str) -> bool:
    """Raises InUse, MachineTrouble: it is neither a volume nor empty."""
    try:
        find_header(world, path)
    except NotAVolume:
        if not os.path.lexists(f"{path}/{MARKER}"):
            directories.check_name(path)
            directories.check_file_system(path if os.path.exists(path) else os.path.dirname(path))
            directories.check_empty(path)
        return True
    return False


def header_from(bucket: Bucket, secret: Secret) -> tuple[bytes, VolumeHeader, Keys]:
    """The header that the bucket keeps, and what it says. Raises NotAVolume, WrongKey, DamagedVolume, NewerFormat."""
    data = copies.header_in(bucket)
    if data is None:
        raise NotAVolume(f"{bucket.name} has no header of a volume; is that the bucket, and the prefix?")
    header = decode_header(data)
    keys = derive_keys(unlock(header, secret.kind, secret.value), header.uuid)
    check_header(data, mac_key=keys.header_mac)
    return data, header, keys


@contextmanager
def _made(world: World, path: str) -> Iterator[None]:
    """The directory, marked; when the block fails, as it was."""
    before = set(os.listdir(path)) if os.path.exists(path) else None
    world.files.mkdir(path)
    os.chmod(path, 0o700)
    publish(world.files, f"{path}/{MARKER}", b"")
    try:
        yield
        world.files.unlink(f"{path}/{MARKER}")
        world.files.sync_dir(path)
    except BaseException:
        for name in set(os.listdir(path)) - (before or set()):
            with suppress(OSError):
                os.rmdir(f"{path}/{name}") if os.path.isdir(f"{path}/{name}") else os.unlink(f"{path}/{name}")
        if before is None:
            with suppress(OSError):
                os.rmdir(path)
        raise


def _rebuild(place: _Place, settings: BucketFile | None) -> Rebuilt:
    """Order: the copy whole and changed to what is there → the small files → `restoring.put_in_place`."""
    world, path = place.world, place.path
    _refuse_foreign(place)
    names = [name for name, keys in copies.copies_in(place.bucket).items() if layout.is_whole(keys)]
    try:
        manifest, metadata, notes = _newest_whole(place, names)
        try:
            said = f"the metadata is that of {restoring.words(metadata)} (from {place.bucket.name})"
            more, lost = _adapt(place, metadata, manifest, {layout.epoch_of(name) for name in names})
            listed = [row.path for row in disks.all_(metadata)]
        finally:
            metadata.close()
        _write_files(place, manifest, listed, settings)
        if place.gives_up_journal:
            _put_journal_aside(place)
        restoring.put_in_place(world, path, place.temporary)
    finally:
        database.remove_files(place.temporary)
    return Rebuilt(said, [*notes, *more], lost)


def _adapt(place: _Place, metadata: Metadata, manifest: Manifest, epochs: Set[int]) -> tuple[list[str], list[str]]:
    """Change a copy to what is there now; returns what is to be said, and what is lost."""
    metadata.run("BEGIN IMMEDIATE")
    here = taking.Here(world=place.world, path=place.path, header=place.header, keys=place.keys)
    notes = taking.take_new(here, metadata) if place.is_new else taking.take_again(here, metadata)
    older = taking.accept_older(here, metadata)
    stores, missing, _newer = find_disks(place.world, place.path, place.header, place.keys, metadata)
    folders = [place.path, *(store.path for store in stores.values())]
    if (newer := _newer_snapshot(place, folders, manifest)) is not None:
        notes.append(f"{newer} has newer metadata than the bucket, which was not looked at: VOLUME was not there")
    source = Source(bucket=place.bucket, keys=place.keys, uuid=place.header.uuid)
    found = reconcile(metadata, stores, source, place.progress, unsure=older)
    kept = [one for one in objects.published(metadata) if one[0] in epochs and one[0] < manifest.epoch]
    objects.publish(metadata, [*kept, (manifest.epoch, manifest.seq)][-publishing.KEPT :])
    metadata.run("COMMIT")
    folders += listed_disks(place.world, place.path)
    newest = restoring.newest_epoch_on(place.world, folders, place.header, place.keys)
    database.mark_restored(metadata, newest_epoch=max([newest, *epochs]))
    if max(epochs) > manifest.epoch:
        notes.append(
            f"what the bucket has of newer metadata (epoch {max(epochs)}) is kept, and nothing is written there until"
            " fsck --accept-restored gives it up"
        )
    lost = [f"a disk is missing: {why}; bring it back, or mount with --degraded" for why in missing.values()]
    return [*notes, *_summary(found)], [*lost, *_lost_packs(metadata, found.lost), *_lost_hot(metadata, place)]


def _refuse_foreign(place: _Place) -> None:
    data = copies.header_in(place.bucket)
    if data is not None:
        with suppress(NotAVolume, DamagedVolume):
            if decode_header(data).uuid != place.header.uuid:
                raise UsageError(f"{place.bucket.name} holds another volume; name the bucket of this one with --bucket")


def _newest_whole(place: _Place, names: Sequence[str]) -> tuple[Manifest, Metadata, list[str]]:
    """A copy, its database, open but not in its place yet, and why newer ones are not it.

    Raises DamagedVolume: none is whole; UsageError: the disks have a newer one.
    """
    notes = list[str]()
    for name in reversed(names):
        try:
            manifest, salt = copies.read_manifest(place.bucket, name, place.keys, place.header.uuid)
            folders = [] if place.is_new else [place.path, *listed_disks(place.world, place.path)]
            if (newer := _newer_snapshot(place, folders, manifest)) is not None:
                raise UsageError(
                    f"{newer} has newer metadata than the bucket (epoch {manifest.epoch}): fsck --restore-metadata"
                    " brings it back (for the bucket's all the same, move that file away)"
                )
            return manifest, _fetch(place, name, manifest, salt), notes
        except (DamagedData, DamagedVolume, ObjectMissing) as exc:
            notes.append(f"the copy of epoch {layout.epoch_of(name)} is not whole ({exc}): an older one is taken")
    looked = "; ".join(notes) or "there is none"
    raise DamagedVolume(f"no copy of the metadata in {place.bucket.name} can be used: {looked}")


def _newer_snapshot(place: _Place, folders: Sequence[str], manifest: Manifest) -> str | None:
    """A whole one on a disk: going back further than need be loses what came between."""
    for file in restoring.snapshot_files_on(place.world, folders):
        with suppress(OSError, ValueError):
            epoch = int(os.path.basename(file).removesuffix(".db"), 16)
            if epoch > manifest.epoch and snapshots.read_whole(place.world.files, file, place.keys, lambda _data: None):
                return file
    return None


def _fetch(place: _Place, name: str, manifest: Manifest, salt: bytes) -> Metadata:
    """The database of a copy, sound. Raises DamagedData, ObjectMissing, DamagedVolume, NewerFormat."""
    database.remove_files(place.temporary)
    fd = os.open(place.temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        for number, part in enumerate(manifest.parts):
            place.progress(number, len(manifest.parts), "fetching the metadata")
            data = place.bucket.get(layout.part_key(name, number), 0, part.size_bytes)
            if layout.part_mac(data, number, salt=salt, keys=place.keys) != part.mac:
                raise DamagedData(f"part {number} is damaged")
            file.write(data)
    metadata = open_copy(place.world, place.temporary, place.keys)
    if not is_sound(metadata):
        metadata.close()
        raise DamagedVolume("SQLite finds it damaged")
    return metadata


def _write_files(place: _Place, manifest: Manifest, listed: Sequence[str], settings: BucketFile | None) -> None:
    files, path = place.world.files, place.path
    if place.is_new:
        publish(files, f"{path}/{DISKS}", "".join(disk + "\n" for disk in listed).encode())
    if not files.exists(f"{path}/{CONFIG}"):
        publish(files, f"{path}/{CONFIG}", manifest.config_text or default_config_text().encode())
    if settings is not None:
        write_bucket_file(files, path, settings)


def _put_journal_aside(place: _Place) -> None:
    journal = f"{place.path}/{JOURNAL}"
    place.world.files.rename(journal, restoring.free_name(f"{journal}.damaged"))
    place.world.files.mkdir(journal)
    place.world.files.sync_dir(place.path)


def _lost_packs(metadata: Metadata, lost: Sequence[chunks.Chunk]) -> Iterator[str]:
    for chunk in lost[:PATHS_NAMED_MAX]:
        for name in paths.paths_of_chunk(metadata, chunk.chunk):
            yield f"chunk {chunk.chunk} is neither on a disk nor in the bucket: {name}"
    if len(lost) > PATHS_NAMED_MAX:
        yield f"{len(lost) - PATHS_NAMED_MAX} more chunks are nowhere: fsck --data names their files"


def _lost_hot(metadata: Metadata, place: _Place) -> Iterator[str]:
    """What lay in a journal of which nothing is left. Of one that is there, the next mount says what it continues."""
    if not metadata.running.hot_bytes or (os.listdir(f"{place.path}/{JOURNAL}") and not place.gives_up_journal):
        return
    forks = metadata.rows("SELECT fork, sum(length) FROM extents WHERE segment > 0 GROUP BY fork ORDER BY fork")
    for fork, size_bytes in forks[:PATHS_NAMED_MAX]:
        for name in paths.paths_of_fork(metadata, fork):
            yield f"{format_size(size_bytes)} were in the journal only: {name}"
    if len(forks) > PATHS_NAMED_MAX:
        yield f"{len(forks) - PATHS_NAMED_MAX} more files had data in the journal only; fsck --data names them"


def _summary(found: Whereabouts) -> list[str]:
    lines = [f"packs: {found.local} on disks, {found.cold} in the bucket only, {len(found.nowhere)} nowhere"]
    if found.found:
        lines.append(f"{len(found.found)} packs were put into the bucket after the copy was made: found by their names")
    if found.healed:
        lines.append(f"{found.healed} chunks were found in packs that only newer metadata names")
    if found.others:
        lines.append(f"{found.others} packs on disks are others than the metadata names by their numbers: not used")
    if found.newer:
        size_bytes = sum(facts.size_bytes for facts in found.newer.values())
        lines.append(
            f"{len(found.newer)} packs in the bucket ({format_size(size_bytes)}) are of newer metadata: what they hold"
            " has no name any more, and they are kept"
        )
    return lines
