"""Who may grow the volume now: slows writers while the journal fills, and says ENOSPC in time (I4)."""

import trio

from rustfsfs.errors import NoSpace, StoreUnavailable
from rustfsfs.tiers import backpressure
from rustfsfs.tiers.place import usable_bytes
from rustfsfs.units import MIB, WRITE_SIZE_MAX
from rustfsfs.volume import watermarks
from rustfsfs.volume.diskspace import lost, takers
from rustfsfs.volume.volume import Volume

UNSYNCED_MAX = 64 * MIB  # DESIGN.md §2, Barriers
LOOK_EVERY_S = 0.25  # how old a look at the disks' free space may be
NO_PROGRESS_S_MAX = 30.0
CONTENTS_MIN = 4096  # bytes; what is smaller is metadata, which never waits for a bucket (promise 4)
WAITING_MAX = 250  # of the session's tasks: the rest must stay able to read and free
FREEING_BYTES_EXTRA = 64 * MIB  # freeing ops go on this far past the limit; DESIGN.md §2, Backpressure
UNCOMMITTED_ROWS_MAX = 50_000  # while COMMITs fail, the open transaction stays in RAM: 200 MiB of pages at the most
COMMIT_S_MAX = 10.0  # how long a COMMIT is waited for then
RESERVE_SHARE = 0.01  # of the disks' space, kept for metadata
RESERVE_MAX = 256 * MIB


def must_wait(volume: Volume, size_bytes: int) -> bool:
    """Cheap: does `admit` have anything to do? False on nearly every call."""
    return (
        volume.journal.unsynced_bytes > UNSYNCED_MAX
        or volume.journal.used_bytes > backpressure.SLOW_FROM * volume.journal_limit_bytes
        or volume.activity.uncommitted_rows > UNCOMMITTED_ROWS_MAX
        or trio.current_time() - volume.room.looked_s > LOOK_EVERY_S
        or (volume.room.is_above_high and size_bytes >= CONTENTS_MIN)
        or not fits(volume, size_bytes)
    )


def fits(volume: Volume, size_bytes: int) -> bool:
    """Hot bytes count uncompressed against what the disks can still take; metadata goes on into its reserve."""
    room = volume.room
    limit_bytes = room.free_bytes + (room.reserve_bytes if size_bytes < CONTENTS_MIN else 0)
    return volume.metadata.running.hot_bytes + size_bytes <= limit_bytes


