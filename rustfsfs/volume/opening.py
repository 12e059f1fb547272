"""Opening a volume: unlock, lock, recover, and the orderly way back (DESIGN.md §2, Recovery).

Order: lock → header, key → database at its last COMMIT, of today's format (`upgrading`) → disks → journal read up to
its cut → new segment durable, its header naming the cut → replay → COMMIT → checkpoint → only then old segments go. Cut
anywhere, the next open does the same again (I11).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import trio

from rustfsfs import ops
from rustfsfs.cache.flights import Flights
from rustfsfs.cache.twoqueue import TwoQueueCache
from rustfsfs.config import Config
from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.errors import (
    DamagedMetadata,
    DamagedVolume,
    MachineTrouble,
    NoSpace,
    RustfsfsError,
    StoreError,
)
from rustfsfs.journal import recovery
from rustfsfs.journal.barriers import Barriers
from rustfsfs.journal.journal import Journal
from rustfsfs.meta import database, disks, inodes
from rustfsfs.meta.apply import apply
from rustfsfs.meta.database import Metadata
from rustfsfs.units import MIB
from rustfsfs.volume import (
    ballast,
    connecting,
    drives,
    epochs,
    finishing,
    frozen,
    packing,
    publishing,
    snapshots,
    tiering,
    warming,
)
from rustfsfs.volume.counters import Counters
from rustfsfs.volume.formatting import JOURNAL, METADATA, Secret, journal_limit
from rustfsfs.volume.gate import Gate
from rustfsfs.volume.header import keep_alike, unlocked
from rustfsfs.volume.locking import DiskLocks, locked
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.volume.presence import find_disks
from rustfsfs.volume.recording import restore, turn_read_only
from rustfsfs.volume.tier import Tier
from rustfsfs.volume.upgrading import is_older, open_metadata, upgrade
from rustfsfs.volume.volume import (
    READ_ONLY_ASKED,
    Activity,
    Ahead,
    Handles,
    Health,
    Numbers,
    Pins,
    Room,
    Settings,
    Volume,
    Warmth,
    Wishes,
    log,
)
from rustfsfs.world import World

RESTORED_NOW, RESTORED_BEFORE = 1, 2  # Running.restored
SEGMENTS_MIN = 4  # of the journal's limit: one is always in use, and writers are slowed from 60 %
OPENING_BYTES = 32 * MIB  # a WAL, pack directories, headers
READERS = 4  # worker threads for reads; cores are few, disks may queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a volume is to be opened."""

    path: str
    secret: Secret
    config: Config
    mount_point: str | None = None
    read_only: bool = False  # replay into a transaction that is never committed
    degraded: bool = False  # a missing disk is borne
    skip_seq: int | None = None  # go on after a damaged record, on a person's word
    noatime: bool = False


@asynccontextmanager
async def opened_volume(world: World, how: Opening) -> AsyncIterator[Volume]:
    """A recovered volume, for as long as the block. Raises OpeningError and its kinds.

    On leaving: everything committed, packs closed, a metadata snapshot if anything changed; after an exception too.
    """
    header, keys = unlocked(world, how.path, how.secret)
    is_frozen = how.read_only and world.files.space(how.path).read_only
    with ExitStack() as held:
        lock = held.enter_context(locked(how.path, mount_point=how.mount_point, read_only=how.read_only))
        sums = PageSums(world.files, f"{how.path}/{METADATA}", keys.database)
        stale = await trio.to_thread.run_sync(partial(sums.stale, adopt=not how.read_only))
        reason = _why_stale(how.path, stale) if stale else None
        asked, how = how, replace(how, read_only=how.read_only or bool(stale))
        in_copy = is_frozen or bool(stale) or (how.read_only and is_older(world, sums.path, keys))
        copied = frozen.writable(sums.path, is_frozen=in_copy, without=stale)
        database_path = held.enter_context(copied)
        disk_locks = held.enter_context(DiskLocks())
        if not how.read_only:
            ballast.make_room_to_open(world.files, how.path, 2 * header.segment_bytes + OPENING_BYTES)
        try:
            volume = await _open(world, how, header, keys, database_path, disk_locks, sums)
        except DamagedVolume as exc:
            raise DamagedVolume(reason or str(exc)) from exc
        try:
            if reason is not None:
                volume.health.trouble = reason
            if not asked.read_only and reason is not None:
                volume.health.read_only_reason = reason
            yield volume
        finally:
            with trio.CancelScope(shield=True):
                lock.trouble = await _close(volume, read_only=how.read_only)


def _why_stale(path: str, stale: Sequence[int]) -> str:
    return (
        f"{len(stale)} pages of the metadata of {path} (the first is {stale[0]}) are not those that were written last:"
        " what is on them cannot be read, and nothing written; fsck --rebuild-index, or else --restore-metadata, helps"
    )


