"""The task that ends epochs (DESIGN.md §2): 5 s after the first op, or when enough of them have dirtied pages."""

from typing import NoReturn

import trio

from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import epochs
from rustfsfs.volume.volume import Volume

INTERVAL_S = 5.0
LOOK_EVERY_S = 0.1


async def run_epochs(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Commit whenever an epoch is due. Errors: a failed COMMIT is restored, and tried again with the next epoch."""
    task_status.started()
    since_s: float | None = None  # when the epoch got its first op
    while True:
        full = await wait_for_wish(volume.wishes, "epoch", LOOK_EVERY_S)
        pending = volume.metadata.running.last_seq - volume.activity.committed_seq
        if not pending and not volume.handles.touched:
            since_s = None
            continue
        since_s = trio.current_time() if since_s is None else since_s
        if full or trio.current_time() - since_s >= INTERVAL_S:
            due_seq = volume.metadata.running.last_seq
            await epochs.commit(volume)
            since_s = None
            if volume.activity.committed_seq < due_seq:
                await trio.sleep(INTERVAL_S)  # it failed, and to undo it took its time
