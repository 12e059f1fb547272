"""The chunk index built anew from the packs: for a database of which the rest is whole (DESIGN.md §9).

Names, attributes and extents stay as they are, to the last COMMIT and the journal behind it; which chunk is which
content comes from what opens of the old table, else from a snapshot; where it lies, from the packs themselves.
"""

import os
from collections.abc import Sequence

from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.errors import DamagedData, DamagedVolume, MachineTrouble, StoreError, UsageError
from rustfsfs.meta import checks, database, index
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.soundness import is_sound
from rustfsfs.store.base import PackStore
from rustfsfs.store.layout import DirectoryEntry
from rustfsfs.units import PackNo
from rustfsfs.volume import checking, frozen, paths, restoring, snapshots
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.formatting import METADATA, Secret
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.locking import locked
from rustfsfs.volume.opening import find_disks, open_metadata
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.world import World, real_world

PATHS_LOOKED_UP_MAX = 100


def rebuild_index(path: str, secret: Secret, *, progress: Progress = no_progress) -> list[str]:
    """Rebuild chunks, places and packs; returns what was done, and a line for each thing that is lost.

    The old database is kept beside the new one. Raises UsageError (nothing is wrong with the index), MachineTrouble (a
    disk is missing), DamagedVolume (more than the index is damaged).
    """
    path = os.path.abspath(path)
    world = real_world()
    header, keys = unlocked(world, path, secret)
    with locked(path, mount_point=None):
        stale = PageSums(world.files, f"{path}/{METADATA}", keys.database).stale(adopt=False)
        with frozen.writable(f"{path}/{METADATA}", is_frozen=bool(stale), without=stale) as opened:
            return _rebuild_from(world, path, header, keys, opened, progress, is_stale=bool(stale))


def _rebuild_from(
    world: World, path: str, header: VolumeHeader, keys: Keys, opened: str, progress: Progress, *, is_stale: bool
) -> list[str]:
    """`is_stale`: pages are not to be believed. They may be free ones, which nobody reads but mount's own look."""
    old = open_metadata(world, opened, keys)
    temporary = f"{path}/{METADATA}.new"
    try:
        stores = _all_disks(world, path, header, keys, old)
        if not is_stale:
            _refuse_sound(old, stores)
        database.remove_files(temporary)
        new = database.create(temporary, keys.database)
        try:
            lines = _rebuild(world, path, keys, old, new, stores, progress)
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


def _rebuild(
    world: World,
    path: str,
    keys: Keys,
    old: Metadata,
    new: Metadata,
    stores: dict[int, PackStore],
    progress: Progress,
) -> list[str]:
    new.run("BEGIN IMMEDIATE")
    index.begin(old, new)
    _learn_from_snapshots(world, path, keys, new)
    packs = [(disk, pack) for disk, store in stores.items() for pack in store.packs()]
    for done, (disk, pack) in enumerate(packs):
        progress(done, len(packs), "reading packs")
        entries, closed = _entries(stores[disk], pack)
        index.add_pack(new, pack, disk, entries, closed=closed)
    lost = index.finish(new)
    new.run("COMMIT")
    database.settle(new)
    count = new.rows("SELECT count(*) FROM chunks")[0][0]
    lines = [f"the index was rebuilt: {count - len(lost)} chunks in {len(packs)} packs; scrub verifies them"]
    for number in [*lost, *index.unknown(new)][:PATHS_LOOKED_UP_MAX]:
        named = paths.paths_of_chunk(new, number)
        lines += [f"chunk {number} is in no pack: {name}" for name in named]
    if len(lost) > PATHS_LOOKED_UP_MAX:
        lines.append(f"{len(lost) - PATHS_LOOKED_UP_MAX} more chunks are in no pack: fsck --data names their files")
    return lines


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
            older = database.open_(temporary, keys.database)
            try:
                index.learn(new, older, numbers)
            finally:
                older.close()
        except (DamagedVolume, OSError):
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
