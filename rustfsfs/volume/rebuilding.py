"""The chunk index built anew from the packs: for a database of which the rest is whole (DESIGN.md §9).

Names, attributes and extents stay as they are, to the last COMMIT and the journal behind it; which chunk is which
content comes from what opens of the old table, else from a snapshot; where it lies, from the packs themselves. Of packs
that only the bucket has the old rows count, if they make sense; else the bucket is asked for the packs' directories.
"""

import os
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    DamagedData,
    DamagedMetadata,
    MachineTrouble,
    OpeningError,
    StoreError,
    UsageError,
)
from rustfsfs.meta import checks, chunks, coldindex, database, index, objects
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.soundness import is_sound
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.layout import DirectoryEntry
from rustfsfs.tiers.packs import PackKey
from rustfsfs.units import PackNo
from rustfsfs.volume import checking, copies, frozen, paths, restoring, snapshots
from rustfsfs.volume.bucketfile import NAME
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.formatting import METADATA, Secret
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.locking import locked
from rustfsfs.volume.opening import RESTORED_BEFORE
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.volume.presence import find_disks
from rustfsfs.volume.reconciling import Source, packs_in, read_directory, uploaded
from rustfsfs.volume.upgrading import is_older, open_copy
from rustfsfs.world import World, real_world

PATHS_LOOKED_UP_MAX = 100


def rebuild_index(
    path: str, secret: Secret, *, bucket: Callable[[], Bucket] | None = None, progress: Progress = no_progress
) -> list[str]:
    """Rebuild chunks, places and packs; returns what was done, and a line for each thing that is lost.

    bucket   reaches the volume's, which is asked only if it has to be; None: it has none, or nobody knows where it is

    The old database is kept beside the new one. Raises UsageError (nothing is wrong with the index), MachineTrouble (a
    disk is missing), DamagedVolume (more than the index is damaged), CloudUnavailable, CloudRefused (the bucket has to
    be asked, and does not answer); then nothing has changed.
    """
    path = os.path.abspath(path)
    world = real_world()
    header, keys = unlocked(world, path, secret)
    with locked(path, mount_point=None):
        stale = PageSums(world.files, f"{path}/{METADATA}", keys.database).stale(adopt=False)
        in_copy = bool(stale) or is_older(world, f"{path}/{METADATA}", keys)
        with frozen.writable(f"{path}/{METADATA}", is_frozen=in_copy, without=stale) as opened:
            place = _Place(world=world, path=path, header=header, keys=keys, reach=bucket, progress=progress)
            return _rebuild_from(place, opened, is_stale=bool(stale))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    world: World
    path: str
    header: VolumeHeader
    keys: Keys
    reach: Callable[[], Bucket] | None
    progress: Progress


def _rebuild_from(place: _Place, opened: str, *, is_stale: bool) -> list[str]:
    """`is_stale`: pages are not to be believed. They may be free ones, which nobody reads but mount's own look."""
    world, path, keys = place.world, place.path, place.keys
    old = open_copy(world, opened, keys)
    temporary = f"{path}/{METADATA}.new"
    try:
        stores = _all_disks(world, path, place.header, keys, old)
        if not is_stale:
            _refuse_sound(old, stores)
        database.remove_files(temporary)
        new = database.create(temporary, keys.database)
        try:
            lines = _rebuild(place, old, new, stores)
        finally:
            new.close()
        old.close()
        restoring.put_in_place(world, path, temporary)
    finally:
        old.close()
        database.remove_files(temporary)
    return lines


def _all_disks(world: World, path: str, header: VolumeHeader, keys: Keys, old: Metadata) -> dict[int, PackStore]:
    stores, missing, _newer = find_disks(world, path, header, keys, old)
    if missing:
        raise MachineTrouble(
            f"a disk is missing, and what lies on it would be lost ({'; '.join(missing.values())}); bring it back first"
        )
    return stores


def _refuse_sound(old: Metadata, stores: dict[int, PackStore]) -> None:
    if not is_sound(old):
        return
    findings = [*checks.check(old), *checking.check_packs(old, stores, no_progress)]
    if not findings:
        raise UsageError("the index is whole; nothing to rebuild")


