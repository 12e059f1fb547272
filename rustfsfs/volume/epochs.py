"""The end of an epoch: COMMIT, so that the journal before it need not be replayed again (DESIGN.md §2).

Order: journal durable while ops go on → gate shut → the rest durable → COMMIT, BEGIN → gate open → checkpoint → drop
dead segments. A crash anywhere replays from the last COMMIT that was.
"""

import apsw
import trio

from rustfsfs import ops
from rustfsfs.errors import DamagedMetadata, NoSpace, StoreUnavailable
from rustfsfs.meta import database, disks
from rustfsfs.tiers.pace import epoch_rows
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.recording import record, restore, turn_read_only
from rustfsfs.volume.volume import WAL_SIZE_MAX, Volume, log

INODES_AHEAD = 1 << 20  # numbers reserved with an epoch; DESIGN.md §2, Recovery
PAUSES_KEPT = 1000
TOUCHED_PER_OP_MAX = 5000
RESTART_ROWS_MAX = 100  # changed rows, whose pages are copied with the gate shut when the WAL begins anew: 5 ms at most
RESTART_TRIES = 3  # COMMITs that may find fewer than that; 455 rows took 26 ms (measured)
COMMIT, CHECKPOINT = "commit", "checkpoint"  # in `Health.tasks`, while they fail


async def commit(volume: Volume, *, clean: bool = False) -> None:
    """End the epoch. Nothing to commit is fine. Raises JournalFailed; a failed COMMIT is restored and logged.

    Keeps: I1, I10 (no segment is dropped unless this COMMIT succeeded).
    """
    async with volume.commit_lock:
        done = await _commit(volume, clean=clean)
        activity = volume.activity
        for tries_left in reversed(range(RESTART_TRIES)):
            if not done or activity.wal_bytes <= activity.wal_bytes_max or volume.reader_lock.locked():
                return
            # Each has only to write what came while the one before was copied, so the gate is not shut for long.
            done = await _commit(volume, clean=clean, must_restart=not tries_left)


async def _commit(volume: Volume, *, clean: bool, must_restart: bool = False) -> bool:
    """Did it succeed? `must_restart`: if the WAL is to begin anew, it does behind this COMMIT, whatever that holds."""
    await volume.gate.opened()
    if volume.health.read_only_reason is not None:
        return False
    _record_gathered(volume)
    await barrier(volume)
    committed = None
    with trio.CancelScope(shield=True):
        async with volume.gate.closed():
            started_s = trio.current_time()
            await barrier(volume)
            if volume.health.read_only_reason is None:  # a failed replay leaves nothing that may be committed
                committed = await _commit_shut(volume, clean=clean, must_restart=must_restart)
            _remember_pause(volume, trio.current_time() - started_s)
        if committed is not None:
            await checkpoint(volume)
            await drop_segments(volume, *committed)
    return committed is not None


def _record_gathered(volume: Volume) -> None:
    """atimes, and the reservation of inode numbers, as ops of the epoch that ends."""
    running, touched = volume.metadata.running, volume.handles.touched
    while touched:
        batch = [touched.popitem() for _ in range(min(len(touched), TOUCHED_PER_OP_MAX))]
        record(volume, ops.Touched(inodes=sorted(batch)))
    if volume.numbers.inode + INODES_AHEAD // 2 > running.inode_limit:
        record(volume, ops.Reserve(inode_limit=volume.numbers.inode + INODES_AHEAD))


async def _commit_shut(volume: Volume, *, clean: bool, must_restart: bool) -> tuple[int, set[int]] | None:
    """COMMIT with the gate shut; returns (committed seq, segments that committed extents name), None if it failed."""
    metadata, running = volume.metadata, volume.metadata.running
    assert volume.journal.durable_seq >= running.last_seq, (volume.journal.durable_seq, running.last_seq)
    assert metadata.db.in_transaction
    try:
        running.epoch += 1
        running.committed_ns = volume.world.now_ns()
        running.watermark = volume.journal.durable_seq
        running.clean = int(clean)
        database.write_running(metadata)
        named = set(disks.hot_segments(metadata))
        await trio.to_thread.run_sync(database.commit, metadata)
        volume.activity.wal_begins_anew = False
    except (NoSpace, StoreUnavailable, DamagedMetadata, apsw.Error) as exc:
        restore(volume, exc)
        _note_failed_commit(volume, exc)
        return None
    volume.health.tasks.pop(COMMIT, None)
    activity = volume.activity
    if activity.wal_bytes > activity.wal_bytes_max and (must_restart or activity.uncommitted_rows <= RESTART_ROWS_MAX):
        await _restart_wal(volume)
    database.begin(metadata)
    activity.epoch_rows = epoch_rows(
        activity.epoch_rows, rows=activity.uncommitted_rows, pages=metadata.pages_written()
    )
    activity.committed_seq = running.last_seq
    activity.uncommitted_rows = 0
    return running.last_seq, named


