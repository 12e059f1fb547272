"""The session's own wait: it stands in for trio inside pyfuse3, so it has to be as good as trio where it matters."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pyfuse3
import pytest
import trio

from rustfsfs.fuse import waiting


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def idle() -> bool:
    return False


def test_pyfuse3_uses_nothing_of_trio_that_is_not_offered() -> None:
    folder = Path(pyfuse3.__file__).parent
    source = "".join((folder / name).read_text() for name in ("__init__.pyx", "internal.pxi", "handlers.pxi"))
    code = re.sub(r"'''.*?'''|\"\"\".*?\"\"\"|#[^\n]*", "", source, flags=re.DOTALL)
    used = set(re.findall(r"\btrio\.([A-Za-z_.]+)", code))
    assert {"Lock", "lowlevel.wait_readable"} <= used
    offered = waiting.Waiting(idle)
    for path in used:
        found: object = offered
        for name in path.split("."):
            found = getattr(found, name)


async def test_the_lock_lets_one_in_at_a_time_and_wakes_the_next() -> None:
    lock, inside, order = waiting.Waiting.Lock(), 0, []

    async def enter(number: int) -> None:
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1
            await trio.lowlevel.checkpoint()
            inside -= 1
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(enter, number)
    assert sorted(order) == list(range(10))


async def test_one_who_is_cancelled_while_he_waits_leaves_the_lock_to_the_others() -> None:
    lock, entered = waiting.Waiting.Lock(), []

    async def enter(name: str, scope: trio.CancelScope) -> None:
        with scope:
            async with lock:
                entered.append(name)

    first, second = trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery, lock:
        nursery.start_soon(enter, "first", first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(enter, "second", second)
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
    assert entered == ["second"]


async def test_one_who_is_cancelled_once_woken_passes_the_lock_on() -> None:
    lock, entered = waiting.Waiting.Lock(), []
    scope = trio.CancelScope()

    async def enter(name: str) -> None:
        async with lock:
            entered.append(name)
            await trio.lowlevel.checkpoint()

    async def doomed() -> None:
        with scope:
            await enter("first")

    async with trio.open_nursery() as nursery:
        async with lock:
            nursery.start_soon(doomed)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(enter, "second")
            await trio.testing.wait_all_tasks_blocked()
        scope.cancel()  # it was woken, and has not run yet
    assert entered[-1] == "second"


async def test_what_waits_already_is_taken_without_a_switch_of_tasks(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x")
    lowlevel, others = waiting.Waiting(idle).lowlevel, 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await lowlevel.wait_readable(pipe[0])  # the first time it looks after the others
        seen = others
        await lowlevel.wait_readable(pipe[0])
        assert others == seen
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("threads_work", "turns"),
    [
        pytest.param(False, waiting.TURNS_MAX, id="nobody works for them"),
        pytest.param(True, waiting.TURNS_BESIDE_THREADS, id="threads work for them"),
    ],
)
async def test_others_have_their_turn_after_some_requests(
    pipe: tuple[int, int], threads_work: bool, turns: int
) -> None:
    os.write(pipe[1], b"x")
    lowlevel, others = waiting.Waiting(lambda: threads_work).lowlevel, 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(10 * turns):
            await lowlevel.wait_readable(pipe[0])
        assert others >= 9
        nursery.cancel_scope.cancel()


async def test_without_a_request_it_parks_until_one_comes(pipe: tuple[int, int]) -> None:
    lowlevel = waiting.Waiting(idle).lowlevel
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lowlevel.wait_readable, pipe[0])
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        os.write(pipe[1], b"x")
    assert not nursery.child_tasks


async def test_closing_the_session_wakes_whoever_waits(pipe: tuple[int, int]) -> None:
    offered = waiting.Waiting(idle)

    async def wait() -> None:
        with pytest.raises(offered.ClosedResourceError):
            await offered.lowlevel.wait_readable(pipe[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        offered.lowlevel.notify_closing(pipe[0])
