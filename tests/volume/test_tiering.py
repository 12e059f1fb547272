"""Packs go to the bucket and come back; at any step a cut, a fault or a rotten copy loses nothing."""

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket as BucketConfig
from rustfsfs.config import Config
from rustfsfs.errors import CloudUnavailable, DamagedData
from rustfsfs.meta import chunks, objects
from rustfsfs.store.breaker import Verdict
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import pack_key
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.packs import Busy, PackKey
from rustfsfs.units import KIB, MIB
from rustfsfs.volume import (
    checking,
    coldreading,
    collecting,
    deleting,
    demoting,
    names,
    recalling,
    rounds,
    scrubbing,
    status,
    tiering,
    uploading,
    watermarks,
)
from rustfsfs.volume.leftalone import AGAIN_S, Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, contents, opened_with, packs_there, sealed
from tests.volume.on_disk import format_in

DATA = NOISE.randbytes(700_000)


def findings(volume: Volume) -> list[str]:
    return checking.check_all(
        volume.metadata,
        volume.disks,
        volume.journal,
        volume.keys,
        volume.header.uuid,
        data=True,
        step=lambda _done, _total, _what: None,
    )


def packs_in(volume: Volume) -> list[int]:
    return [int(pack) for store in volume.disks.values() for pack in store.packs()]


