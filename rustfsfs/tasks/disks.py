"""The task that notices when a disk goes, or comes back."""

from typing import NoReturn

import trio

from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume.presence import Watch
from rustfsfs.volume.volume import Volume

ROUND_S = 5.0


async def run_disks(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Every few seconds, and when something failed on one. Errors: none of its own; a missing disk is for `status`."""
    task_status.started()
    watch = Watch(volume)
    while True:
        await wait_for_wish(volume.wishes, "disks", ROUND_S)
        await watch.look()
