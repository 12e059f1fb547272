"""Cold packs whose disk is gone come to another one; and nobody waits for the network behind `collect_lock`."""

import shutil
from dataclasses import replace
from pathlib import Path

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket as BucketConfig
from rustfsfs.config import Config
from rustfsfs.tiers.packs import Busy, PackKey
from rustfsfs.volume import collecting, names, packing, publishing, rehoming, rounds, tiercommands, tiering
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.from_bucket import rebuild_from_bucket
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.offline import find
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import ANY_DISK, NOISE, all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import Key, format_in, write_file
from tests.volume.test_from_bucket import uploaded
from tests.volume.test_sealing_cold import Switched

ONE, OTHER = NOISE.randbytes(300_000), NOISE.randbytes(400_000)


async def after_a_fire(folder: Path, bucket: MemBucket) -> Path:
    """A volume of two disks with a file on each, rebuilt from its bucket in one directory: all of it is cold."""
    disks = folder / "one", folder / "two"
    for disk in disks:
        disk.mkdir()
    path = format_in(folder / "v", *disks)
    async with opened_with(path, bucket) as volume:
        await sealed(volume, b"f", ONE)
        first = (await tiering.gather(volume)).packs[0]
        async with volume.collect_lock:
            await collecting.empty_pack(volume, *first.key, avoid=frozenset({first.disk}))
        await packing.close_full(volume, everything=True)
        await uploaded(volume)
        volume.disks.pop(3 - first.disk)
        await sealed(volume, b"g", OTHER)
        await uploaded(volume)
        await publishing.publish(volume)
        volume.health.read_only_reason = "the house burns"
    for gone in (path, *disks):
        shutil.rmtree(gone)
    await trio.to_thread.run_sync(rebuild_from_bucket, str(path), Key(), bucket)
    return path


async def homeless(volume: Volume) -> list[PackKey]:
    return [one.key for one in (await tiering.gather(volume)).packs if one.disk not in volume.disks and one.live_bytes]


async def test_after_a_fire_all_of_it_comes_to_the_disk_that_is_there(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(await after_a_fire(tmp_path, bucket), bucket) as volume:
        assert len(await homeless(volume)) == 1 and len(volume.disks) == 1
        told = await tiercommands.tier_recall(volume, {"paths": []}, no_progress)
        assert told["packs"] == told["came_packs"] and told["stays"] == told["missing"] == []
        assert await homeless(volume) == []
        assert all(pack.is_local for pack in (await tiering.gather(volume)).packs if pack.live_bytes)
        bucket.objects.clear()
        assert await contents(volume, find(volume, "f").inode) == ONE
        assert await contents(volume, find(volume, "g").inode) == OTHER


async def test_pinned_and_busy_packs_of_a_disk_that_is_gone_come_with_a_round(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(await after_a_fire(tmp_path, bucket), bucket) as volume:
        (key,) = await homeless(volume)
        await rounds.run_round(volume)
        assert await homeless(volume) == [key]
        volume.tier.busy[key] = Busy(1e9, tiering.wall_s(volume))
        await rounds.run_round(volume)
        assert await homeless(volume) == [] and volume.tier.traffic.recalled_packs == 1


async def test_what_cannot_be_read_is_named_and_does_not_count(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(await after_a_fire(tmp_path, bucket), bucket) as volume:
        for name, found in list(bucket.objects.items()):
            if name.startswith("packs/"):
                bucket.objects[name] = replace(found, body=bytes(len(found.body)))
        told = await tiercommands.tier_recall(volume, {"paths": []}, no_progress)
        assert (told["came_packs"], sorted(told["missing"])) == (0, ["/f", "/g"])


async def test_frames_come_from_the_bucket_before_anybody_has_to_wait(tmp_path: Path) -> None:
    held: list[bool] = []

    class Watched(MemBucket):
        def get(self, key: str, offset: int, size: int) -> bytes:
            held.append(volume.collect_lock.locked())
            return super().get(key, offset, size)

    async with opened_with(format_in(tmp_path / "v"), Watched(), cache_bytes=0) as volume:
        inode = await sealed(volume, b"f", ONE)
        (key,) = await all_demoted(volume)
        held.clear()
        assert await rounds._rewrite(volume, [key]) == 1
        assert held and not any(held)
        assert await contents(volume, inode) == ONE


async def test_while_others_move_frames_the_mover_goes_on_with_something_else(tmp_path: Path) -> None:
    bucket = Switched(MemBucket())
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", ONE)
        (key,) = await all_demoted(volume)
        bucket.requests = 0
        async with volume.collect_lock:  # as `disk remove` does, for hours
            with trio.fail_after(5):
                assert await rounds._rewrite(volume, [key]) == 0
        assert bucket.requests == 0 and volume.health.left_alone.counts(now_s=trio.current_time()) == {}
        assert await rehoming.rewrite(volume, key)


async def test_what_is_frozen_is_for_later(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", ONE)
        (key,) = await all_demoted(volume)
        for name, found in bucket.objects.items():
            bucket.objects[name] = replace(found, placement=Placement.ARCHIVE)
        assert await rounds._rewrite(volume, [key]) == 0
        assert list(volume.health.left_alone.packs(Why.NOT_NOW, now_s=trio.current_time())) == [key]
        _facts, plan = await rounds.plan_round(volume)
        assert plan.rewrites == []


async def test_what_lies_on_a_disk_that_is_missing_now_is_not_rewritten_from_the_bucket(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for disk in (one, two):
        disk.mkdir()
    config = Config(demote=ANY_DISK.demote, bucket=BucketConfig(placement=Placement.STANDARD))
    async with opened_with(format_in(tmp_path / "v", one, two), MemBucket(), config=config) as volume:
        await write_file(volume, b"most", OTHER)
        await sealed(volume, b"rest", ONE[:60_000])
        await uploaded(volume)
        (pack,) = (await tiering.gather(volume)).packs
        gone = names.lookup(volume, 1, b"most").inode
        names.unlink(volume, 1, b"most")
        record(volume, ops.Release(inodes=[gone]))
        await collecting.bury(volume)
        away = volume.disks.pop(pack.disk)
        assert (await rounds.plan_round(volume))[1].rewrites == []
        volume.disks[pack.disk] = away
        await all_demoted(volume)
        assert [found.key for found in (await rounds.plan_round(volume))[1].rewrites] == [pack.key]
