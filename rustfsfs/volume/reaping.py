"""Reaping: what truncation and the last unlink left behind is freed in small steps (DESIGN.md §2, apply)."""

import trio

from rustfsfs import ops
from rustfsfs.meta import inodes
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume

EXTENTS_PER_STEP = 250  # about 2 ms: no other request waits longer for it


async def reap(volume: Volume) -> int:
    """Free every dead fork and stale tail, and orphans nobody has open; returns the number of steps.

    Between two steps other requests run. Raises as `record`.
    """
    steps = 0
    while (op := await _next(volume)) is not None:
        record(volume, op)
        steps += 1
        await trio.lowlevel.checkpoint()
    if steps:
        volume.wishes.collect.set()
    return steps


async def _next(volume: Volume) -> ops.Release | ops.Reap | ops.Trim | None:
    await volume.gate.opened()
    metadata = volume.metadata
    row = metadata.row("SELECT fork FROM dead_forks ORDER BY fork LIMIT 1")
    if row is not None:
        return ops.Reap(fork=row[0], count=EXTENTS_PER_STEP)
    row = metadata.row("SELECT inode FROM inodes INDEXED BY inodes_stale WHERE stale_tail = 1 ORDER BY inode LIMIT 1")
    if row is not None:
        return ops.Trim(inode=row[0], count=EXTENTS_PER_STEP)
    for inode in inodes.orphans(metadata):
        if inode not in volume.handles.counts and inode not in volume.handles.nameless:
            return ops.Release(inode=inode)
    return None
