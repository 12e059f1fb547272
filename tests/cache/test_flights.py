"""One fetch for all who ask at once."""

import contextlib

import pytest
import trio
import trio.testing

from rustfsfs.cache.flights import Flights


async def test_all_who_ask_at_once_share_one_fetch() -> None:
    flights: Flights[str, int] = Flights()
    fetched, results, go = [], [], trio.Event()

    async def fetch() -> int:
        fetched.append(1)
        await go.wait()
        return 7

    async def ask() -> None:
        results.append(await flights.join("key", fetch))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert (fetched, results) == ([1], [7] * 5)


async def test_an_error_reaches_all_and_is_not_kept() -> None:
    flights: Flights[str, int] = Flights()
    caught, go = [], trio.Event()

    async def fail() -> int:
        await go.wait()
        raise ValueError("no")

    async def ask() -> None:
        with pytest.raises(ValueError, match="no"):
            await flights.join("key", fail)
        caught.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        go.set()

    async def succeed() -> int:
        return 8

    assert caught == [1, 1, 1]
    assert await flights.join("key", succeed) == 8


async def test_a_cancelled_leader_leaves_the_work_to_a_follower() -> None:
    flights: Flights[str, int] = Flights()
    results, started = [], trio.Event()

    async def never() -> int:
        started.set()
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def succeed() -> int:
        return 9

    async def lead(scope: trio.CancelScope) -> None:
        with scope:
            await flights.join("key", never)

    async def follow() -> None:
        results.append(await flights.join("key", succeed))

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lead, scope)
        await started.wait()
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
    assert results == [9]


async def test_one_leads_several_and_what_it_has_not_is_left_to_who_asks() -> None:
    flights: Flights[str, int] = Flights()
    results: dict[str, int] = {}
    go = trio.Event()

    async def fetch() -> list[int | None]:
        await go.wait()
        return [1, None]

    async def fetch_alone() -> int:
        return 5

    async def ask(key: str) -> None:
        results[key] = await flights.join(key, fetch_alone)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flights.lead, ["a", "b"], fetch)
        await trio.testing.wait_all_tasks_blocked()
        assert flights.is_under_way("a") and flights.is_under_way("b") and not flights.is_under_way("c")
        nursery.start_soon(ask, "a")
        nursery.start_soon(ask, "b")
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert results == {"a": 1, "b": 5}
    assert not flights.is_under_way("a")


async def test_who_asked_goes_on_alone_when_the_leader_of_several_is_cancelled_or_fails() -> None:
    flights: Flights[str, int] = Flights()
    results = []

    async def fail() -> list[int | None]:
        await go.wait()
        raise ValueError("no")

    async def fetch_alone() -> int:
        return 5

    async def lead(scope: trio.CancelScope) -> None:
        with scope, contextlib.suppress(ValueError):
            await flights.lead(["a"], fail)

    async def ask() -> None:
        results.append(await flights.join("a", fetch_alone))

    for is_cancelled in (False, True):
        scope, go = trio.CancelScope(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead, scope)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel() if is_cancelled else go.set()
    assert results == [5, 5]
