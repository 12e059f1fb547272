"""The task that publishes: at once, then by the clock; a bucket that does not answer makes it late, and no more."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rustfsfs.config import Bucket, Config
from rustfsfs.errors import CloudUnavailable
from rustfsfs.store import manifest as layout
from rustfsfs.store.cold import HEADER
from rustfsfs.tasks.publisher import AGAIN_S, LOOK_EVERY_S, run_publisher
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.publish import SOON_S
from rustfsfs.volume import publishing
from rustfsfs.volume.keys import add_slot, remove_slot
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.store.faultbuckets import FailsFirst
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import all_demoted, opened_with, sealed
from tests.volume.on_disk import Key, format_in, write_file
from tests.volume.test_publishing import through

EVERY_S = 1000.0
CONFIG = Config(bucket=Bucket(metadata_interval_s=EVERY_S), demote=DemotePolicy(high=0.9999, low=0.9998))


@asynccontextmanager
async def running(path: Path, bucket: MemBucket) -> AsyncIterator[Volume]:
    async with opened_with(path, bucket, config=CONFIG) as volume, trio.open_nursery() as nursery:
        await nursery.start(run_publisher, volume)
        yield volume
        nursery.cancel_scope.cancel()


def count(bucket: MemBucket) -> int:
    return len(layout.copies(bucket.objects))


async def settled(volume: Volume) -> None:
    """Until everybody waits for time to pass, and no thread works. No time passes by itself."""
    shared = trio.to_thread.current_default_thread_limiter()
    while True:
        await wait_all_tasks_blocked()
        if not (volume.tier.workers.borrowed_tokens or shared.borrowed_tokens or volume.barriers.is_running):
            return
        await trio.to_thread.run_sync(time.sleep, 0.001)


async def passing(volume: Volume, clock: MockClock, seconds: float) -> None:
    for _ in range(int(seconds / LOOK_EVERY_S)):
        clock.jump(LOOK_EVERY_S)
        await settled(volume)


async def test_the_first_copy_comes_at_once_and_the_next_with_the_interval(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    bucket = MemBucket()
    async with running(format_in(tmp_path / "v"), bucket) as volume:
        await passing(volume, mock_clock, LOOK_EVERY_S)
        assert count(bucket) == 1
        await write_file(volume, b"f", b"x")
        await passing(volume, mock_clock, EVERY_S - 2 * LOOK_EVERY_S)
        assert count(bucket) == 1
        await passing(volume, mock_clock, 3 * LOOK_EVERY_S)
        assert count(bucket) == 2
        await passing(volume, mock_clock, 3 * EVERY_S)
        assert count(bucket) == 2, "nothing has changed"


async def test_who_asks_gets_a_copy_now(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket = MemBucket()
    async with running(format_in(tmp_path / "v"), bucket) as volume:
        await passing(volume, mock_clock, LOOK_EVERY_S)
        await write_file(volume, b"f", b"x")
        volume.wishes.publish.set()
        await settled(volume)
        assert count(bucket) == 2


async def test_an_outage_makes_it_late_and_says_so(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket = MemBucket()
    async with running(format_in(tmp_path / "v"), bucket) as volume:
        through(volume, FailsFirst(bucket, *[CloudUnavailable("no network")] * 5))
        await passing(volume, mock_clock, LOOK_EVERY_S)
        assert volume.tier.published.trouble == "no network"
        await passing(volume, mock_clock, 5 * (AGAIN_S + LOOK_EVERY_S))
        assert count(bucket) == 1
        assert volume.tier.published.trouble == ""


async def test_a_mount_knows_how_old_the_newest_copy_is(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket, config=CONFIG) as volume:
        await write_file(volume, b"f", b"h" * 500)
    before = count(bucket)
    async with running(path, bucket) as volume:
        await write_file(volume, b"g", b"x")
        await passing(volume, mock_clock, 3 * LOOK_EVERY_S)
        assert volume.tier.published.hot_bytes == 500
        assert count(bucket) == before, "it is not an interval old"
        await passing(volume, mock_clock, EVERY_S)
        assert count(bucket) == before + 1


async def test_a_shorter_interval_counts_from_the_last_copy(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket = MemBucket()
    async with running(format_in(tmp_path / "v"), bucket) as volume:
        await passing(volume, mock_clock, LOOK_EVERY_S)
        await write_file(volume, b"f", b"x")
        await passing(volume, mock_clock, 100)
        assert count(bucket) == 1
        volume.settings.config = Config(bucket=Bucket(metadata_interval_s=100), demote=CONFIG.demote)
        await passing(volume, mock_clock, LOOK_EVERY_S)
        assert count(bucket) == 2


async def test_the_header_goes_soon_after_the_mount_and_after_each_change(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket, config=CONFIG):
        pass
    add_slot(real_world(), str(path), opened_with=Key(), new=Key(value=b"another" * 8))
    before = count(bucket)
    async with running(path, bucket) as volume:
        await passing(volume, mock_clock, 2 * LOOK_EVERY_S)
        assert bucket.objects[HEADER].body == (path / "header").read_bytes()
        through(volume, FailsFirst(bucket, CloudUnavailable("no network")))
        remove_slot(real_world(), str(path), opened_with=Key(), number=2)
        await passing(volume, mock_clock, LOOK_EVERY_S)
        assert volume.tier.published.trouble == "no network"
        await passing(volume, mock_clock, AGAIN_S + LOOK_EVERY_S)
        assert bucket.objects[HEADER].body == (path / "header").read_bytes()
        assert volume.tier.published.trouble == ""
        assert count(bucket) == before, "the metadata has its own time"


async def test_a_header_that_is_there_costs_no_request(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket = MemBucket()
    async with running(format_in(tmp_path / "v"), bucket) as volume:
        await passing(volume, mock_clock, LOOK_EVERY_S)
        through(volume, FailsFirst(bucket, CloudUnavailable("a request")))
        await passing(volume, mock_clock, 3 * LOOK_EVERY_S)
        assert volume.tier.published.trouble == ""


async def test_soon_after_packs_went_cold_the_bucket_has_their_names(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket = MemBucket()
    async with running(format_in(tmp_path / "v"), bucket) as volume:
        await passing(volume, mock_clock, LOOK_EVERY_S)
        await sealed(volume, b"f", b"f" * 10_000)
        await all_demoted(volume)
        before = count(bucket)
        await passing(volume, mock_clock, SOON_S - LOOK_EVERY_S)
        assert count(bucket) == before, "the last one is not a minute old"
        await passing(volume, mock_clock, 2 * LOOK_EVERY_S)
        assert count(bucket) == before + 1
        await write_file(volume, b"g", b"x")
        await passing(volume, mock_clock, EVERY_S / 2)
        assert count(bucket) == before + 1, "nothing went cold since"


async def test_a_mount_that_finds_cold_packs_and_changes_does_not_wait(tmp_path: Path, mock_clock: MockClock) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket, config=CONFIG) as volume:
        await publishing.publish(volume)
        await sealed(volume, b"f", b"f" * 10_000)
        await all_demoted(volume)
        volume.health.read_only_reason = "the process was killed"
    before = count(bucket)
    async with running(path, bucket) as volume:
        await passing(volume, mock_clock, SOON_S + 2 * LOOK_EVERY_S)
        assert count(bucket) == before + 1
