"""A volume that keeps each chunk on two disks: the bucket gets it once, and both disks are emptied all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Config
from rustfsfs.meta import chunks, objects
from rustfsfs.store.cold import PACKS, pack_key
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import (
    collecting,
    demoting,
    names,
    packing,
    reading,
    rounds,
    scrubbing,
    snapshots,
    status,
    tiercommands,
    tiering,
)
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import ANY_DISK, NOISE, attach, contents, opened_with, sealed
from tests.volume.on_disk import Key, format_in, write_file
from tests.volume.test_tiering import findings, packs_in

DATA = NOISE.randbytes(700_000)
AT_ONCE = Config(demote=DemotePolicy(after_s=0.0, high=0.9999, low=0.9998))


def two_disks(tmp_path: Path) -> Path:
    return format_in(tmp_path / "v", tmp_path / "one", tmp_path / "two", copies=2)


@asynccontextmanager
async def opened(path: Path, bucket: MemBucket, *, config: Config | None = None) -> AsyncIterator[Volume]:
    async with opened_with(path, bucket, config=config) as volume:
        for store in volume.disks.values():
            Path(store.path, "ballast").unlink(missing_ok=True)
        yield volume


async def settled(volume: Volume) -> None:
    """As many rounds as there is something to do."""
    for _ in range(10):
        if not await rounds.run_round(volume):
            return
    pytest.fail("the mover does not come to rest")


def packs_there(bucket: MemBucket) -> dict[str, int]:
    """Sizes by key."""
    return {key: len(found.body) for key, found in bucket.objects.items() if key.startswith(PACKS)}


def stored_bytes(bucket: MemBucket) -> int:
    return sum(packs_there(bucket).values())


async def test_the_bucket_gets_each_chunk_once(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket) as volume:
        await sealed(volume, b"f", DATA)
        assert len(packs_in(volume)) == 2
        await settled(volume)
        assert len(DATA) < stored_bytes(bucket) < 1.1 * len(DATA)
        assert len(packs_in(volume)) == 2
        assert (volume.tier.backlog.packs, objects.not_in_bucket(volume.metadata)) == (0, (0, 0))
        assert status.unsent_bytes(volume) < 10_000
        assert findings(volume) == []


async def test_both_disks_are_emptied_and_what_was_there_is_read(tmp_path: Path) -> None:
    bucket, path = MemBucket(), two_disks(tmp_path)
    async with opened(path, bucket, config=AT_ONCE) as volume:
        inode = await sealed(volume, b"f", DATA)
        assert status.unsent_bytes(volume) == pytest.approx(len(DATA), rel=0.1)
        await settled(volume)
        assert status.unsent_bytes(volume) < 10_000
        assert packs_in(volume) == []
        assert stored_bytes(bucket) < 1.1 * len(DATA)
        assert await contents(volume, inode) == DATA
        assert findings(volume) == []
    async with opened(path, bucket) as volume:
        assert await contents(volume, inode) == DATA


async def test_who_asks_for_it_gets_it_too(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        told = await tiercommands.tier_demote(volume, {"paths": ["f"]}, no_progress)
        assert told["packs"] == 2 and told["freed_bytes"] > 2 * len(DATA)
        assert packs_in(volume) == []
        assert stored_bytes(bucket) < 1.1 * len(DATA)
        assert await contents(volume, inode) == DATA


async def one_uploaded(volume: Volume) -> tuple[PackKey, PackKey]:
    """(the pack that the bucket has, its double)."""
    await settled(volume)
    packs = (await tiering.gather(volume)).packs
    (there,) = [pack.key for pack in packs if pack.object is not None]
    (double,) = [pack.key for pack in packs if pack.object is None]
    return there, double


@pytest.mark.parametrize("is_dropped", [False, True], ids=["its double is there", "its double was dropped"])
async def test_one_disk_lost_is_read_from_the_other_or_from_the_bucket(tmp_path: Path, is_dropped: bool) -> None:
    bucket, path = MemBucket(), two_disks(tmp_path)
    async with opened(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        there, double = await one_uploaded(volume)
        lost = Path(volume.disks[there[1]].path)
        if is_dropped:
            assert await demoting.demote(volume, [double])
    lost.rename(tmp_path / "away")
    how = Opening(path=str(path), secret=Key(), config=ANY_DISK, degraded=True)
    async with opened_volume(real_world(), how) as volume:
        for store in volume.disks.values():
            Path(store.path, "ballast").unlink(missing_ok=True)
        attach(volume, bucket)
        if not is_dropped:
            bucket.objects.clear()
        assert await contents(volume, inode) == DATA
        assert (volume.tier.traffic.fetches > 0) == is_dropped


async def test_a_double_stays_when_the_bucket_has_lost_the_other_and_is_uploaded_then(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        there, double = await one_uploaded(volume)
        assert await demoting.demote(volume, [there])
        bucket.objects.clear()
        assert await demoting.demote(volume, [double]) == 0
        assert await contents(volume, inode) == DATA
        await settled(volume)
        assert list(packs_there(bucket)) == [pack_key(*double)]


async def test_a_double_stays_when_the_other_is_frozen(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket) as volume:
        await sealed(volume, b"f", DATA)
        there, double = await one_uploaded(volume)
        record(volume, ops.Reclassed(*there, placement=Placement.ARCHIVE.value, put_s=1))
        assert await demoting.demote(volume, [double]) == 0
        assert double[0] in packs_in(volume)


async def test_a_rotten_pack_is_not_uploaded_and_its_double_is(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket, config=AT_ONCE) as volume:
        inode = await sealed(volume, b"f", DATA)
        first = min(chunks.packs(volume.metadata))
        (file,) = Path(volume.disks[first.disk].path).rglob("*.pack")
        rotten = bytearray(file.read_bytes())
        rotten[len(rotten) // 2] ^= 4
        file.write_bytes(rotten)
        for _ in range(3):
            await rounds.run_round(volume)
        (name,) = packs_there(bucket)
        assert name != pack_key(first.pack, first.disk)
        assert await contents(volume, inode) == DATA


async def test_packs_overlap_as_they_like(tmp_path: Path) -> None:
    """What lies in two packs on one disk lies in one on the other."""
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket, config=AT_ONCE) as volume:
        files = {}
        for number in range(3):
            data = NOISE.randbytes(100_000 + number)
            files[await sealed(volume, b"f%d" % number, data)] = data
        async with volume.collect_lock:
            for row in chunks.packs(volume.metadata):
                if row.disk == 1:
                    assert await collecting.empty_pack(volume, row.pack, row.disk)
        await packing.close_full(volume, everything=True)
        assert sorted(row.disk for row in chunks.packs(volume.metadata)) == [1, 2, 2, 2]
        await settled(volume)
        await collecting.collect_now(volume, live_share=0.1)
        assert packs_in(volume) == []
        assert 300_000 < stored_bytes(bucket) < 330_000
        for inode, data in files.items():
            assert await contents(volume, inode) == data
        assert findings(volume) == []


async def test_what_was_known_of_doubles_is_looked_at_anew_when_one_of_them_is_rewritten(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        there, double = await one_uploaded(volume)
        async with volume.collect_lock:
            assert await collecting.empty_pack(volume, *there)
        await packing.close_full(volume, everything=True)
        assert not any(pack.is_elsewhere for pack in (await tiering.gather(volume)).packs)
        assert await demoting.demote(volume, [double]) == 0
        assert objects.not_in_bucket(volume.metadata)[0] == 2
        await settled(volume)
        assert objects.not_in_bucket(volume.metadata)[0] == 0
        await collecting.collect_now(volume, live_share=0.1)
        await settled(volume)
        assert pack_key(*there) not in bucket.objects
        assert len(packs_there(bucket)) == 1
        assert await contents(volume, inode) == DATA


async def test_the_file_of_a_pack_that_somebody_reads_stays_for_the_reader(tmp_path: Path) -> None:
    async with opened(two_disks(tmp_path), MemBucket()) as volume:
        await sealed(volume, b"f", DATA)
        _there, double = await one_uploaded(volume)
        with reading.pinned_packs(volume, {double}):
            assert await demoting.demote(volume, [double]) == 0
            assert double[0] in packs_in(volume)
        await collecting.collect_now(volume, live_share=0.1)
        assert double[0] not in packs_in(volume)


async def test_a_crash_in_the_middle_of_a_drop_is_made_up_for(tmp_path: Path) -> None:
    bucket, path = MemBucket(), two_disks(tmp_path)
    async with opened(path, bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        there, double = await one_uploaded(volume)
        (first, *_rest) = chunks.live_in(volume.metadata, *double)
        record(volume, ops.DropPlaces(*double, chunks=[int(first[0].chunk)], kept_in=[there]))
    async with opened(path, bucket, config=AT_ONCE) as volume:
        await settled(volume)
        await collecting.collect_now(volume, live_share=0.1)
        assert packs_in(volume) == []
        assert len(packs_there(bucket)) == 1
        assert await contents(volume, inode) == DATA
        assert findings(volume) == []


async def test_a_file_with_dead_frames_waits_for_the_snapshots_that_name_them(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket) as volume:
        await write_file(volume, b"g", DATA[::-1])
        inode = await sealed(volume, b"f", DATA)
        _there, double = await one_uploaded(volume)
        await snapshots.take(volume)
        names.unlink(volume, 1, b"g")
        record(volume, ops.Release(inodes=[2]))
        await collecting.bury(volume)
        assert await demoting.demote(volume, [double]) == 0
        assert chunks.find_pack(volume.metadata, *double) is None
        assert double[0] in packs_in(volume)
        assert await contents(volume, inode) == DATA
        await collecting.collect_now(volume, live_share=0.1)
        assert double[0] not in packs_in(volume)


async def test_scrubbing_counts_the_bucket_as_a_copy(tmp_path: Path) -> None:
    async with opened(two_disks(tmp_path), MemBucket()) as volume:
        await sealed(volume, b"f", DATA)
        _there, double = await one_uploaded(volume)
        assert await demoting.demote(volume, [double])
        assert (await scrubbing.scrub(volume, repair=True, rate_bytes_s=0)).lines == []
        assert len(packs_in(volume)) == 1


async def test_what_leaves_a_pack_of_the_bucket_lies_on_two_disks_again(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened(two_disks(tmp_path), bucket, config=AT_ONCE) as volume:
        inode = await sealed(volume, b"f", DATA)
        await settled(volume)
        ((pack, disk),) = [(row.pack, row.disk) for row in chunks.packs(volume.metadata)]
        async with volume.collect_lock:
            assert await collecting.empty_pack(volume, pack, disk)
        assert len({row.disk for row in chunks.packs(volume.metadata) if row.live_bytes}) == 2
        bucket.objects.clear()
        assert await contents(volume, inode) == DATA
