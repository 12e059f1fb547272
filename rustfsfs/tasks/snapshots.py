"""The task that takes metadata snapshots: hourly if anything changed; earlier when an old one pins the journal."""

from typing import NoReturn

import trio

from rustfsfs.errors import NoSpace, StoreError
from rustfsfs.meta import disks
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.tiers import backpressure
from rustfsfs.volume import snapshots
from rustfsfs.volume.volume import Volume, log

LOOK_EVERY_S = 10.0
PINNED_SHARE = 0.25  # of the journal's limit, held by retained snapshots only
EARLIEST_S = 60.0


async def run_snapshots(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Errors: a disk that cannot take one is logged, and tried again an hour later."""
    task_status.started()
    last_s = trio.current_time()
    while True:
        asked = await wait_for_wish(volume.wishes, "snapshot", LOOK_EVERY_S)
        since_s = trio.current_time() - last_s
        pinned = (asked or since_s >= EARLIEST_S) and pinned_share(volume) >= (0.01 if asked else PINNED_SHARE)
        if not pinned and since_s < volume.config.snapshots.interval_s:
            continue
        await volume.gate.opened()
        try:
            if snapshots.is_due(volume):
                await snapshots.take(volume, keep=1 if pinned else snapshots.KEPT)
        except (NoSpace, StoreError, OSError) as exc:
            log.error("no metadata snapshot could be taken: %s", exc)
        last_s = trio.current_time()


def pinned_share(volume: Volume) -> float:
    """How much of the journal's limit is kept only because a snapshot names it."""
    if volume.gate.shut:
        return 0.0
    hot = set(disks.hot_segments(volume.metadata))
    pinned = {s for snapshot in disks.snapshots(volume.metadata) for s in snapshot.segments} - hot
    return backpressure.share(len(pinned) * volume.header.segment_bytes, volume.journal_limit_bytes)
