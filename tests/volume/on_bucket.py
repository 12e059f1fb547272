"""A volume in a real directory with a bucket behind it, for tests that need neither a mount nor a network."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from rustfsfs import ops
from rustfsfs.cache.piecefiles import PieceFiles
from rustfsfs.cache.pieces import PieceIndex
from rustfsfs.config import Config
from rustfsfs.store.breaker import Breaker, BreakerPolicy
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import PACKS, Door
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.packs import PackKey
from rustfsfs.units import MIB
from rustfsfs.volume import commands, demoting, reading, rounds, tiering
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.store.membucket import MemBucket
from tests.volume.on_disk import Key, write_file

NOISE = random.Random(5)
ANY_DISK = Config(demote=DemotePolicy(high=0.9999, low=0.9998))  # nobody waits because the tests' disk is full


@asynccontextmanager
async def opened_with(
    path: Path, bucket: Bucket | None, *, config: Config | None = None, cache_bytes: int = 64 * MIB
) -> AsyncIterator[Volume]:
    """The volume, opened as a mount opens it."""
    how = Opening(path=str(path), secret=Key(), config=config or ANY_DISK)
    async with opened_volume(real_world(), how) as volume:
        (path / "ballast").unlink(missing_ok=True)  # 1 % of the disk that runs the tests
        if bucket is not None:
            attach(volume, bucket, cache_bytes=cache_bytes)
        yield volume


def attach(volume: Volume, bucket: Bucket, *, cache_bytes: int = 64 * MIB) -> None:
    if not volume.metadata.is_tiered:
        record(volume, ops.AttachBucket())
    breaker = Breaker(policy=BreakerPolicy(), clock_s=trio.current_time)
    volume.tier.door = Door(front=bucket, uploads=bucket, reads=bucket, writes=bucket, breaker=breaker)
    volume.tier.files = PieceFiles(volume.world.files, volume.path)
    volume.tier.pieces = PieceIndex(cache_bytes)
    for piece in volume.tier.files.begin():
        volume.tier.pieces.add(piece)


def packs_there(bucket: MemBucket) -> list[str]:
    """The keys of all packs in a bucket."""
    return sorted(key for key in bucket.objects if key.startswith(PACKS))


async def sealed(volume: Volume, name: bytes, data: bytes) -> int:
    """A file whose data lies in closed packs; its inode."""
    inode = await write_file(volume, name, data)
    await commands.seal(volume, {}, no_progress)
    return inode


async def all_demoted(volume: Volume) -> list[PackKey]:
    """Every pack is in the bucket only; which they are."""
    facts = await tiering.gather(volume)
    await rounds.upload_all(volume, [pack for pack in facts.packs if pack.closed and pack.object is None])
    facts = await tiering.gather(volume)
    await demoting.demote(volume, [pack.key for pack in facts.packs if pack.is_local])
    return [pack.key for pack in (await tiering.gather(volume)).packs if not pack.is_local]


async def contents(volume: Volume, inode: int) -> bytes:
    """What a reader sees who has nothing in memory."""
    for key in list(volume.cache._probation) + list(volume.cache._protected):
        volume.cache.remove(key)
    found = b""
    while part := await reading.read(volume, inode, len(found), 1 << 20):
        found += bytes(part)
    return found
