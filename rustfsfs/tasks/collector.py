"""The task that gives space back: buries dead chunks, rewrites packs that are mostly dead."""

from typing import NoReturn

import trio

from rustfsfs.errors import NoSpace, StoreError
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import collecting
from rustfsfs.volume.volume import Volume, log

ROUND_S = 30.0
SETTLE_S = 2.0  # after a deletion, more usually follow


async def run_collector(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Every half minute, or soon after something was deleted. Errors: a full disk ends the round."""
    task_status.started()
    while True:
        if await wait_for_wish(volume.wishes, "collect", ROUND_S):
            await trio.sleep(SETTLE_S)
        if volume.health.read_only_reason is not None:
            continue
        try:
            await collecting.collect(volume, live_share=volume.config.collect.live_share)
        except (NoSpace, StoreError) as exc:
            log.warning("collecting waits: %s", exc)
