"""The background's turns on the loop: short ones, and while requests come, as long a rest after each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from rustfsfs.tiers.pace import rest_s
from rustfsfs.volume import warming
from rustfsfs.volume.volume import Volume

BUSY_S = 0.1  # a request within this time means the foreground works


def is_busy(volume: Volume) -> bool:
    return trio.current_time() - volume.activity.last_request_s < BUSY_S


async def wait_for_turn(volume: Volume, step: str) -> None:
    """Return when the gate is open, and while the foreground works, no checkpoint under way.

    step   of `meta.touching.TOUCHES`: what it needs is in memory then

    What we changed meanwhile would be copied with the gate shut, when the WAL has to begin anew. And when the next
    COMMIT is due already, whoever comes would wait for what we add to it: 67 ms for 22 800 rows (measured).
    """
    is_due = volume.activity.uncommitted_rows >= volume.activity.epoch_rows
    if (is_due or is_busy(volume)) and volume.commit_lock.locked():
        async with volume.commit_lock:
            pass
    if volume.warmth.is_cold:
        await warming.warm(volume, step, ())
    await volume.gate.opened()


@asynccontextmanager
async def turn(volume: Volume) -> AsyncIterator[None]:
    """A step of work that nobody waits for. Nothing awaits inside the block; behind it others have their turn.

    A request takes the loop several times before it is answered, so a mere checkpoint would have it wait for as many
    of our steps.
    """
    started_s = trio.current_time()
    yield
    await trio.sleep(
        rest_s(size_bytes=0, took_s=trio.current_time() - started_s, rate_bytes_s=0, is_busy=is_busy(volume))
    )
