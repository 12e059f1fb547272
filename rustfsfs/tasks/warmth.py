"""The task that looks whether the kernel holds the metadata in memory."""

from typing import NoReturn

import trio

from rustfsfs.volume import warming
from rustfsfs.volume.volume import Volume

LOOK_EVERY_S = 5.0  # a look at 1 GiB of database takes a worker 10 to 15 ms
LOOK_AGAIN_S = 0.05  # while pages are on their way, for each of whose requests a worker has to be asked; then doubled


async def run_warmth(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Errors are the caller's to retry."""
    task_status.started()
    pause_s = LOOK_AGAIN_S
    while True:
        if await warming.look(volume):
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, LOOK_EVERY_S)
        else:
            pause_s = LOOK_AGAIN_S
            await trio.sleep(LOOK_EVERY_S)
