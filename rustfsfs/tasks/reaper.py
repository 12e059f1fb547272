"""The task that frees what deletion and truncation left behind, and takes the ballast again when there is room."""

from typing import NoReturn

import trio

from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import ballast, reaping
from rustfsfs.volume.volume import Volume

IDLE_S = 30.0


async def run_reaper(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Reap whenever something was deleted. Errors are the caller's to retry."""
    task_status.started()
    while True:
        if volume.health.read_only_reason is None:
            await reaping.reap(volume)
        if not volume.room.ballast_bytes:
            await trio.to_thread.run_sync(ballast.take, volume)
        await wait_for_wish(volume.wishes, "reap", IDLE_S)
