"""The task that compares the bucket's list of packs with ours, and looks at its owner's rules: soon after a mount, then
once a day.

Apart from the mover, which would stand still for as long as the list takes, and may have something to do all day.
"""

from typing import NoReturn

import trio

from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.volume import ownerrules, sweeping
from rustfsfs.volume.volume import Volume, log

LOOK_EVERY_S = 10.0
AGAIN_S = 60.0  # after the bucket did not answer


async def run_sweeper(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Errors: the bucket's are logged, shown in status by whoever else meets them, and tried again."""
    task_status.started()
    is_doubtful = volume.health.unclean_start or bool(volume.metadata.running.restored)
    due_s = trio.current_time() + (sweeping.FIRST_UNCLEAN_S if is_doubtful else sweeping.FIRST_S)
    while True:
        await trio.sleep(LOOK_EVERY_S)
        if volume.tier.door is None or volume.health.read_only_reason is not None or trio.current_time() < due_s:
            continue
        if volume.tier.fenced is not None:
            continue
        try:
            await sweeping.sweep(volume)
            await ownerrules.look(volume)
            due_s = trio.current_time() + sweeping.SWEEP_EVERY_S
        except (CloudUnavailable, CloudRefused) as exc:
            log.info("the bucket's list of packs could not be compared, it is tried again: %s", exc)
            due_s = trio.current_time() + AGAIN_S
