"""Under a supervisor: it hears that the daemon lives while it does, and asks for time while it needs some."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from subprocess import DEVNULL

import trio

from rustfsfs.service.notify import Notifier, Phase
from rustfsfs.volume.volume import log

STATUS_EVERY_S = 30.0  # if no watchdog wants to hear more often
BONES = 3  # in the watchdog's time: two may be late
EXTEND_EVERY_S, EXTEND_BY_S = 10.0, 60.0
DOING = {Phase.STARTING: "opening the volume", Phase.STOPPING: "committing and closing the volume"}
EXTENDED_S_MAX = 15 * 60.0  # then the supervisor's own limits hold: whatever it kills is recovered


async def answered(mount_point: str) -> None:
    """Return when the mount has answered a request. Another process asks: this one must not ask itself.

    Cancelled, it does not wait for that process: a request that was read while the session ended is answered by nobody
    (libfuse drops it), and who made it cannot even be killed before the mount is gone.
    """
    asking = ["stat", "-f", mount_point]
    try:
        process = await trio.lowlevel.open_process(asking, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    except OSError:
        return  # no such program: then unasked
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


async def run_alive(notifier: Notifier, ask: Callable[[], Awaitable[None]], status: Callable[[], str]) -> None:
    """Tell again and again that the mount serves, each time after it has answered.

    ask   returns when the mount has answered a request; while it does not, the watchdog hears nothing
    """
    every_s = STATUS_EVERY_S if notifier.watchdog_s is None else min(notifier.watchdog_s / BONES, STATUS_EVERY_S)
    while notifier.is_heard:
        asked_s = trio.current_time()
        await ask()
        took_s = trio.current_time() - asked_s
        if took_s > every_s:
            log.warning("a request was answered after %.0f s only", took_s)
        notifier.alive(status())
        await trio.sleep(every_s)


@asynccontextmanager
async def told_reloading(notifier: Notifier, status: Callable[[], str]) -> AsyncIterator[None]:
    """The supervisor hears that settings are read anew, and when that is over, whether it went well or not.

    Not before it has heard that the mount serves: this must not be taken for it.
    """
    if not notifier.is_heard or notifier.phase is not Phase.SERVING:
        yield
        return
    notifier.reloading()
    try:
        yield
    finally:  # not if the mount ends meanwhile: it hears of that
        await trio.to_thread.run_sync(notifier.ready, status())


async def run_extending(notifier: Notifier) -> None:
    """Ask for time while the volume is opened and closed: a long journal is replayed, much is committed.

    For EXTENDED_S_MAX of each at the most, and only while the loop turns.
    """
    phase, extended_s = notifier.phase, 0.0
    while notifier.is_heard:
        if notifier.phase is not phase:
            phase, extended_s = notifier.phase, 0.0
        if phase is not Phase.SERVING and extended_s < EXTENDED_S_MAX:
            notifier.more_time(EXTEND_BY_S, DOING[phase])
            extended_s += EXTEND_EVERY_S
        await trio.sleep(EXTEND_EVERY_S)
