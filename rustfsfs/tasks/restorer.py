"""The task that asks for restores of frozen packs. No reader waits for it, and one given up takes none along."""

from typing import NoReturn

import trio

from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import coldreading
from rustfsfs.volume.volume import Volume

ROUND_S = 60.0


async def run_restorer(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Whenever a reader met a frozen pack. Errors: none of its own."""
    task_status.started()
    while True:
        await coldreading.ask_for_restores(volume)
        await wait_for_wish(volume.wishes, "restore", ROUND_S)