def look(volume: Volume) -> None:
    """Free space as the disks say now, each less a reserve for metadata; how much of it all copies together can use.

    With fewer disks there than copies (`--degraded`), as many copies are made as there are disks. Raises
    StoreUnavailable: there is none.
    """
    found = takers(volume, copies=volume.header.copies)
    if not found:
        why = [*volume.health.missing_disks.values(), *lost(volume).values()]
        raise StoreUnavailable(f"no disk is there that takes data: {'; '.join(why)}")
    free: list[int] = []  # for contents
    whole: list[int] = []  # for metadata: half of the reserve; the rest is what COMMITs need
    for space in found.values():
        reserve_bytes = min(RESERVE_MAX, int(space.total_bytes * RESERVE_SHARE))
        free.append(max(0, space.free_bytes - reserve_bytes))
        whole.append(max(0, space.free_bytes - reserve_bytes // 2))
    copies = min(volume.header.copies, len(free))
    volume.room.free_bytes = usable_bytes(free, copies=copies)
    volume.room.reserve_bytes = usable_bytes(whole, copies=copies) - volume.room.free_bytes
    volume.room.is_above_high = volume.tier.door is not None and watermarks.is_above(volume, 0, with_margin=True)
    volume.room.looked_s = trio.current_time()
    if fits(volume, WRITE_SIZE_MAX):
        volume.room.refused_s = -1e9


async def admit(volume: Volume, size_bytes: int) -> None:
    """Wait until an op that grows the volume by `size_bytes` may go on.

    Raises NoSpace, JournalFailed, StoreUnavailable.
    """
    if volume.journal.unsynced_bytes > UNSYNCED_MAX:
        await volume.barriers.admit()
    await _slow_down(volume, size_bytes)
    await _wait_for_commit(volume)
    await volume.gate.opened()
    if trio.current_time() - volume.room.looked_s > LOOK_EVERY_S:
        look(volume)
    if volume.room.is_above_high and size_bytes >= CONTENTS_MIN and volume.room.waiting < WAITING_MAX:
        await _wait_for_mover(volume)
    if not fits(volume, size_bytes) and size_bytes >= CONTENTS_MIN and volume.room.waiting < WAITING_MAX:
        await _wait_until_it_fits(volume, size_bytes)
    if not fits(volume, size_bytes):
        await _make_room(volume, size_bytes)


async def _slow_down(volume: Volume, size_bytes: int) -> None:
    journal, limit = volume.journal, volume.journal_limit_bytes
    if journal.used_bytes <= backpressure.SLOW_FROM * limit:
        return
    volume.wishes.seal.set()
    if volume.room.waiting >= WAITING_MAX and journal.used_bytes < limit + FREEING_BYTES_EXTRA:
        return  # so many wait already that nobody would be left to read and to free
    volume.room.waiting += 1
    try:
        await trio.sleep(
            backpressure.write_delay_s(journal_bytes=journal.used_bytes, limit_bytes=limit, size_bytes=size_bytes)
        )
        await _wait_for_journal(volume)
    finally:
        volume.room.waiting -= 1


async def _wait_for_mover(volume: Volume) -> None:
    volume.room.waiting += 1
    try:
        await watermarks.wait_below(volume, 0, with_margin=True)
    finally:
        volume.room.waiting -= 1
    look(volume)


async def _wait_until_it_fits(volume: Volume, size_bytes: int) -> None:
    """What is hot counts as if it were in packs already, and may be more than a disk at its watermark has left."""

    def is_full() -> bool:
        if trio.current_time() - volume.room.looked_s > LOOK_EVERY_S:
            look(volume)
        return not fits(volume, size_bytes)

    volume.wishes.seal.set()
    volume.room.waiting += 1
    try:
        await watermarks.wait_while(volume, is_full)
    finally:
        volume.room.waiting -= 1


async def _wait_for_commit(volume: Volume) -> None:
    """Raises NoSpace: COMMITs fail, and much waits for one."""
    since_s = trio.current_time()
    while volume.activity.uncommitted_rows > UNCOMMITTED_ROWS_MAX:
        if trio.current_time() - since_s > COMMIT_S_MAX or volume.room.waiting >= WAITING_MAX:
            raise NoSpace("the metadata cannot be committed; free space on its disk")
        volume.room.waiting += 1
        try:
            volume.wishes.epoch.set()
            await trio.sleep(0.05)
        finally:
            volume.room.waiting -= 1


def freeing_must_wait(volume: Volume) -> bool:
    """Cheap. An op that frees goes on for 64 MiB past the journal's limit."""
    return volume.journal.used_bytes >= volume.journal_limit_bytes + FREEING_BYTES_EXTRA


async def admit_freeing(volume: Volume) -> None:
    """As `admit`, for an op that frees. Raises NoSpace."""
    await _wait_for_journal(volume, extra_bytes=FREEING_BYTES_EXTRA)


async def _wait_for_journal(volume: Volume, *, extra_bytes: int = 0) -> None:
    """At the limit: wait as long as sealing goes on; NoSpace when it stood still for 30 s."""
    seen, since_s = volume.activity.sealed_bytes, trio.current_time()
    while volume.journal.used_bytes >= volume.journal_limit_bytes + extra_bytes:
        if volume.activity.sealed_bytes != seen:
            seen, since_s = volume.activity.sealed_bytes, trio.current_time()
        if trio.current_time() - since_s > NO_PROGRESS_S_MAX:
            raise NoSpace("the journal is full and nothing could be sealed; free space on the disks")
        volume.wishes.seal.set()
        if not volume.metadata.running.hot_bytes:
            volume.wishes.epoch.set()  # the sealed segments go with the next COMMIT,
            volume.wishes.snapshot.set()  # or with the snapshot that alone names them
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
    await volume.gate.opened()
    look(volume)
    if not fits(volume, size_bytes):
        volume.room.refused_s = trio.current_time()
        raise NoSpace("the disks are full")
