"""Cold reads: one GET for all, deadlines, frozen packs, and who may wait."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from rustfsfs.bucketfacts import Placement
from rustfsfs.cache.pieces import Piece, PieceIndex
from rustfsfs.config import Bucket, Cold, Config, WhenFrozen
from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedData, ObjectFrozen, ObjectMissing, StoreError
from rustfsfs.store.bucket import Restore
from rustfsfs.store.cold import PACKS
from rustfsfs.tasks.restorer import run_restorer
from rustfsfs.tiers.fetch import Get
from rustfsfs.units import MIB
from rustfsfs.volume import coldreading, commands, names, publishing, reading, recalling, rounds, tier, tiering, writing
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import ANY_DISK, NOISE, all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import format_in, write_file

DATA = NOISE.randbytes(150_000)


class Slow(MemBucket):
    """GETs wait until `go`; `asked` says how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.asked = 0

    def get(self, key: str, offset: int, size: int) -> bytes:
        self.asked += 1
        assert self.go.wait(20)
        return super().get(key, offset, size)


def settings(**cold: object) -> Config:
    return Config(demote=ANY_DISK.demote, cold=Cold(**cold))  # type: ignore[arg-type]


async def cold_file(volume: Volume) -> int:
    inode = await sealed(volume, b"f", DATA)
    await all_demoted(volume)
    return inode


async def test_all_who_ask_at_once_share_one_get(tmp_path: Path) -> None:
    bucket = Slow()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA[:60_000])  # one chunk
        await all_demoted(volume)
        bucket.asked = 0
        bucket.go.clear()
        async with trio.open_nursery() as nursery:
            for _reader in range(8):
                nursery.start_soon(reading.read, volume, inode, 0, 4096)
            while not bucket.asked:
                await trio.sleep(0.001)
            bucket.go.set()
        assert bucket.asked == 1


async def test_a_bucket_that_does_not_answer_is_an_error_after_the_deadline_and_fine_later(tmp_path: Path) -> None:
    bucket = Slow()
    async with opened_with(format_in(tmp_path / "v"), bucket, config=settings(read_deadline_s=0.05)) as volume:
        inode = await cold_file(volume)
        bucket.go.clear()
        with pytest.raises(CloudUnavailable, match=r"within 0.05 s"):
            await contents(volume, inode)
        assert names.lookup(volume, 1, b"f").inode == inode
        bucket.go.set()
        assert await contents(volume, inode) == DATA


async def test_the_deadline_is_of_all_that_a_read_asks_for(tmp_path: Path) -> None:
    """What comes wrong is fetched again, but not for as long again."""

    class SlowFlips(MemBucket):
        def get(self, key: str, offset: int, size: int) -> bytes:
            if not key.startswith(PACKS):
                return super().get(key, offset, size)
            time.sleep(0.4)
            return bytes(size)

    async with opened_with(format_in(tmp_path / "v"), SlowFlips(), config=settings(read_deadline_s=0.5)) as volume:
        inode = await cold_file(volume)
        with pytest.raises(CloudUnavailable, match=r"within 0.5 s"):
            await contents(volume, inode)


async def test_while_readers_wait_writers_and_names_do_not(tmp_path: Path) -> None:
    bucket = Slow()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        bucket.go.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading.read, volume, inode, 0, 4096)
            while not bucket.asked:
                await trio.sleep(0.001)
            with trio.fail_after(5):
                await write_file(volume, b"g", DATA)
                names.rename(volume, 1, b"g", 1, b"h", exchange=False, no_replace=False)
            bucket.go.set()


