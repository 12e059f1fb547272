"""Packs that lie on a disk and in the bucket: rewritten only when that pays."""

import time
from pathlib import Path

import pytest

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket as BucketConfig
from rustfsfs.config import Config
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.prices import DAY_S
from rustfsfs.volume import checking, collecting, names, packing, rounds, tiering
from rustfsfs.volume.recording import record
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import ANY_DISK, NOISE, all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import format_in, write_file

KEPT = NOISE.randbytes(60_000)
FULL = DemotePolicy(high=0.00002, low=0.00001)


@pytest.mark.parametrize(
    ("placement", "days", "policy", "rewritten"),
    [
        pytest.param(Placement.IA, 1, ANY_DISK.demote, False, id="its days are paid for anyway"),
        pytest.param(Placement.IA, 31, ANY_DISK.demote, True, id="its days are over"),
        pytest.param(Placement.STANDARD, 1, ANY_DISK.demote, True, id="a class without minimum days"),
        pytest.param(Placement.IA, 1, FULL, True, id="the disk is full"),
    ],
)
async def test_the_background_rewrites_a_pack_when_that_pays(
    tmp_path: Path, placement: Placement, days: float, policy: DemotePolicy, rewritten: bool
) -> None:
    put_s = time.time() - days * DAY_S
    config = Config(demote=policy, bucket=BucketConfig(placement=placement))
    async with opened_with(format_in(tmp_path / "v"), MemBucket(now_s=lambda: put_s), config=config) as volume:
        await write_file(volume, b"most", NOISE.randbytes(400_000))
        inode = await sealed(volume, b"rest", KEPT)
        facts = await tiering.gather(volume)
        await rounds.upload_all(volume, facts.packs)
        gone = names.lookup(volume, 1, b"most").inode
        names.unlink(volume, 1, b"most")
        record(volume, ops.Release(inodes=[gone]))
        await collecting.collect(volume, live_share=0.5)
        assert (facts.packs[0].key not in [pack.key for pack in (await tiering.gather(volume)).packs]) == rewritten
        assert await contents(volume, inode) == KEPT
        await collecting.collect_now(volume, live_share=0.5)  # a person's, or a writer's on a full disk
        assert facts.packs[0].key not in [pack.key for pack in (await tiering.gather(volume)).packs]


async def test_a_chunk_that_the_bucket_has_too_is_moved_on_the_only_disk(tmp_path: Path) -> None:
    """Its place in the bucket is on no disk, whichever it came from."""
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        first = await sealed(volume, b"first", KEPT)
        await all_demoted(volume)
        await write_file(volume, b"junk", NOISE.randbytes(400_000))
        second = await sealed(volume, b"second", KEPT)
        await packing.close_full(volume, everything=True)
        gone = names.lookup(volume, 1, b"junk").inode
        names.unlink(volume, 1, b"junk")
        record(volume, ops.Release(inodes=[gone]))
        await collecting.collect_now(volume, live_share=0.9)
        assert volume.metadata.running.dead_bytes == 0
        for inode in (first, second):
            assert await contents(volume, inode) == KEPT
        assert list(checking.check_metadata(volume.metadata)) == []