async def _open(
    world: World,
    how: Opening,
    header: VolumeHeader,
    keys: Keys,
    database_path: str,
    disk_locks: DiskLocks,
    sums: PageSums,
) -> Volume:
    with ExitStack() as undo:
        metadata = open_metadata(world, database_path, keys)
        undo.callback(metadata.close)
        try:
            with database.no_space_said():
                brought_up = partial(upgrade, world, how.path, metadata, keys, keeps_copy=not how.read_only)
                await trio.to_thread.run_sync(brought_up)
                volume = await _assemble(world, how, header, keys, metadata, undo, disk_locks, sums)
        except DamagedMetadata as exc:
            raise DamagedVolume(f"{how.path} cannot be opened: {exc}") from exc
        except NoSpace as exc:
            raise MachineTrouble(f"the disk of {how.path} is full ({exc}); free some space, then try again") from exc
        undo.pop_all()
        return volume


async def _assemble(
    world: World,
    how: Opening,
    header: VolumeHeader,
    keys: Keys,
    metadata: Metadata,
    undo: ExitStack,
    disk_locks: DiskLocks,
    sums: PageSums,
) -> Volume:
    stores, missing, newer = find_disks(world, how.path, header, keys, metadata)
    if missing and not (how.degraded or how.read_only):
        raise MachineTrouble(
            f"a disk is missing ({'; '.join(missing.values())}); bring it back, name its new place with disk add,"
            " or mount with --degraded"
        )
    if not how.read_only and world.files.space(how.path).read_only:
        raise MachineTrouble(f"{how.path} is on a read-only file system; mount with --read-only")
    unclean = not metadata.running.clean
    for store in stores.values():
        disk_locks.take(store.path, is_shared=how.read_only and store.space().read_only)
    journal, reason = await trio.to_thread.run_sync(_recover, world, how, header, keys, metadata)
    undo.callback(journal.close)
    running = metadata.running
    reader = Metadata(
        database.connect(metadata.path, keys.database, vfs=world.sqlite_vfs), metadata.path, keys.database
    )
    undo.callback(reader.close)
    volume = Volume(
        path=how.path,
        header=header,
        keys=keys,
        settings=Settings(how.config),
        world=world,
        metadata=metadata,
        reader=reader,
        reader_lock=trio.Lock(),
        journal=journal,
        barriers=Barriers(journal),
        gate=Gate(),
        disks=stores,
        disk_locks=disk_locks,
        writers={},
        page_sums=sums,
        pack_lock=trio.Lock(),
        seal_lock=trio.Lock(),
        commit_lock=trio.Lock(),
        collect_lock=trio.Lock(),
        scrub_lock=trio.Lock(),
        snapshot_lock=trio.Lock(),
        cache=TwoQueueCache(how.config.cache.ram_bytes),
        flights=Flights(),
        readers=trio.CapacityLimiter(READERS),
        sealers=trio.CapacityLimiter(2),
        journal_limit_bytes=max(
            how.config.journal.limit_bytes or journal_limit(world.files.space(how.path).total_bytes),
            SEGMENTS_MIN * header.segment_bytes,
        ),
        numbers=Numbers(
            inode=running.inode_limit if unclean else running.next_inode,
            chunk=max(running.next_chunk, _next(metadata, "SELECT max(chunk) FROM chunks")),
            pack=max(
                running.next_pack,
                _next(metadata, "SELECT max(pack) FROM packs"),
                _next(metadata, "SELECT max(pack) FROM doomed"),
                1 + max((pack for store in stores.values() for pack in store.packs()), default=0),
            ),
        ),
        health=Health(unclean_start=unclean, missing_disks=missing),
        activity=Activity(),
        counters=Counters(),
        room=Room(),
        handles=Handles(),
        ahead=Ahead(),
        warmth=Warmth(),
        pins=Pins(),
        wishes=Wishes(),
        tier=Tier(),
        noatime=how.noatime,
    )
    if newer:
        reason = (
            f"the metadata was rolled back: {'; '.join(newer)};"
            f" rustfsfs fsck {how.path} --restore-metadata brings back the newest snapshot"
            + (", --rebuild-from-bucket what the bucket has" if metadata.is_tiered else "")
        )
    volume.health.trouble = reason
    metadata.rolled_back = partial(restore, volume)
    if how.read_only:
        volume.health.read_only_reason = READ_ONLY_ASKED
    elif reason is not None:
        turn_read_only(volume, reason)
    await connecting.connect(volume)
    if volume.health.read_only_reason is None:
        await _make_ready(volume)
    return volume


def _next(metadata: Metadata, sql: str) -> int:
    return 1 + int(metadata.rows(sql)[0][0] or 0)


