"""Who reads while others overwrite, collect and move gets what was there, or what is there; never an error."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from rustfsfs.volume import collecting, reading, writing
from rustfsfs.volume.volume import Volume
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import NOISE, new_file, new_volume, put

Change = Callable[[Volume, int, bytes], Awaitable[None]]


async def overwrite(volume: Volume, inode: int, data: bytes) -> None:
    await writing.write(volume, inode, 0, data)
    await collecting.bury(volume)


async def overwrite_and_collect(volume: Volume, inode: int, data: bytes) -> None:
    await writing.write(volume, inode, 0, data)
    await collecting.collect_now(volume, live_share=0.9)


@pytest.mark.parametrize("caches", [pytest.param(False, id="by workers"), pytest.param(True, id="at once")])
@pytest.mark.parametrize("change", [overwrite, overwrite_and_collect])
@pytest.mark.parametrize("turns", range(6))
async def test_a_read_beside_an_overwrite_and_a_collection(
    tmp_path: Path, turns: int, change: Change, caches: bool
) -> None:
    files = CrashFiles()
    files.caches = caches
    async with new_volume(tmp_path, files) as volume:
        inode = new_file(volume, b"f")
        before = await put(volume, inode)
        after = NOISE.randbytes(len(before))
        await collecting.bury(volume)
        volume.cache.clear()
        found: list[bytes] = []

        async def read() -> None:
            found.append(bytes(await reading.read(volume, inode, 0, 1 << 20)))

        async def change_it() -> None:
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            await change(volume, inode, after)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(change_it)
        assert found[0] in (before, after)
        assert volume.metadata.running.bad_chunks == 0
