"""The task that decodes chunks ahead of whoever reads a file in order."""

from typing import NoReturn

import trio

from rustfsfs.units import MIB
from rustfsfs.volume import reading
from rustfsfs.volume.volume import AHEAD_WORKERS, Volume, log

WINDOWS = 4  # of cold files, fetched at once
STEP = 2 * MIB  # for one worker at a time. 2 steps of 1 MiB: 210 of 300 reads waited; 3 of 2 MiB: 67 (measured)


async def run_readahead(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Whatever readers are expected to want, in the order in which that was found. Errors: none of its own."""
    task_status.started()
    slots, windows = trio.Semaphore(AHEAD_WORKERS), trio.Semaphore(WINDOWS)

    async def step(inode: int, start: int, end: int) -> None:
        try:
            await reading.load_ahead(volume, inode, start, end, volume.ahead.workers)
        except Exception:
            log.exception("reading ahead failed: a bug of rustfsfs")  # nobody needs it, and the others go on
        finally:
            slots.release()

    async def window(inode: int, start: int, end: int) -> None:
        try:
            await reading.fetch_far_ahead(volume, inode, start, end)
        except Exception:
            log.exception("fetching ahead failed: a bug of rustfsfs")
        finally:
            windows.release()

    async with trio.open_nursery() as nursery:
        while True:
            while volume.ahead.wanted:
                inode, wanted = volume.ahead.wanted.popleft()
                if inode in volume.tier.readers:
                    try:
                        windows.acquire_nowait()
                    except trio.WouldBlock:
                        continue  # the network is slower than the readers: they ask by themselves
                    nursery.start_soon(window, inode, wanted.start, wanted.end)
                    continue
                for start in range(wanted.start, wanted.end, STEP):
                    await slots.acquire()
                    nursery.start_soon(step, inode, start, min(start + STEP, wanted.end))
            await volume.wishes.ahead.wait()
            volume.wishes.ahead = trio.Event()