def _recover(
    world: World, how: Opening, header: VolumeHeader, keys: Keys, metadata: Metadata
) -> tuple[Journal, str | None]:
    """Replay the journal into an open transaction; returns it, and why the volume must be read-only, if it must.

    Blocking: 10 s per GiB of journal at the most.
    """
    folder = f"{how.path}/{JOURNAL}"
    running = metadata.running
    scan = recovery.scan(
        world.files,
        folder,
        key=keys.journal,
        uuid=header.uuid,
        last_seq=running.last_seq,
        watermark=running.watermark,
        skip_seq=how.skip_seq,
    )
    for line in scan.damage:
        log.warning("journal: %s", line)
    database.begin(metadata, spills=True)
    _replay(metadata, scan)
    reason = None
    if running.restored == RESTORED_NOW:
        log.warning("the metadata is a snapshot's; of the journal %d later records were replayed", len(scan.replay))
        running.restored = RESTORED_BEFORE  # a gap behind the snapshot is no damage: those segments were dropped
    elif scan.blocked_at is not None:
        reason = (
            f"journal record {scan.blocked_at} was durable and is damaged; this is the state before it."
            f" Mount with --skip {scan.blocked_at} to go on without it"
        )
    if how.read_only or reason is not None:
        return recovery.open_read_only(world.files, folder, scan, key=keys.journal, uuid=header.uuid), reason
    journal = recovery.start(
        world.files,
        folder,
        scan,
        key=keys.journal,
        uuid=header.uuid,
        segment_bytes=header.segment_bytes,
        random_bytes=world.random_bytes,
        epoch=running.epoch,
        named={*disks.hot_segments(metadata), *(n for one in disks.snapshots(metadata) for n in one.segments)},
    )
    return journal, None


def _replay(metadata: Metadata, scan: recovery.Scan) -> None:
    """Apply what the journal holds behind the last COMMIT.

    Where a person let a damaged record go, later ops may not fit any more: those are left out one by one, and logged.
    """
    skipped = False
    for found in scan.records():
        if found.op is None:
            metadata.running.last_seq, skipped = found.address.seq, True
        elif not skipped:
            apply(metadata, ops.decode(found.op), found.address)
        else:
            _try_apply(metadata, ops.decode(found.op), found.address)


def _try_apply(metadata: Metadata, op: ops.AnyOp, at: ops.Address) -> None:
    before = replace(metadata.running)
    metadata.run("SAVEPOINT op")
    try:
        apply(metadata, op, at)
    except Exception as exc:
        metadata.run("ROLLBACK TO op")
        metadata.running = replace(before, last_seq=at.seq)
        log.error("record %d (%s) does not fit without the one left out: %r", at.seq, type(op).__name__, exc)
    metadata.run("RELEASE op")


async def _make_ready(volume: Volume) -> None:
    """The first COMMIT of this life: what was replayed, a reservation of inode numbers, packs cut and closed."""
    volume.activity.committed_seq = -1
    running = volume.metadata.running
    running.inode_limit = max(running.inode_limit, volume.numbers.inode)
    if running.restored and not running.restored_packs:  # by 0.1.0, or its index was rebuilt
        running.restored_packs = volume.numbers.pack
    await trio.to_thread.run_sync(ballast.take, volume)
    if not running.restored:
        # one that was published but never recorded pins nothing, so nobody may restore it any more
        kept = {snapshot.epoch for snapshot in disks.snapshots(volume.metadata)}
        await trio.to_thread.run_sync(snapshots.delete_others, volume, kept, volume.disks)
    await epochs.commit(volume)
    if volume.health.read_only_reason is not None:
        raise MachineTrouble(f"the volume cannot be written: {volume.health.read_only_reason}")
    await finishing.finish_packs(volume)
    await drives.write_list(volume)
    folders = {volume.path, *(store.path for store in volume.disks.values())}
    await trio.to_thread.run_sync(keep_alike, volume.world, folders, volume.header, volume.keys)
    volume.handles.free.extend(inodes.orphans(volume.metadata))  # nobody has anything open yet


async def _last_snapshot(volume: Volume) -> None:
    try:
        if snapshots.is_due(volume):
            await snapshots.take(volume)
    except (NoSpace, StoreError, OSError) as exc:
        log.error("no metadata snapshot was taken at unmount: %s", exc)


async def _close(volume: Volume, *, read_only: bool) -> str | None:
    """Everything committed, packs closed. Returns why not, if not: then the next opening recovers the volume."""
    trouble = None
    try:
        if not read_only and volume.health.read_only_reason is None:
            with database.no_space_said():
                await packing.close_full(volume, everything=True)
                if volume.metadata.is_tiered:
                    await tiering.record_reads(volume)
                await _last_snapshot(volume)
                await publishing.publish_last(volume)
                await epochs.commit(volume, clean=True)
            if not volume.metadata.running.clean:
                trouble = "its last COMMIT failed; the log says why"
            else:
                await trio.to_thread.run_sync(epochs.settle, volume)
    except (RustfsfsError, OSError) as exc:
        trouble = str(exc)
    finally:
        with ExitStack() as closing:  # all of it, whatever fails
            closing.callback(volume.metadata.close)
            closing.callback(warming.close, volume)
            closing.callback(volume.reader.close)
            closing.callback(volume.journal.close)
            await volume.barriers.aclose()
    if trouble is not None:
        log.error("the volume was not closed in good order, the next mount recovers it: %s", trouble)
    return trouble