def _note_failed_commit(volume: Volume, exc: Exception) -> None:
    """All of it is in the journal and waits for the next COMMIT: as long as a disk is just full, but no longer."""
    if COMMIT in volume.health.tasks and not isinstance(exc, NoSpace):
        turn_read_only(volume, f"COMMIT failed twice in a row ({exc}); check the disk, then mount again")
    volume.health.tasks[COMMIT] = str(exc)


async def _restart_wal(volume: Volume) -> None:
    """With the gate shut, so nobody is waited for. While somebody reads, as fsck and scrub may for minutes, the WAL may
    grow by as much again before it is tried again."""
    activity = volume.activity
    try:
        volume.reader_lock.acquire_nowait()
    except trio.WouldBlock:
        return
    try:
        await trio.to_thread.run_sync(_restart, volume)
        activity.wal_begins_anew, activity.wal_bytes, activity.wal_bytes_max = True, 0, WAL_SIZE_MAX
    except apsw.BusyError:
        activity.wal_bytes_max = activity.wal_bytes + WAL_SIZE_MAX
    except (apsw.Error, OSError) as exc:  # the COMMIT stands, and the WAL only grows on
        log.warning("the metadata's WAL could not begin anew, the next epoch tries again: %s", exc)
    finally:
        volume.reader_lock.release()


def _remember_pause(volume: Volume, seconds: float) -> None:
    volume.counters.pauses.note(seconds)
    pauses = volume.health.pauses_ms
    pauses.append(seconds * 1000)
    if len(pauses) > PAUSES_KEPT:
        del pauses[0]


async def checkpoint(volume: Volume) -> None:
    """Copy committed pages into the database file, without waiting for anyone; skipped while a snapshot is made."""
    if volume.reader_lock.locked():
        return
    async with volume.reader_lock:
        try:
            wal_bytes = await trio.to_thread.run_sync(_checkpoint, volume)
            volume.activity.wal_bytes = 0 if volume.activity.wal_begins_anew else wal_bytes
            volume.health.tasks.pop(CHECKPOINT, None)
        except (apsw.Error, OSError) as exc:
            log.warning("checkpoint failed, the next epoch tries again: %s", exc)
            volume.health.tasks[CHECKPOINT] = str(exc)


def settle(volume: Volume) -> None:
    """After the last COMMIT: the database at rest is one file. Rot in a WAL would bring older pages back. Blocking."""
    try:
        if volume.metadata.db.in_transaction:
            volume.metadata.run("ROLLBACK")
        with volume.page_sums.kept(*database.wal_state(volume.metadata.db)):
            database.settle(volume.metadata)
    except (apsw.Error, OSError) as exc:
        log.warning("the metadata's WAL could not be emptied, the next mount reads it: %s", exc)


def _checkpoint(volume: Volume) -> int:
    with volume.page_sums.kept(*database.wal_state(volume.reader.db)):
        return database.wal_size(volume.reader.db)


def _restart(volume: Volume) -> None:
    with volume.page_sums.kept(*database.wal_state(volume.reader.db)):
        database.restart_wal(volume.reader.db)


async def drop_segments(volume: Volume, committed_seq: int, named: set[int]) -> None:
    """Delete the journal segments that nothing needs: no committed extent, no snapshot, nor one in the making (I5).

    The files go in a worker: ext4 takes 10 ms to free 64 MiB (measured).
    """
    await volume.gate.opened()
    if volume.pins.snapshot_begins:
        return
    for snapshot in disks.snapshots(volume.metadata):
        named.update(snapshot.segments)
    files = [
        file for segment in volume.journal.droppable(committed_seq, named) for file in volume.journal.drop(segment)
    ]
    if files:
        await trio.to_thread.run_sync(volume.journal.delete, files)
