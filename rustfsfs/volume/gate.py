"""The gate: shut while COMMIT has the connection; no verb touches the database then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Gate:
    """Open almost always. Verbs look at `shut` first, a plain attribute, and wait only then."""

    def __init__(self) -> None:
        self.shut = False
        self._open = trio.Event()
        self._open.set()
        self._one = trio.Lock()  # two closers take turns

    async def opened(self) -> None:
        """Return once the gate is open. What follows without an `await` runs before it can shut again."""
        while self.shut:
            await self._open.wait()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        async with self._one:
            self.shut, self._open = True, trio.Event()
            try:
                yield
            finally:
                self.shut = False
                self._open.set()
