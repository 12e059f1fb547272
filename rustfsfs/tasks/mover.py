"""The task that moves packs between disks and bucket, by policy."""

from typing import NoReturn

import trio

from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import rounds, tiering
from rustfsfs.volume.volume import Volume, log

ROUND_S = 10.0  # a look at 65 000 packs (a terabyte) takes 0.3 s, a millisecond at a time
AGAIN_S = 0.2  # after a round that did something
UNAVAILABLE_S = 5.0  # after one that the bucket did not answer; what is local goes on
REFUSED_S = 60.0  # a person has to do something
RECORD_READS_S = 600.0


async def run_mover(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Errors: the bucket's are logged once each, shown in status, and tried again. Without a bucket it only waits."""
    task_status.started()
    pause_s, said, recorded_s = 0.0, "", trio.current_time()
    while True:
        await wait_for_wish(volume.wishes, "tier", pause_s)
        pause_s = ROUND_S
        if volume.tier.door is None or volume.health.read_only_reason is not None:
            continue
        try:
            if trio.current_time() - recorded_s > RECORD_READS_S:
                await tiering.record_reads(volume)
                recorded_s = trio.current_time()
            if await rounds.run_round(volume):
                pause_s = AGAIN_S
            if said:
                log.info("%s answers again", volume.tier.door.name)
            said = ""
        except (CloudUnavailable, CloudRefused) as exc:
            is_refused = isinstance(exc, CloudRefused)
            pause_s = REFUSED_S if is_refused else UNAVAILABLE_S
            if not said:
                log.log(40 if is_refused else 30, "the bucket is left alone for a while, local data is not: %s", exc)
            said = str(exc)
            volume.tier.traffic.last_error = said