async def test_so_many_may_wait_and_no_more(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        inode = await cold_file(volume)
        volume.tier.waiting = tier.WAITING_MAX
        with pytest.raises(CloudUnavailable, match="wait for the bucket already"):
            await contents(volume, inode)
        volume.tier.waiting = 0
        assert await contents(volume, inode) == DATA


async def test_so_many_may_wait_for_a_restore_and_no_more(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket, config=WAITS) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        volume.tier.waiting_frozen = tier.FROZEN_MAX
        with pytest.raises(ObjectFrozen):
            await reading.read(volume, inode, 0, 4096)


def freeze(bucket: MemBucket) -> None:
    for key, found in bucket.objects.items():
        bucket.objects[key] = replace(found, placement=Placement.ARCHIVE)


def asked(bucket: MemBucket) -> bool:
    """Whether the restore of some object has begun."""
    return any(found.ready_s for found in bucket.objects.values())


async def test_a_frozen_pack_is_asked_for_told_once_and_the_read_fails_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [1e9]
    bucket = MemBucket(now_s=lambda: now_s[0])
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        with pytest.raises(ObjectFrozen):
            await contents(volume, inode)
        assert not asked(bucket)  # no reader waits for that
        await coldreading.ask_for_restores(volume)
        assert asked(bucket) and volume.metadata.rows("SELECT placement FROM objects") == [("Archive",)]
        with pytest.raises(ObjectFrozen):
            await contents(volume, inode)
        assert not volume.tier.to_restore
        assert [record.levelname for record in caplog.records if "frozen" in record.message] == ["WARNING"]
        now_s[0] += 61
        assert await contents(volume, inode) == DATA


async def test_or_it_waits_if_it_is_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coldreading, "LOOK_EVERY_S", 0.01)
    now_s = [1e9]
    bucket = MemBucket(now_s=lambda: now_s[0])
    config = settings(when_frozen=WhenFrozen.WAIT, frozen_wait_s=20.0)
    async with opened_with(format_in(tmp_path / "v"), bucket, config=config) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def thaw() -> None:
                while not asked(bucket):
                    await trio.sleep(0.001)
                now_s[0] += 61

            await nursery.start(run_restorer, volume)
            assert await contents(volume, inode) == DATA
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("trouble", [CloudUnavailable("no network"), CloudRefused("RestoreObject is not allowed")])
async def test_what_cannot_be_asked_for_is_told_and_asked_for_again_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: StoreError
) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        freeze(bucket)

        def refuses(key: str, *, days: int) -> Restore:
            raise trouble

        with monkeypatch.context() as patch:
            patch.setattr(bucket, "restore", refuses)
            with pytest.raises(ObjectFrozen):
                await contents(volume, inode)
            await coldreading.ask_for_restores(volume)
        assert f"could not be asked for: {trouble}" in caplog.text and not asked(bucket)
        with pytest.raises(ObjectFrozen):
            await contents(volume, inode)
        await coldreading.ask_for_restores(volume)
        assert asked(bucket)


WAITS = settings(when_frozen=WhenFrozen.WAIT, frozen_wait_s=3600.0)


async def test_who_seals_or_moves_does_not_wait_for_a_restore(tmp_path: Path) -> None:
    """They hold locks: nothing else would be sealed or collected for an hour."""
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket, config=WAITS) as volume:
        inode = await sealed(volume, b"f", DATA)
        await writing.write(volume, inode, 10_000, DATA[:100_000])  # so much of its chunk that it is cut anew
        (key,) = await all_demoted(volume)
        freeze(bucket)
        with trio.fail_after(20):
            await commands.seal(volume, {}, no_progress)
            assert not volume.metadata.running.hot_bytes, "it is sealed without what is around it"
            assert await rounds._rewrite(volume, [key]) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading.read, volume, inode, 0, 4096)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(20):  # nor with a reader who waits for the same chunk
                await commands.seal(volume, {}, no_progress)
            nursery.cancel_scope.cancel()