async def test_demoted_data_is_read_from_the_bucket_and_then_from_the_cache_disk(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        gone = await all_demoted(volume)
        assert gone and packs_in(volume) == []
        assert await contents(volume, inode) == DATA
        fetched = volume.tier.traffic.fetches
        assert fetched > 0
        assert await contents(volume, inode) == DATA
        assert volume.tier.traffic.fetches == fetched
        assert findings(volume) == []


async def test_after_a_remount_cold_data_is_cold_and_what_was_kept_is_kept(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        await all_demoted(volume)
        assert await contents(volume, inode) == DATA
    async with opened_with(path, bucket) as volume:
        assert await contents(volume, inode) == DATA
        assert volume.tier.traffic.fetches == 0
        assert findings(volume) == []


async def test_without_its_bucket_cold_data_is_an_error_and_the_rest_is_not(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        cold = await sealed(volume, b"cold", DATA)
        await all_demoted(volume)
        warm = await sealed(volume, b"warm", DATA[::-1])
    async with opened_with(path, None) as volume:
        assert await contents(volume, warm) == DATA[::-1]
        with pytest.raises(CloudUnavailable, match="bucket"):
            await contents(volume, cold)


async def test_an_outage_does_not_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        await all_demoted(volume)
        volume.tier.door = None
        for _ in range(5):
            with pytest.raises(CloudUnavailable):
                await contents(volume, inode)
    assert sum("pack" in line and "chunk" in line for line in caplog.text.splitlines()) == 1


async def test_nor_do_those_who_fetch_ahead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    caplog.set_level("INFO")
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        places = [place for _chunk, place in chunks.live_in(volume.metadata, *key)]
        volume.tier.door = None

        def told() -> int:
            return sum("fetching ahead" in record.message for record in caplog.records)

        for _ in range(5):
            await coldreading.fetch_ahead(volume, places)
        assert told() == 1
        mock_clock.jump(61.0)
        await coldreading.fetch_ahead(volume, places)
        assert told() == 2


async def test_a_recalled_pack_lies_on_its_disk_as_it_did(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        assert await recalling.recall(volume, key)
        assert not await recalling.recall(volume, key)
        bucket.objects.clear()
        assert await contents(volume, inode) == DATA
        assert findings(volume) == []


@pytest.mark.parametrize(
    ("rate_bytes_s", "want"),
    [
        pytest.param(0, 4 * MIB, id="no limit"),
        pytest.param(10**9, 4 * MIB, id="a fast line"),
        pytest.param(10**6, 10**6, id="a second's worth"),
        pytest.param(1000, 256 * KIB, id="a crawl"),
    ],
)
def test_a_recall_asks_for_little_at_once_where_a_reader_would_wait_for_it(rate_bytes_s: int, want: int) -> None:
    assert recalling.recall_part_bytes(rate_bytes_s) == want


async def test_a_dedup_hit_on_cold_data_stores_it_on_a_disk_again(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        first = await sealed(volume, b"f", DATA)
        await all_demoted(volume)
        second = await sealed(volume, b"g", DATA)
        bucket.objects.clear()
        assert await contents(volume, second) == DATA
        assert await contents(volume, first) == DATA
        assert findings(volume) == []


def flipped(body: bytes) -> bytes:
    spoilt = bytearray(body)
    for at in range(200, len(spoilt), 5000):
        spoilt[at] ^= 1
    return bytes(spoilt)


def cut_short(body: bytes) -> bytes:
    return body[:9000]


@pytest.mark.parametrize("spoil", [flipped, cut_short])
async def test_a_damaged_object_is_an_error_until_it_is_whole_again(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        good = bucket.objects[pack_key(*key)]
        bucket.objects[pack_key(*key)] = replace(good, body=spoil(good.body))
        with pytest.raises(DamagedData):
            await contents(volume, inode)
        bucket.objects[pack_key(*key)] = good
        assert await contents(volume, inode) == DATA


async def test_a_rotten_copy_on_disk_is_read_from_the_bucket(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        facts = await tiering.gather(volume)
        await rounds.upload_all(volume, [pack for pack in facts.packs if pack.closed])
        file = next(path.rglob("*.pack"))
        rotten = bytearray(file.read_bytes())
        for at in range(300, len(rotten), 3000):
            rotten[at] ^= 4
        file.write_bytes(rotten)
        assert await contents(volume, inode) == DATA


async def test_a_rotten_pack_never_takes_the_place_of_anything_in_the_bucket(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await sealed(volume, b"f", DATA)
        file = next(path.rglob("*.pack"))
        rotten = bytearray(file.read_bytes())
        rotten[len(rotten) // 2] ^= 4
        file.write_bytes(rotten)
        assert await all_demoted(volume) == []
        assert packs_there(bucket) == []
        assert file.exists()


async def test_an_object_that_is_gone_keeps_its_local_copy_and_is_put_again(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        facts = await tiering.gather(volume)
        await rounds.upload_all(volume, [pack for pack in facts.packs if pack.closed])
        bucket.objects.clear()
        assert await demoting.demote(volume, [pack.key for pack in facts.packs]) == 0
        assert packs_in(volume)
        assert await all_demoted(volume)
        assert await contents(volume, inode) == DATA


async def test_what_an_earlier_round_left_in_the_bucket_is_taken_over_or_replaced(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        (pack,) = (await tiering.gather(volume)).packs
        body = next(path.rglob("*.pack")).read_bytes()
        bucket.put(pack_key(*pack.key), body, placement=Placement.STANDARD)
        assert await uploading.upload(volume, pack)
        bucket.replace(pack_key(*pack.key), b"something else")
        record(volume, ops.ObjectLost(*pack.key))
        assert await uploading.upload(volume, pack)
        assert bucket.objects[pack_key(*pack.key)].body == body
        await all_demoted(volume)
        assert await contents(volume, inode) == DATA


async def test_the_file_of_a_pack_that_was_demoted_before_a_crash_goes_at_the_next_mount(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        facts = await tiering.gather(volume)
        await rounds.upload_all(volume, facts.packs)
        record(volume, ops.Demote(packs=[facts.packs[0].key]))
    assert list(path.rglob("*.pack"))
    async with opened_with(path, bucket) as volume:
        assert list(path.rglob("*.pack")) == []
        assert await contents(volume, inode) == DATA


async def test_an_object_nobody_needs_goes_when_no_snapshot_and_no_published_copy_names_it(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        await all_demoted(volume)
        record(volume, ops.Publish(copies=[(1, volume.metadata.running.last_seq)]))
        names.unlink(volume, 1, b"f")
        record(volume, ops.Release(inodes=[2]))
        await collecting.collect_now(volume, live_share=0.5)
        assert objects.doomed(volume.metadata, 10) != []
        assert await deleting.delete_objects(volume) == 0
        record(volume, ops.Publish(copies=[]))
        assert await deleting.delete_objects(volume) == 1
        assert packs_there(bucket) == []
        assert findings(volume) == []


async def test_scrubbing_leaves_cold_packs_to_the_bucket(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await sealed(volume, b"f", DATA)
        await all_demoted(volume)
        found = await scrubbing.scrub(volume, repair=True, rate_bytes_s=0)
        assert found.lines == []


async def test_a_round_protects_everything_and_the_next_has_nothing_to_do(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        assert await rounds.run_round(volume)
        assert len(packs_there(bucket)) == 1
        assert packs_in(volume)
        assert not await rounds.run_round(volume)
        assert [row.is_cold for row in chunks.packs(volume.metadata)] == [False]


async def test_what_lives_of_a_cold_pack_is_written_to_a_disk_and_its_object_goes(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        ((pack, disk),) = await all_demoted(volume)
        async with volume.collect_lock:
            assert await collecting.empty_pack(volume, pack, disk)
        assert packs_in(volume)
        assert objects.find(volume.metadata, pack, disk) is None
        await collecting.collect_now(volume, live_share=0.1)
        assert await deleting.delete_objects(volume) == 1
        assert packs_there(bucket) == []
        assert await contents(volume, inode) == DATA
        assert findings(volume) == []


async def test_when_the_bucket_does_not_answer_nobody_waits_for_it(tmp_path: Path) -> None:
    full = Config(demote=DemotePolicy(high=0.00002, low=0.00001))
    async with opened_with(format_in(tmp_path / "v"), MemBucket(), config=full) as volume:
        assert volume.tier.door is not None
        volume.tier.door.breaker.leave(Verdict.FAILED, was_probe=False, error="cut")
        with trio.fail_after(1):
            await watermarks.wait_below(volume, 0)


async def test_a_pack_that_its_owner_froze_keeps_its_local_copy(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        await rounds.run_round(volume)
        for key, found in bucket.objects.items():
            bucket.objects[key] = replace(found, placement=Placement.ARCHIVE)
        keys = [pack.key for pack in (await tiering.gather(volume)).packs]
        assert await demoting.demote(volume, keys) == 0
        assert packs_in(volume)
        known = objects.find(volume.metadata, *keys[0])
        assert known is not None and known.placement == "Archive"
        assert await contents(volume, inode) == DATA


async def test_while_a_pack_goes_nobody_brings_it_back(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        volume.tier.demoting.add(key)
        assert not await recalling.recall(volume, key)
        volume.tier.demoting.clear()
        assert await recalling.recall(volume, key)
        volume.tier.recalling[key] = 1
        assert await demoting.demote(volume, [key]) == 0


async def test_an_unreadable_pack_does_not_end_a_round(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        for name, found in bucket.objects.items():
            bucket.objects[name] = replace(found, placement=Placement.ARCHIVE)
        assert await rounds._rewrite(volume, [key]) == 0
        assert key in volume.health.left_alone.packs(Why.NOT_NOW, now_s=trio.current_time())


async def test_a_pack_that_is_damaged_on_its_disk_is_looked_at_again_after_a_while(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await sealed(volume, b"f", DATA)
        file = next(path.rglob("*.pack"))
        good = file.read_bytes()
        file.write_bytes(good[:9000] + bytes(100) + good[9100:])
        await rounds.run_round(volume)
        assert volume.health.left_alone.counts(now_s=trio.current_time()) == {Why.DAMAGED: 1}
        await rounds.run_round(volume)
        shown = await status.status(volume, state="mounted", mount_point=None, pid=1)
        assert shown["left_alone"] == {"damaged": 1} and not shown["healthy"]
        assert shown["bucket"]["backlog"]["packs"] == 1 and shown["bucket"]["backlog"]["bytes"] > len(DATA)
        file.write_bytes(good)
        assert not await rounds.run_round(volume)
        mock_clock.jump(AGAIN_S[Why.DAMAGED])
        assert await rounds.run_round(volume)
        assert [stored.body for key, stored in bucket.objects.items() if key.startswith("packs/")] == [good]
        assert volume.health.left_alone.counts(now_s=trio.current_time()) == {}


async def test_uploads_that_fail_again_and_again_hold_no_memory(tmp_path: Path) -> None:
    """The frames of an error held its pack, and formed a cycle: 1.6 GB in an outage of two minutes."""

    class Down(MemBucket):
        def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
            try:
                raise OSError("no route")
            except OSError:
                raise CloudUnavailable("no answer") from None

    async with opened_with(format_in(tmp_path / "v"), Down()) as volume:
        await sealed(volume, b"f", DATA)
        packs = (await tiering.gather(volume)).packs
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _round in range(8):
                with pytest.raises(CloudUnavailable):
                    await rounds.upload_all(volume, packs)
            assert tracemalloc.get_traced_memory()[0] < 2 * len(DATA)
        finally:
            tracemalloc.stop()
            gc.enable()


async def test_how_much_is_in_flight_may_change_meanwhile(tmp_path: Path) -> None:
    def at_most(size_bytes: int) -> Config:
        return Config(bucket=BucketConfig(in_flight_bytes=size_bytes))

    keys = [(pack, 1) for pack in range(1, 6)]
    begun, gone_on = [0], [trio.Event() for _ in keys]

    async with opened_with(format_in(tmp_path / "v"), MemBucket(), config=at_most(10)) as volume:

        async def work(key: PackKey) -> bool:
            begun[0] += 1
            await gone_on[key[0] - 1].wait()
            return True

        async with trio.open_nursery() as nursery:
            packs = partial(rounds._several, volume, keys, dict.fromkeys(keys, 10), work)
            nursery.start_soon(partial(packs, at_once=lambda: volume.config.bucket.in_flight_bytes))
            await wait_all_tasks_blocked()
            assert begun == [1]
            volume.settings.config = at_most(30)
            gone_on[0].set()
            await wait_all_tasks_blocked()
            assert begun == [4], "one has ended, three are on their way"
            for event in gone_on:
                event.set()


async def test_a_pack_that_a_clock_far_ahead_read_counts_as_read_when_that_is_seen(tmp_path: Path) -> None:
    """Also for what is recorded: else it would be read now for ever."""
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await sealed(volume, b"f", DATA)
        now_s = tiering.wall_s(volume)
        for row in objects.rows_behind(volume.metadata, (0, -1), 10):
            key = row.pack, row.disk
            record(volume, ops.PacksRead(reads=[(*key, int(2 * now_s))]))
            volume.tier.busy[key] = Busy(1.0, 2 * now_s)
            volume.tier.first_seen_s[key] = 2 * now_s
        facts = await tiering.gather(volume)
        assert facts.packs and all(now_s - 1 <= pack.heat_s <= facts.now_s for pack in facts.packs)
        await tiering.record_reads(volume)
        assert [pack.heat_s for pack in (await tiering.gather(volume)).packs] == [pack.heat_s for pack in facts.packs]
        for row in objects.rows_behind(volume.metadata, (0, -1), 10):
            assert row.read_s is not None and now_s - 1 <= row.read_s <= facts.now_s
