"""One fetch for all who ask for the same thing at the same time."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import trio

K = TypeVar("K")
V = TypeVar("V")


class _Flight(Generic[V]):
    def __init__(self) -> None:
        self.landed = trio.Event()
        self.value: V | None = None
        self.error: Exception | None = None


class Flights(Generic[K, V]):
    """The first to ask fetches, the others wait for it. Nothing is kept afterwards: that is a cache's work."""

    def __init__(self) -> None:
        self._under_way: dict[K, _Flight[V]] = {}

    def is_under_way(self, key: K) -> bool:
        return key in self._under_way

    async def join(self, key: K, fetch: Callable[[], Awaitable[V]]) -> V:
        """What `fetch` gives. Its error reaches all who wait; a cancelled leader leaves the work to a follower."""
        while (flight := self._under_way.get(key)) is not None:
            await flight.landed.wait()
            if flight.error is not None:
                raise flight.error
            if flight.value is not None:
                return flight.value
        flight = self._under_way[key] = _Flight()
        try:
            flight.value = await fetch()
            return flight.value
        except Exception as exc:
            flight.error = exc
            raise
        finally:
            del self._under_way[key]
            flight.landed.set()

    async def lead(self, keys: Sequence[K], fetch: Callable[[], Awaitable[Sequence[V | None]]]) -> None:
        """Fetch several at once, for all who ask meanwhile; None of them is under way.

        fetch   gives the values in the order of `keys`; what it has not (None) is left to those who ask
        """
        flights: list[_Flight[V]] = [_Flight() for _ in keys]
        self._under_way.update(zip(keys, flights, strict=True))
        try:
            for flight, value in zip(flights, await fetch(), strict=True):
                flight.value = value
        finally:
            for key, flight in zip(keys, flights, strict=True):
                del self._under_way[key]
                flight.landed.set()
