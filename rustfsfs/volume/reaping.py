"""Reaping: what truncation and the last unlink left behind is freed in small steps (DESIGN.md §2, apply)."""

from itertools import islice

from rustfsfs import ops
from rustfsfs.volume.recording import record
from rustfsfs.volume.turns import turn, wait_for_turn
from rustfsfs.volume.volume import Volume

EXTENTS_PER_STEP = 100  # about 1 ms: a request waits for two or three of them at the most
INODES_PER_STEP = 50  # about 1 ms


async def reap(volume: Volume) -> int:
    """Free every dead fork and stale tail, and inodes that nobody uses any more; returns the number of steps.

    Between two steps other requests run. Raises as `record`.
    """
    steps = 0
    while (op := await _next(volume)) is not None:
        async with turn(volume):
            record(volume, op)
            if isinstance(op, ops.Release):
                for _ in op.inodes:
                    volume.handles.free.popleft()
        steps += 1
    if steps:
        volume.wishes.collect.set()
        volume.room.made_s = -1e9  # whoever finds the disk full may look again at once
    return steps


async def _next(volume: Volume) -> ops.Release | ops.Reap | ops.Trim | None:
    await wait_for_turn(volume, "reap")
    metadata = volume.metadata
    row = metadata.row("SELECT fork FROM dead_forks ORDER BY fork LIMIT 1")
    if row is not None:
        return ops.Reap(fork=row[0], count=EXTENTS_PER_STEP)
    row = metadata.row("SELECT inode FROM inodes INDEXED BY inodes_stale WHERE stale_tail = 1 ORDER BY inode LIMIT 1")
    if row is not None:
        return ops.Trim(inode=row[0], count=EXTENTS_PER_STEP)
    if volume.handles.free:
        return ops.Release(inodes=list(islice(volume.handles.free, INODES_PER_STEP)))
    return None
