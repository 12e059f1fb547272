"""Damage on a disk that only the bucket could mend, and it does not answer: that is for later, and nothing stops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import MachineTrouble
from rustfsfs.meta import chunks
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.volume import collecting, drives, names, rounds, scrubbing
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, contents, opened_with, sealed
from tests.volume.on_disk import format_in, write_file
from tests.volume.test_sealing_cold import Switched

DATA = NOISE.randbytes(300_000)


def frozen(bucket: Switched) -> None:
    inner = bucket._inner
    assert isinstance(inner, MemBucket)
    for name, found in inner.objects.items():
        inner.objects[name] = replace(found, placement=Placement.ARCHIVE)


def away(bucket: Switched) -> None:
    bucket.is_away = True


def back(bucket: Switched) -> None:
    bucket.is_away = False
    inner = bucket._inner
    assert isinstance(inner, MemBucket)
    for name, found in inner.objects.items():
        inner.objects[name] = replace(found, placement=Placement.STANDARD)


@asynccontextmanager
async def damaged(
    path: Path, bucket: WrappedBucket, *disks: Path, beside_bytes: int = 0
) -> AsyncIterator[tuple[Volume, int]]:
    """A file in a pack whose every frame is damaged on its disk, and another in one that is good; both uploaded."""
    async with opened_with(format_in(path, *disks), bucket) as volume:
        if beside_bytes:
            await write_file(volume, b"beside", NOISE.randbytes(beside_bytes))
        inode = await sealed(volume, b"f", DATA[: 300_000 if not beside_bytes else 30_000])
        await sealed(volume, b"g", DATA[::-1])
        await rounds.run_round(volume)
        ((pack, disk, *_rest), *_more) = chunks.packs(volume.metadata)
        file = Path(volume.disks[disk].pack_path(pack))  # type: ignore[attr-defined]
        raw = bytearray(file.read_bytes())
        for _chunk, place in chunks.live_in(volume.metadata, pack, disk):
            raw[place.offset + place.stored_bytes // 2] ^= 1
        file.write_bytes(raw)
        yield volume, inode


def alone(volume: Volume) -> dict[Why, int]:
    return volume.health.left_alone.counts(now_s=trio.current_time())


@pytest.mark.parametrize("trouble", [away, frozen])
async def test_a_scrub_goes_on_and_says_what_it_could_not_mend_now(tmp_path: Path, trouble: object) -> None:
    bucket = Switched(MemBucket())
    async with damaged(tmp_path / "v", bucket) as (volume, inode):
        trouble(bucket)  # type: ignore[operator]
        for done in (
            await scrubbing.scrub(volume, repair=True, rate_bytes_s=0),
            await scrubbing.scrub_on(volume),
        ):
            assert done.not_now == done.found > 0 and done.repaired == 0
            assert all("the bucket has it, and does not give it now" in line for line in done.lines), done.lines
            assert done.verified_bytes >= 2 * len(DATA)
        assert alone(volume) == {Why.NOT_NOW: 1} and volume.metadata.running.bad_chunks == 0
        back(bucket)
        done = await scrubbing.scrub(volume, repair=True, rate_bytes_s=0)
        assert done.repaired == done.found > 0 and done.not_now == 0
        assert alone(volume) == {}
        bucket.is_away = True
        assert await contents(volume, inode) == DATA


@pytest.mark.parametrize("trouble", [away, frozen])
async def test_the_collector_goes_on_with_other_packs(tmp_path: Path, trouble: object) -> None:
    bucket = Switched(MemBucket())
    async with damaged(tmp_path / "v", bucket) as (volume, inode):
        trouble(bucket)  # type: ignore[operator]
        await collecting.collect_now(volume, live_share=1.1)
        assert alone(volume) == {Why.NOT_NOW: 1}
        ((pack, *_rest), *others) = chunks.packs(volume.metadata)
        assert pack == 1 and others and all(row.pack > 2 for row in others), "the other one was rewritten"
        bucket.requests = 0
        await collecting.collect(volume, live_share=0.9)
        assert bucket.requests == 0
        back(bucket)
        assert await contents(volume, inode) == DATA


async def test_a_writer_on_a_full_disk_hears_nothing_of_it(tmp_path: Path) -> None:
    bucket = Switched(MemBucket())
    async with damaged(tmp_path / "v", bucket, beside_bytes=40 * len(DATA)) as (volume, _inode):
        away(bucket)
        found = names.lookup(volume, 1, b"beside").inode
        names.unlink(volume, 1, b"beside")
        record(volume, ops.Release(inodes=[found]))
        await collecting.make_room(volume)
        assert volume.room.made_s > 0 and alone(volume) == {Why.NOT_NOW: 1}


async def test_a_disk_that_cannot_be_emptied_now_says_so(tmp_path: Path) -> None:
    bucket = Switched(MemBucket())
    one, two = tmp_path / "one", tmp_path / "two"
    for disk in (one, two):
        disk.mkdir()
    async with damaged(tmp_path / "v", bucket, one, two) as (volume, _inode):
        away(bucket)
        store = volume.disks[chunks.packs(volume.metadata)[0].disk]
        with pytest.raises(MachineTrouble, match="the bucket, which has it, does not help"):
            await drives.remove(volume, store.path)
