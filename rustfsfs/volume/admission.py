"""Who may grow the volume now: slows writers while the journal fills, and says ENOSPC in time (I4)."""

import trio

from rustfsfs.errors import NoSpace
from rustfsfs.tiers import backpressure
from rustfsfs.units import MIB
from rustfsfs.volume.volume import Volume

UNSYNCED_MAX = 64 * MIB  # DESIGN.md §2, Barriers
LOOK_EVERY_S = 0.25  # how old a look at the disks' free space may be
NO_PROGRESS_S_MAX = 30.0
WAITING_MAX = 100  # half of max_tasks: the rest must stay able to read and free
FREEING_SHARE_EXTRA = 64 * MIB  # freeing ops go on this far past the limit
RESERVE_SHARE = 0.01  # of the disks' space, kept for metadata
RESERVE_MAX = 256 * MIB


def must_wait(volume: Volume, size_bytes: int) -> bool:
    """Cheap: does `admit` have anything to do? False on nearly every call."""
    return (
        volume.journal.unsynced_bytes > UNSYNCED_MAX
        or volume.journal.used_bytes > backpressure.SLOW_FROM * volume.journal_limit_bytes
        or trio.current_time() - volume.room.looked_s > LOOK_EVERY_S
        or not fits(volume, size_bytes)
    )


def fits(volume: Volume, size_bytes: int) -> bool:
    """Hot bytes count uncompressed, once per copy, against the free space of the disks."""
    return hot_debt(volume) + size_bytes * volume.header.copies <= volume.room.free_bytes


def hot_debt(volume: Volume) -> int:
    return volume.metadata.running.hot_bytes * volume.header.copies


def look(volume: Volume) -> None:
    """Free space as the disks say now, less a reserve for metadata."""
    total = free = 0
    for disk in volume.disks.values():
        space = disk.space()
        total += space.total_bytes
        free += space.free_bytes
    reserve = min(RESERVE_MAX, int(total * RESERVE_SHARE))
    volume.room.free_bytes = max(0, free - reserve)
    volume.room.looked_s = trio.current_time()


async def admit(volume: Volume, size_bytes: int) -> None:
    """Wait until an op that grows the volume by `size_bytes` may go on. Raises NoSpace, JournalFailed."""
    if volume.journal.unsynced_bytes > UNSYNCED_MAX:
        await volume.barriers.admit()
    await _slow_down(volume, size_bytes)
    if trio.current_time() - volume.room.looked_s > LOOK_EVERY_S:
        look(volume)
    if not fits(volume, size_bytes):
        await _make_room(volume, size_bytes)


async def _slow_down(volume: Volume, size_bytes: int) -> None:
    journal, limit = volume.journal, volume.journal_limit_bytes
    if journal.used_bytes <= backpressure.SLOW_FROM * limit:
        return
    volume.wishes.seal.set()
    if volume.room.waiting >= WAITING_MAX and journal.used_bytes < limit:
        return
    volume.room.waiting += 1
    try:
        await trio.sleep(
            backpressure.write_delay_s(journal_bytes=journal.used_bytes, limit_bytes=limit, size_bytes=size_bytes)
        )
        await _wait_for_journal(volume)
    finally:
        volume.room.waiting -= 1


async def _wait_for_journal(volume: Volume) -> None:
    """At the limit: wait as long as sealing goes on; NoSpace when it stood still for 30 s."""
    seen, since_s = volume.activity.sealed_bytes, trio.current_time()
    while volume.journal.used_bytes >= volume.journal_limit_bytes:
        if volume.activity.sealed_bytes != seen:
            seen, since_s = volume.activity.sealed_bytes, trio.current_time()
        if trio.current_time() - since_s > NO_PROGRESS_S_MAX or volume.room.waiting > WAITING_MAX:
            raise NoSpace("the journal is full and nothing could be sealed; free space on the disks")
        volume.wishes.seal.set()
        await trio.sleep(0.05)


async def _make_room(volume: Volume, size_bytes: int) -> None:
    """Before ENOSPC is said, one sealing, epoch and collection are awaited if they can free anything (I4)."""
    from rustfsfs.volume import collecting  # it records ops, and so stands above

    if volume.room.waiting < WAITING_MAX and (volume.metadata.running.dead_bytes or volume.metadata.running.hot_bytes):
        volume.room.waiting += 1
        try:
            await collecting.make_room(volume)
        finally:
            volume.room.waiting -= 1
    look(volume)
    if not fits(volume, size_bytes):
        raise NoSpace("the disks are full")
