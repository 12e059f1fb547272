"""Packs in the bucket that nobody reads go to IA, and what is recorded of them is what the bucket says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket as BucketConfig
from rustfsfs.config import Config
from rustfsfs.errors import CloudUnavailable
from rustfsfs.meta import objects
from rustfsfs.store.cold import pack_key
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import owning, recalling, rounds, tiercommands
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.volume import Volume
from tests.store.faultbuckets import LosesAnswers
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import format_in

DATA = NOISE.randbytes(300_000)
MONTH_S = 30 * 86400.0
BY_AGE = Config(bucket=BucketConfig(ia_after_s=2 * MONTH_S), demote=DemotePolicy(high=0.9999, low=0.9998))


class Months:
    """The bucket's clock."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def in_bucket(path: Path, bucket: MemBucket | WrappedBucket) -> AsyncIterator[tuple[Volume, int, PackKey]]:
    """(the volume, a file, the pack that it lies in), only in the bucket and not read for long."""
    async with opened_with(format_in(path), bucket, config=BY_AGE) as volume:
        inode = await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        volume.tier.reads_s[key] = 1
        yield volume, inode, key


def known(volume: Volume, key: PackKey) -> tuple[str, int]:
    row = objects.find(volume.metadata, *key)
    assert row is not None
    return row.placement, row.put_s


async def test_what_nobody_read_for_long_goes_to_ia_and_reads_as_before(tmp_path: Path) -> None:
    clock = Months()
    bucket = MemBucket(now_s=clock)
    async with in_bucket(tmp_path / "v", bucket) as (volume, inode, key):
        assert known(volume, key) == ("Standard", clock.now_s)
        clock.now_s += MONTH_S
        assert await rounds.run_round(volume)
        assert known(volume, key) == ("IA", clock.now_s)
        facts = bucket.head(pack_key(*key))
        assert (facts.placement, facts.modified_s) == (Placement.IA, clock.now_s)
        assert not await rounds.run_round(volume)
        assert await contents(volume, inode) == DATA


async def test_a_few_are_changed_at_once_and_not_all_of_a_round(tmp_path: Path) -> None:
    inside, most = 0, 0

    async def work(_key: PackKey) -> bool:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await wait_all_tasks_blocked()
        inside -= 1
        return True

    keys = [(number, 0) for number in range(20)]
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        done = await rounds._several(volume, keys, dict.fromkeys(keys, 1), work, at_once=rounds.COOLED_AT_ONCE)
    assert (done, most) == (20, rounds.COOLED_AT_ONCE)


async def test_what_is_read_stays(tmp_path: Path) -> None:
    async with in_bucket(tmp_path / "v", MemBucket()) as (volume, inode, key):
        assert await contents(volume, inode) == DATA
        assert (await rounds.plan_round(volume))[1].cooling == []
        await rounds.run_round(volume)
        assert known(volume, key)[0] == "Standard"


async def test_a_plan_says_so(tmp_path: Path) -> None:
    async with in_bucket(tmp_path / "v", MemBucket()) as (volume, _inode, key):
        (step,) = (await tiercommands.tier_plan(volume, {}, no_progress))["steps"]
        assert (step["pack"], step["disk"], step["action"]) == (*key, "change its class in the bucket to IA")
        assert known(volume, key)[0] == "Standard"


async def test_a_change_that_a_crash_kept_from_being_recorded_is_recorded_and_not_made_again(tmp_path: Path) -> None:
    """IA's minimum days would be billed twice."""
    clock = Months()
    bucket = MemBucket(now_s=clock)
    async with in_bucket(tmp_path / "v", LosesAnswers(bucket, 0)) as (volume, inode, key):
        assert volume.tier.door is not None
        volume.tier.door = replace(volume.tier.door, reads=bucket)
        await owning.ensure_owner(volume)
        assert isinstance(volume.tier.door.writes, LosesAnswers)
        volume.tier.door.writes.count = 1  # the first request of that way is the change
        with pytest.raises(CloudUnavailable):
            await rounds.run_round(volume)
        assert known(volume, key)[0] == "Standard"
        changed_s = clock.now_s
        assert bucket.head(pack_key(*key)).placement is Placement.IA
        clock.now_s += MONTH_S
        assert await rounds.run_round(volume)
        assert known(volume, key) == ("IA", changed_s)
        assert bucket.head(pack_key(*key)).modified_s == changed_s
        assert await contents(volume, inode) == DATA


async def test_what_its_owner_froze_is_known_to_be_frozen(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with in_bucket(tmp_path / "v", bucket) as (volume, _inode, key):
        name = pack_key(*key)
        bucket.objects[name] = replace(bucket.objects[name], placement=Placement.ARCHIVE)
        assert await rounds.run_round(volume)
        assert known(volume, key)[0] == "Archive"
        assert not await rounds.run_round(volume)


async def test_an_object_that_is_gone_is_told_and_not_asked_for_in_every_round(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with in_bucket(tmp_path / "v", bucket) as (volume, _inode, key):
        bucket.objects.clear()
        assert not await rounds.run_round(volume)
        assert list(volume.health.left_alone.packs(Why.LOST, now_s=trio.current_time())) == [key]
        assert (await rounds.plan_round(volume))[1].cooling == []


async def test_an_object_that_is_not_what_was_put_there_is_put_again_if_a_disk_has_it(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with in_bucket(tmp_path / "v", bucket) as (volume, inode, key):
        assert await recalling.recall(volume, key)
        good = bucket.objects[pack_key(*key)].body
        bucket.replace(pack_key(*key), good[::-1])
        volume.tier.reads_s[key] = 1
        await rounds.run_round(volume)
        await rounds.run_round(volume)
        assert bucket.objects[pack_key(*key)].body == good
        assert known(volume, key)[0] == "IA"  # it was as old when it was put again
        assert await contents(volume, inode) == DATA
