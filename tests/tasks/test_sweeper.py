"""The task that sweeps: soon after every mount, whatever the mover does, and again when the bucket did not answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock

from rustfsfs.errors import CloudUnavailable
from rustfsfs.store.bucket import Bucket
from rustfsfs.tasks.sweeper import AGAIN_S, LOOK_EVERY_S, run_sweeper
from rustfsfs.volume import status, sweeping
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.volume import Volume
from tests.store.faultbuckets import FailsFirst
from tests.store.membucket import MemBucket
from tests.tasks.test_publisher import settled
from tests.volume.on_bucket import NOISE, all_demoted, opened_with, sealed
from tests.volume.on_disk import format_in


@asynccontextmanager
async def sweeping_on(volume: Volume) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(run_sweeper, volume)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def sweeping_over(path: Path, bucket: Bucket) -> AsyncIterator[Volume]:
    async with opened_with(path, bucket) as volume, sweeping_on(volume):
        yield volume


async def passing(volume: Volume, clock: MockClock, seconds: float) -> None:
    for _ in range(int(seconds / LOOK_EVERY_S)):
        clock.jump(LOOK_EVERY_S)
        await settled(volume)


def lost(volume: Volume) -> int:
    return volume.health.left_alone.counts(now_s=trio.current_time()).get(Why.LOST, 0)


async def test_what_is_lost_is_told_minutes_after_a_clean_mount_and_is_not_healthy(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await sealed(volume, b"f", NOISE.randbytes(100_000))
        await all_demoted(volume)
    bucket.objects = {key: one for key, one in bucket.objects.items() if not key.startswith("packs/")}
    async with sweeping_over(path, bucket) as volume:
        assert not volume.health.unclean_start
        async with volume.tier.lock:  # the mover is at work, all day
            await passing(volume, mock_clock, sweeping.FIRST_S + 2 * LOOK_EVERY_S)
        shown = await status.status(volume, state="mounted", mount_point=None, pid=1)
        assert lost(volume) == 1 and not shown["healthy"] and shown["left_alone"] == {"lost": 1}


async def test_a_bucket_that_does_not_answer_is_asked_again(tmp_path: Path, mock_clock: MockClock) -> None:
    inner, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, inner) as volume:
        await sealed(volume, b"f", NOISE.randbytes(100_000))
        await all_demoted(volume)
    inner.objects = {key: one for key, one in inner.objects.items() if not key.startswith("packs/")}
    bucket = FailsFirst(inner, CloudUnavailable("no route"))
    async with sweeping_over(path, bucket) as volume:
        await passing(volume, mock_clock, sweeping.FIRST_S + 2 * LOOK_EVERY_S)
        assert lost(volume) == 0
        await passing(volume, mock_clock, AGAIN_S + LOOK_EVERY_S)
        assert lost(volume) == 1