def _rebuild(place: _Place, old: Metadata, new: Metadata, stores: dict[int, PackStore]) -> list[str]:
    new.run("BEGIN IMMEDIATE")
    index.begin(old, new)
    if old.is_tiered:
        coldindex.begin(old, new)
    _learn_from_snapshots(place.world, place.path, place.keys, new)
    packs = [(disk, pack) for disk, store in stores.items() for pack in store.packs()]
    for done, (disk, pack) in enumerate(packs):
        place.progress(done, len(packs), "reading packs")
        entries, closed = _entries(stores[disk], pack)
        index.add_pack(new, pack, disk, entries, closed=closed)
    local = {(int(pack), disk) for disk, pack in packs}
    is_all = not old.is_tiered or coldindex.keep(old, new, local)
    if (old.is_tiered or place.reach is not None) and not (is_all and index.is_whole(new)):
        _look_into_bucket(place, new, local)
    new.running.restored = new.running.restored or RESTORED_BEFORE  # what no row names may be needed yet
    new.running.restored_packs = 0
    lost = index.finish(new)
    new.run("COMMIT")
    database.settle(new)
    count = new.rows("SELECT count(*) FROM chunks")[0][0]
    cold = new.rows("SELECT count(*) FROM packs WHERE closed & 2")[0][0]
    where = f"{len(packs)} packs" + (f", and {cold} that only the bucket has" if cold else "")
    lines = [f"the index was rebuilt: {count - len(lost)} chunks in {where}; scrub verifies them"]
    for number in [*lost, *index.unknown(new)][:PATHS_LOOKED_UP_MAX]:
        named = paths.paths_of_chunk(new, number)
        lines += [f"chunk {number} is in no pack: {name}" for name in named]
    if len(lost) > PATHS_LOOKED_UP_MAX:
        lines.append(f"{len(lost) - PATHS_LOOKED_UP_MAX} more chunks are in no pack: fsck --data names their files")
    return lines


def _look_into_bucket(place: _Place, new: Metadata, local: Set[PackKey]) -> None:
    """Add the packs there that neither disks nor rows know, by their directories. What nothing needs is left out again.

    Raises CloudUnavailable, CloudRefused.
    """
    why = "rows of packs that only the bucket has are lost, and it has to be asked for what is in them"
    if place.reach is None:
        raise CloudUnavailable(f"{why}, but {place.path}/{NAME}, which says where it is, is not there; put it back")
    if not new.is_tiered:
        objects.attach(new)
    try:
        bucket = place.reach()
        copies.our_header_in(bucket, place.header.uuid)
        _add_from(place, new, bucket, local)
    except CloudUnavailable as exc:
        raise CloudUnavailable(f"{why}, but: {exc}; try again when it answers") from exc
    except CloudRefused as exc:
        raise CloudRefused(f"{why}, but: {exc}") from exc


def _add_from(place: _Place, new: Metadata, bucket: Bucket, local: Set[PackKey]) -> None:
    source = Source(bucket=bucket, keys=place.keys, uuid=place.header.uuid)
    there = packs_in(bucket)
    new.running.next_pack = max([new.running.next_pack, *(pack + 1 for pack, _disk in there)])
    for done, (key, facts) in enumerate(sorted(there.items())):
        place.progress(done, len(there), "reading packs in the bucket")
        if key in local or chunks.find_pack(new, *key) is not None:
            continue
        entries = read_directory(source, facts, key)
        if entries is None and not facts.readable:
            raise CloudRefused(f"{facts.key} is frozen ({facts.placement.value}): have it restored, then try again")
        if entries is not None:
            is_known = coldindex.knows_object(new, *key, facts.size_bytes)
            coldindex.add_object(new, *key, entries, None if is_known else uploaded(bucket, facts, key))


def _learn_from_snapshots(world: World, path: str, keys: Keys, new: Metadata) -> None:
    """Newest first, until every number is known."""
    temporary = f"{path}/{METADATA}.snapshot"
    for candidate in sorted(restoring.snapshot_files(world, path), key=os.path.basename, reverse=True):
        numbers = index.unknown(new)
        if not numbers:
            return
        try:
            database.remove_files(temporary)
            snapshots.copy_out(world.files, candidate, temporary, keys)
            older = open_copy(world, temporary, keys)
            try:
                index.learn(new, older, numbers)
            finally:
                older.close()
        except (OpeningError, DamagedMetadata, OSError):
            continue
        finally:
            database.remove_files(temporary)


def _entries(store: PackStore, pack: PackNo) -> tuple[Sequence[DirectoryEntry], bool]:
    """(frames that lie in a pack whole, is its directory whole?)."""
    size_bytes = store.pack_size(pack)
    try:
        entries, closed = store.read_directory(pack), True
    except (DamagedData, StoreError):
        entries, closed = store.scan_frames(pack), False
    return [entry for entry in entries if entry.offset + entry.stored_bytes <= size_bytes], closed
