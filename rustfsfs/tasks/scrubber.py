"""The task that scrubs: everything stored is read once in `scrub.interval`, at `scrub.rate` at the most."""

from typing import NoReturn

import trio

from rustfsfs.errors import NoSpace, StoreError
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import scrubbing
from rustfsfs.volume.recording import now
from rustfsfs.volume.volume import Volume, log

LOOK_EVERY_S = 60.0
TROUBLE_S = 3600.0  # pause after something could not be stored anew


async def run_scrubber(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Go on with the pass under way, or begin one when it is due. Errors: full or failing disks pause it."""
    task_status.started()
    while True:
        await trio.sleep(LOOK_EVERY_S)
        await volume.gate.opened()
        if volume.health.read_only_reason is not None or not is_due(volume):
            continue
        try:
            done = await scrubbing.scrub_on(volume)
        except (NoSpace, StoreError, OSError) as exc:
            log.warning("scrubbing waits: %s", exc)
            await trio.sleep(TROUBLE_S)
            continue
        for line in done.lines:
            log.error("scrubbing found damage: %s", line)
        log.info("scrubbed %d bytes of frames: %d found, %d repaired", done.verified_bytes, done.found, done.repaired)


def is_due(volume: Volume) -> bool:
    """The first pass of a volume is due an interval after it was made.

    Also when data has fewer copies than it should, and enough disks are there now; and when the last pass lies that far
    in the future: the clock was wrong then, and has been set back.
    """
    running, interval_s = volume.metadata.running, volume.config.scrub.interval_s
    if not interval_s:
        return False
    is_short = trio.current_time() >= volume.health.short_again_s and scrubbing.can_make_up(volume)
    if running.scrub_begun_ns or is_short:
        return True
    return abs(now(volume) - (running.scrub_ended_ns or volume.header.created_ns)) >= interval_s * SECOND_NS
