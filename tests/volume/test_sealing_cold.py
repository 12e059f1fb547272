"""Changes in files whose chunks are in the bucket only: sealing asks no bucket for anything, whatever its state."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from rustfsfs.config import Config, Seal
from rustfsfs.errors import CloudUnavailable
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.tasks import sealer
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.volume import commands, writing
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import format_in

T = TypeVar("T")
SIZE = 3_000_000
AT_ONCE = Config(seal=Seal(quiet_s=0, recut_quiet_s=0), demote=DemotePolicy(high=0.9999, low=0.9998))


class Switched(WrappedBucket):
    """A bucket that can be out of reach, and counts what it is asked for."""

    is_away = False
    requests = 0

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        self.requests += 1
        if self.is_away:
            raise CloudUnavailable("the bucket is out of reach")
        return send()


async def patched(volume: Volume, inode: int, data: bytes, patches: list[tuple[int, bytes]]) -> bytes:
    """What the file holds then."""
    changed = bytearray(data)
    for offset, patch in patches:
        await writing.write(volume, inode, offset, patch)
        changed[offset : offset + len(patch)] = patch
    return bytes(changed)


async def sealed_all(volume: Volume) -> None:
    await commands.seal(volume, {}, no_progress)
    assert volume.metadata.running.hot_bytes == 0


@pytest.mark.parametrize(
    "patches",
    [
        pytest.param([(1_000_000, b"x" * 4096)], id="a small one in the middle"),
        pytest.param([(500_000, NOISE.randbytes(700_000))], id="a long one over the ends of chunks"),
        pytest.param([(SIZE, b"appended" * 100)], id="behind the end"),
        pytest.param([(SIZE - 10, NOISE.randbytes(400_000))], id="over the end"),
        pytest.param([(600_000 + 9000 * n, b"%05d" % n) for n in range(30)], id="more than eight in a chunk"),
        pytest.param([(SIZE + 50 * n, b"line %5d\n" % n * 5) for n in range(30)], id="a log, line by line"),
    ],
)
async def test_in_an_outage_every_change_of_a_cold_file_leaves_the_journal(
    tmp_path: Path, patches: list[tuple[int, bytes]]
) -> None:
    bucket = Switched(MemBucket())
    async with opened_with(format_in(tmp_path / "v"), bucket, config=AT_ONCE) as volume:
        data = NOISE.randbytes(SIZE)
        inode = await sealed(volume, b"f", data)
        await all_demoted(volume)
        bucket.is_away, bucket.requests = True, 0
        for patch in patches:  # each by itself, as a slow writer makes them
            data = await patched(volume, inode, data, [patch])
            await sealed_all(volume)
        await sealer._recut(volume)
        assert bucket.requests == 0
        assert volume.metadata.rows("SELECT * FROM overlaid") == [], "who has nothing to cut stands before nobody"
        bucket.is_away = False
        assert await contents(volume, inode) == data
