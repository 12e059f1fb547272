"""The task that logs which files a damaged chunk belongs to, once. Reads do not wait for it: they have their error."""

from typing import NoReturn

import trio

from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import paths
from rustfsfs.volume.volume import Volume, log

ROUND_S = 60.0


async def run_damage(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Whenever a reader met damage. Errors: none of its own."""
    task_status.started()
    logged: set[int] = set()
    while True:
        for chunk, why in list(volume.health.damaged_chunks.items()):
            if chunk not in logged:
                logged.add(chunk)
                named = await paths.of_chunk(volume, chunk)
                log.error("damaged data (%s): this part of %s cannot be read", why, ", ".join(named) or "no file")
        await wait_for_wish(volume.wishes, "damage", ROUND_S)
