"""record(op): apply, then journal, with no `await` between; and the way back when either fails."""

from collections.abc import Sequence

from rustfsfs import ops
from rustfsfs.errors import DamagedMetadata, JournalFailed, NoSpace, ReadOnlyVolume, StoreUnavailable
from rustfsfs.meta import database
from rustfsfs.meta.apply import apply
from rustfsfs.units import Nanoseconds
from rustfsfs.volume import ballast
from rustfsfs.volume.volume import Volume, log

RESTORES_IN_A_ROW_MAX = 1


def now(volume: Volume) -> Nanoseconds:
    """The time for an op: the wall clock. Where it went back, `apply` lets no ctime follow."""
    return volume.world.now_ns()


def record(volume: Volume, op: ops.AnyOp, data: Sequence[memoryview | bytes] = (), data_size: int = 0) -> ops.Address:
    """Make one change: reserve its address, apply it, journal it. On return the op may be acknowledged.

    Not yet durable: see `durability.barrier`. Raises ReadOnlyVolume, NoSpace (no room for a segment: nothing
    happened), StoreUnavailable (the metadata's disk), JournalFailed; then the op did not happen. Any other exception of
    `apply` is a bug of ours: the transaction is restored from the journal and the exception goes on, so that only this
    op fails.
    """
    assert not volume.gate.shut
    if volume.health.read_only_reason is not None:
        raise ReadOnlyVolume(volume.health.read_only_reason)
    encoded = ops.encode(op)
    try:
        address = volume.journal.next_address(len(encoded), data_size)
    except JournalFailed as exc:  # for another reason than room
        _note_failure(volume, exc)
        raise
    try:
        apply(volume.metadata, op, address)
        volume.journal.append(address, encoded, data)
    except BaseException as exc:
        restore(volume, exc)
        raise
    volume.health.restored_in_a_row = 0
    volume.activity.uncommitted_rows += op.rows
    if volume.activity.uncommitted_rows >= volume.activity.epoch_rows:
        volume.wishes.epoch.set()
    if address.segment != volume.activity.segment:
        volume.activity.segment = address.segment
        volume.wishes.segments.set()
    return address


def restore(volume: Volume, cause: BaseException) -> None:
    """Throw the poisoned transaction away and replay the journal from the last COMMIT, at once.

    Recovery's own code. A second failure in a row makes the volume read-only, unless a disk is just full. If the replay
    fails, the metadata is `lost`: not even what was acknowledged can be told from what was not.
    """
    health = volume.health
    if health.is_restoring or health.restored_for is cause:
        return  # SQLite had rolled back by itself
    health.is_restoring, health.restored_for = True, cause
    try:
        _note_failure(volume, cause)
        _replay(volume)
    finally:
        health.is_restoring = False


def _note_failure(volume: Volume, cause: BaseException) -> None:
    health = volume.health
    expected = isinstance(cause, JournalFailed | NoSpace | StoreUnavailable | DamagedMetadata)
    log.error("an operation failed and was undone: %s", cause, exc_info=None if expected else cause)
    if isinstance(cause, NoSpace):
        ballast.give_up(volume)
        return
    health.restored_in_a_row += 1
    if health.restored_in_a_row > RESTORES_IN_A_ROW_MAX:
        turn_read_only(volume, f"operations failed twice in a row ({cause}); unmount, look at the log, mount again")


def _replay(volume: Volume) -> None:
    metadata = volume.metadata
    try:
        database.rollback(metadata)
        database.begin(metadata)
        for found in volume.journal.records_since(metadata.running.last_seq):
            assert found.op is not None
            apply(metadata, ops.decode(found.op), found.address)
    except Exception as exc:
        log.exception("replaying the journal failed")
        reason = f"replaying the journal failed ({exc}); unmount, look at the log, mount again"
        turn_read_only(volume, reason)
        try:
            database.rollback(metadata)  # half of a replay must never be committed
        finally:
            metadata.lost = reason


def turn_read_only(volume: Volume, reason: str) -> None:
    """No change from now on in this life of the process; what was acknowledged stays in the journal."""
    if volume.health.read_only_reason is None:
        volume.health.read_only_reason = reason
        log.error("the volume is read-only from now on: %s", reason)


def ensure_writable(volume: Volume) -> None:
    if volume.health.read_only_reason is not None:
        raise ReadOnlyVolume(volume.health.read_only_reason)
