"""How the session waits for requests: pyfuse3's own wait costs more than the requests (DESIGN.md §14).

pyfuse3 3.5 parks a task in trio for every request, and passes its lock to another one. `Waiting` takes the place of the
module `trio` inside pyfuse3, the hook that its asyncio support uses: a task that has answered looks for the next
request at once, for a moment again and again, and parks only then. So a chain of requests is served by one task.
"""

import os
import select
from collections import deque
from collections.abc import Callable
from types import TracebackType

import pyfuse3
import trio

SPINS = 50  # looks for the next request: 96 % of a single program's come within about so many (DESIGN.md §14)
SPINS_ALONE = 1  # on the only processor: while we look, nobody can ask
TURNS_MAX = 64  # requests answered without a look at trio's other tasks,
TURN_S_MAX = 0.002  # or so long,
TURNS_BESIDE_THREADS = 8  # or so many while threads work for them


class _Lock:
    """As trio.Lock, but whoever lets go may take it again at once: no switch of tasks, so not fair."""

    def __init__(self) -> None:
        self._is_held = False
        self._woken: trio.lowlevel.Task | None = None  # it will run soon, and look again
        self._parked: deque[trio.lowlevel.Task] = deque()

    async def __aenter__(self) -> None:
        while self._is_held:
            task = trio.lowlevel.current_task()
            self._parked.append(task)

            def forget(_raise_cancel: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._parked.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(forget)
            self._woken = None
        self._is_held = True

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_held = False
        if self._woken is None and self._parked:
            self._woken = self._parked.popleft()
            trio.lowlevel.reschedule(self._woken)


class _LowLevel:
    """What pyfuse3 uses of `trio.lowlevel`."""

    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)
    notify_closing = staticmethod(trio.lowlevel.notify_closing)

    def __init__(self, others_work: Callable[[], bool]) -> None:
        self._others_work = others_work
        self._poller = select.poll()
        self._spins = SPINS if len(os.sched_getaffinity(0)) > 1 else SPINS_ALONE
        self._fd = -1
        self._turns = 0
        self._since_s = 0.0  # when trio's other tasks last had their turn

    async def wait_readable(self, fd: int) -> None:
        """Return when a request waits. Other tasks run meanwhile, and now and then although one waits already."""
        if fd != self._fd:
            self._fd = fd
            self._poller.register(fd, select.POLLIN)
        self._turns += 1
        if not self._others_are_due():
            poll = self._poller.poll
            for _ in range(self._spins):
                if poll(0):
                    return
        await trio.lowlevel.wait_readable(fd)
        self._turns, self._since_s = 0, trio.current_time()

    def _others_are_due(self) -> bool:
        if self._turns % TURNS_BESIDE_THREADS:
            return trio.current_time() - self._since_s > TURN_S_MAX
        return self._turns >= TURNS_MAX or self._others_work()


class Waiting:
    """What pyfuse3 uses of the module `trio`."""

    Lock = _Lock
    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)

    def __init__(self, others_work: Callable[[], bool]) -> None:
        """`others_work`: is a thread busy whose result a task waits for?"""
        self.lowlevel = _LowLevel(others_work)


def install(others_work: Callable[[], bool]) -> None:
    """Have pyfuse3 wait this way in this process. Before `pyfuse3.main`."""
    pyfuse3.trio = Waiting(others_work)  # type: ignore[attr-defined]
