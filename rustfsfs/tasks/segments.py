"""The task that keeps the next two journal segments ready, so that an fsync is one fdatasync."""

from typing import NoReturn

import trio

from rustfsfs.errors import JournalFailed, NoSpace
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import ballast
from rustfsfs.volume.volume import Volume, log

RETRY_S = 1.0
IDLE_S = 60.0


async def run_segments(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Prepare segments whenever one was begun. Errors: on a full disk the ballast goes, then it tries again."""
    task_status.started()
    pause_s = 0.0
    while True:
        await wait_for_wish(volume.wishes, "segments", pause_s)
        pause_s = IDLE_S
        try:
            await trio.to_thread.run_sync(volume.journal.prepare)
        except (NoSpace, JournalFailed) as exc:
            if isinstance(exc, JournalFailed) or not ballast.give_up(volume):
                log.warning("no journal segment could be prepared: %s", exc)
            pause_s = RETRY_S