async def test_a_place_that_thaws_is_waited_for_though_another_is_gone(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await cold_file(volume)
        freeze(bucket)
        (chunk, *_) = [row[0] for row in volume.metadata.rows("SELECT chunk FROM chunks ORDER BY chunk")]
        found = reading.locate(volume, chunk)
        assert found.row is not None
        elsewhere = msgspec.structs.replace(found.in_bucket[0], pack=999)
        for places in ([found.in_bucket[0], elsewhere], [elsewhere, found.in_bucket[0]]):
            with pytest.raises(ObjectFrozen):
                await coldreading.load(volume, found.row, places)


async def test_what_was_asked_for_is_forgotten_when_it_is_read(tmp_path: Path) -> None:
    now_s = [1e9]
    bucket = MemBucket(now_s=lambda: now_s[0])
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        with pytest.raises(ObjectFrozen):
            await contents(volume, inode)
        await coldreading.ask_for_restores(volume)
        assert asked(bucket) and len(volume.tier.restores) == 1
        now_s[0] += 61
        assert await contents(volume, inode) == DATA
        assert not volume.tier.restores


async def test_nothing_that_moves_stands_before_a_reader(tmp_path: Path) -> None:
    """All threads of uploads, recalls and the rest are taken; reads, and asking for a restore, have theirs."""
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        for limiter in (volume.tier.uploaders, volume.tier.recallers, volume.tier.workers):
            for taken in range(int(limiter.total_tokens)):
                limiter.acquire_on_behalf_of_nowait(taken)
        with trio.fail_after(20):
            assert await contents(volume, inode) == DATA
            volume.tier.recent.clear()
            volume.tier.pieces = PieceIndex(0)
            freeze(bucket)
            with pytest.raises(ObjectFrozen):
                await contents(volume, inode)
            await coldreading.ask_for_restores(volume)
            assert asked(bucket)


async def test_nor_before_one_another(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await cold_file(volume)
        tier = volume.tier
        key = next(pack.key for pack in (await tiering.gather(volume)).packs)
        for taken in range(int(tier.uploaders.total_tokens)):
            tier.uploaders.acquire_on_behalf_of_nowait(taken)
        with trio.fail_after(20):
            assert await publishing.publish(volume)
            assert await recalling.recall(volume, key)


async def test_a_pack_that_is_gone_is_an_error_of_its_file_only(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        other = await sealed(volume, b"other", DATA[::-1])
        bucket.objects.clear()
        with pytest.raises(ObjectMissing):
            await contents(volume, inode)
        assert await contents(volume, other) == DATA[::-1]


async def test_a_rotten_piece_of_the_cache_disk_is_fetched_again(tmp_path: Path) -> None:
    path, bucket = format_in(tmp_path / "v"), MemBucket()
    async with opened_with(path, bucket) as volume:
        inode = await cold_file(volume)
        assert await contents(volume, inode) == DATA
    for piece in (path / "cold").iterdir():
        rotten = bytearray(piece.read_bytes())
        for at in range(100, len(rotten), 1000):
            rotten[at] ^= 1
        piece.write_bytes(rotten)
    async with opened_with(path, bucket) as volume:
        assert await contents(volume, inode) == DATA
        assert volume.tier.traffic.fetches > 0


async def test_the_cache_disk_keeps_within_its_limit(tmp_path: Path) -> None:
    path, bucket, limit = format_in(tmp_path / "v"), MemBucket(), 300_000
    async with opened_with(path, bucket, cache_bytes=limit) as volume:
        inode = await sealed(volume, b"f", NOISE.randbytes(2_000_000))
        await all_demoted(volume)
        await contents(volume, inode)
        assert sum(piece.stat().st_size for piece in (path / "cold").iterdir()) <= limit


async def test_what_has_to_go_while_it_is_written_to_the_cache_disk_is_gone(tmp_path: Path) -> None:
    path = format_in(tmp_path / "v")
    async with opened_with(path, MemBucket()) as volume:
        inode, files = await cold_file(volume), volume.tier.files
        assert files is not None
        write, written = files.write, []

        def evicted(piece: Piece, data: bytes) -> None:
            trio.from_thread.run_sync(volume.tier.pieces.remove, piece)
            files.delete([piece])  # as by another thread, whose piece takes its room
            write(piece, data)
            written.append(piece)

        files.write = evicted  # type: ignore[method-assign]
        assert await contents(volume, inode) == DATA
        assert written
        assert list((path / "cold").iterdir()) == []


async def test_what_came_wrong_once_is_right_the_second_time(tmp_path: Path) -> None:
    class Flips(MemBucket):
        flips = 0

        def get(self, key: str, offset: int, size: int) -> bytes:
            body = bytearray(super().get(key, offset, size))
            if self.flips:
                self.flips -= 1
                body[size // 2] ^= 1
            return bytes(body)

    bucket = Flips()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA[:50_000])
        (key,) = await all_demoted(volume)
        bucket.flips = 1
        assert await contents(volume, inode) == DATA[:50_000]
        bucket.flips = 1 << 30
        volume.tier.recent.clear()
        volume.tier.pieces.remove_pack(*key)
        with pytest.raises(DamagedData):
            await contents(volume, inode)


async def test_on_a_slow_line_less_is_fetched_ahead(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket, config=settings(read_deadline_s=8.0)) as volume:
        inode = await cold_file(volume)
        assert coldreading.policy_of(volume).window_bytes_max == coldreading.POLICY.range_bytes_min, "nobody knows yet"
        await contents(volume, inode)
        (get, *_) = volume.tier.gets
        assert get.size_bytes >= coldreading.POLICY.small_bytes and get.end_s > get.begin_s
        volume.tier.gets.clear()
        volume.tier.gets.append(Get(0.0, 10.0, 1_000_000))
        assert coldreading.policy_of(volume).window_bytes_max == 100_000
        _reader, wanted = coldreading.plan_window(volume, None, 0, MIB, size=64 * MIB)
        assert wanted is not None and wanted.end - wanted.start == 100_000


async def test_the_configured_rate_counts_too(tmp_path: Path) -> None:
    config = Config(demote=ANY_DISK.demote, cold=Cold(read_deadline_s=8.0), bucket=Bucket(download_bytes_s=50_000))
    async with opened_with(format_in(tmp_path / "v"), MemBucket(), config=config) as volume:
        volume.tier.gets.append(Get(0.0, 1.0, 1_000_000))
        assert coldreading.policy_of(volume).window_bytes_max == 50_000


async def test_a_get_that_did_not_come_in_time_shows_a_slow_line(tmp_path: Path) -> None:
    bucket = Slow()
    async with opened_with(format_in(tmp_path / "v"), bucket, config=settings(read_deadline_s=0.05)) as volume:
        inode = await cold_file(volume)
        bucket.go.clear()
        with pytest.raises(CloudUnavailable):
            await reading.read(volume, inode, 0, 4096)
        bucket.go.set()
        assert [get.size_bytes for get in volume.tier.gets] == [0]


async def test_what_is_more_than_a_window_is_fetched_in_turns(tmp_path: Path) -> None:
    """A pack that is rewritten: all of it at once would miss its deadline."""

    class Counting(MemBucket):
        inside, most, lock = 0, 0, threading.Lock()

        def get(self, key: str, offset: int, size: int) -> bytes:
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            try:
                return super().get(key, offset, size)
            finally:
                with self.lock:
                    self.inside -= 1

    bucket = Counting()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", NOISE.randbytes(3_000_000))
        await all_demoted(volume)
        places = [
            one.in_bucket[0]
            for (number,) in volume.metadata.rows("SELECT chunk FROM chunks ORDER BY chunk")
            if (one := reading.locate(volume, int(number))).in_bucket
        ]
        volume.tier.gets.append(Get(0.0, 1000.0, 1))
        await coldreading.fetch_ahead(volume, places)
        assert bucket.most == 1 and volume.tier.traffic.fetches > 3


async def test_fetching_ahead_ends_where_the_metadata_cannot_be_read(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        inode = await cold_file(volume)
        volume.metadata.lost = "its disk fails"
        with trio.fail_after(5):
            await reading.fetch_far_ahead(volume, inode, 0, len(DATA))
        volume.metadata.lost = None
        assert await contents(volume, inode) == DATA


async def test_one_that_waits_for_a_restore_keeps_to_new_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coldreading, "RESTORE_ASKED_EVERY_S", 0.01)
    bucket = MemBucket(now_s=lambda: 1e9)
    config = settings(when_frozen=WhenFrozen.WAIT, frozen_wait_s=3600.0)
    async with opened_with(format_in(tmp_path / "v"), bucket, config=config) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def lose_patience() -> None:
                while not asked(bucket):
                    await trio.sleep(0.001)
                volume.settings.config = settings(when_frozen=WhenFrozen.WAIT, frozen_wait_s=0.0)

            await nursery.start(run_restorer, volume)
            with trio.fail_after(20), pytest.raises(ObjectFrozen):
                await contents(volume, inode)
            nursery.cancel_scope.cancel()
