"""Cold reads: one GET for all, deadlines, frozen packs, and who may wait."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Cold, Config, WhenFrozen
from rustfsfs.errors import CloudUnavailable, DamagedData, ObjectFrozen, ObjectMissing
from rustfsfs.volume import coldreading, names, reading, tier
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


def freeze(bucket: MemBucket) -> None:
    for key, found in bucket.objects.items():
        bucket.objects[key] = replace(found, placement=Placement.ARCHIVE)


async def asked(bucket: MemBucket) -> None:
    """The restore of some object has begun."""
    while not any(found.ready_s for found in bucket.objects.values()):
        await trio.sleep(0.001)


async def test_a_frozen_pack_is_asked_for_and_the_read_fails_at_once(tmp_path: Path) -> None:
    now_s = [1e9]
    bucket = MemBucket(now_s=lambda: now_s[0])
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        with pytest.raises(ObjectFrozen):
            await contents(volume, inode)
        await asked(bucket)
        now_s[0] += 61
        assert await contents(volume, inode) == DATA


async def test_or_it_waits_if_it_is_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coldreading, "RESTORE_ASKED_EVERY_S", 0.01)
    now_s = [1e9]
    bucket = MemBucket(now_s=lambda: now_s[0])
    config = settings(when_frozen=WhenFrozen.WAIT, frozen_wait_s=20.0)
    async with opened_with(format_in(tmp_path / "v"), bucket, config=config) as volume:
        inode = await cold_file(volume)
        freeze(bucket)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def thaw() -> None:
                await asked(bucket)
                now_s[0] += 61

            assert await contents(volume, inode) == DATA


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


async def test_what_came_wrong_once_is_right_the_second_time(tmp_path: Path) -> None:
    class Flips(MemBucket):
        flips = 1

        def get(self, key: str, offset: int, size: int) -> bytes:
            body = bytearray(super().get(key, offset, size))
            if self.flips:
                self.flips -= 1
                body[size // 2] ^= 1
            return bytes(body)

    bucket = Flips()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA[:50_000])
        await all_demoted(volume)
        assert await contents(volume, inode) == DATA[:50_000]
        bucket.flips = 1 << 30
        volume.tier.recent.clear()
        volume.tier.pieces.remove_pack(*(await all_demoted(volume))[0])
        with pytest.raises(DamagedData):
            await contents(volume, inode)


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
                await asked(bucket)
                volume.settings.config = settings(when_frozen=WhenFrozen.WAIT, frozen_wait_s=0.0)

            with trio.fail_after(20), pytest.raises(ObjectFrozen):
                await contents(volume, inode)
