"""4 KiB requests at random places of one file, each block at most once, in the same order on every system."""

import os
import random
from collections.abc import Iterable

from rustfsfs.bench import caches, material, processes
from rustfsfs.bench.figures import Better, Measured, Metric
from rustfsfs.bench.files import opened, read_s, sync, write_s
from rustfsfs.bench.job import Job
from rustfsfs.bench.place import Place
from rustfsfs.bench.timing import timed
from rustfsfs.units import MIB

BLOCK_BYTES = 4096
POOL_BYTES = 64 * MIB  # of noise, from which overwrites take their bytes
METRICS = (
    Metric("random_read", "random 4 KiB reads, file fits the cache", "reads/s"),
    Metric("random_read_large", "random 4 KiB reads, large file", "reads/s"),
    Metric("random_read_large_cold", "the same, all caches dropped", "reads/s"),
    Metric("random_write", "random 4 KiB writes", "writes/s"),
    Metric("random_read_large_text", "random 4 KiB reads, large file of text", "reads/s"),
)
OVERWRITE_METRICS = (
    Metric("overwrite", "random 4 KiB overwrites of a sealed file", "writes/s"),
    Metric("overwrite_bytes", "written to disk per byte overwritten", "bytes", Better.LOWER),
)


def scattered(job: Job) -> Measured:
    """Random reads and writes of sealed files.

    fits           a file of `cached_bytes`, read once before, so that a daemon's cache may hold it
    large          a file of `large_bytes`, 8 times that cache unless --quick; the disk's page cache may hold it
    dropped        the same, after all caches of the machine were dropped (only root can)
    writes         of the large file of noise; acknowledged, not synced

    The mount's own pages are dropped before each, and read-ahead is off, so every request reaches the daemon. On a
    plain disk, which has no daemon, the page cache is the only one and is kept, unless all are dropped.
    """
    scale, place = job.scale, job.place
    small, large, text = f"{place.root}/small", f"{place.root}/large", f"{place.root}/text"
    _make(place, small, material.noise_blocks(scale.cached_bytes, seed=11))
    yield "random_read", _reads_per_s(place, small, scale.scattered_count)
    os.unlink(small)
    _make(place, large, material.noise_blocks(scale.large_bytes, seed=12))
    yield "random_read_large", _reads_per_s(place, large, scale.scattered_count)
    if caches.drop_all():
        yield "random_read_large_cold", _reads_per_s(place, large, scale.scattered_count // 4, keep=True)
    yield "random_write", _writes_per_s(large, scale.scattered_count)
    os.unlink(large)
    _make(place, text, material.text_blocks(scale.large_bytes, seed=13))
    yield "random_read_large_text", _reads_per_s(place, text, scale.scattered_count)
    os.unlink(text)


def overwrite(job: Job) -> Measured:
    """One pass of 4 KiB overwrites in random order over a sealed file of `overwrite_bytes`, until all is sealed again.

    Counted are the bytes that the daemon made the kernel write to disks (write_bytes of /proc/PID/io): journal,
    database and packs. Only where something is sealed.
    """
    place, path = job.place, f"{job.place.root}/overwritten"
    pid = place.daemon_pid
    if not place.can_seal or pid is None:
        return
    _make(place, path, material.noise_blocks(job.scale.overwrite_bytes, seed=17))
    before_bytes = processes.written_bytes(pid)
    yield "overwrite", _writes_per_s(path, job.scale.overwrite_bytes // BLOCK_BYTES)
    sync(path)
    place.seal()
    yield "overwrite_bytes", (processes.written_bytes(pid) - before_bytes) / job.scale.overwrite_bytes
    os.unlink(path)


def _make(place: Place, path: str, blocks: Iterable[bytes]) -> None:
    write_s(path, blocks)
    sync(path)
    place.seal()
    os.sync()


def _offsets(path: str, count: int, *, seed: int) -> list[int]:
    """Of `count` different blocks, or of all that there are."""
    block_count = os.stat(path).st_size // BLOCK_BYTES
    numbers = random.Random(seed).sample(range(block_count), min(count, block_count))
    return [number * BLOCK_BYTES for number in numbers]


def _reads_per_s(place: Place, path: str, count: int, *, keep: bool = False) -> float:
    """`keep`: the caches are as they should be already."""
    if not keep:
        read_s(path)
        if place.has_own_cache:
            caches.drop_pages(path)
    offsets = _offsets(path, count, seed=19)
    with opened(path, os.O_RDONLY) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        with timed() as timer:
            for offset in offsets:
                os.pread(fd, BLOCK_BYTES, offset)
    return len(offsets) / timer.s


def _writes_per_s(path: str, count: int) -> float:
    offsets, pool = _offsets(path, count, seed=23), material.noise(POOL_BYTES, seed=23)
    starts = random.Random(29).choices(range(POOL_BYTES - BLOCK_BYTES), k=len(offsets))
    view = memoryview(pool)
    with opened(path, os.O_WRONLY) as fd, timed() as timer:
        for offset, start in zip(offsets, starts, strict=True):
            os.pwrite(fd, view[start : start + BLOCK_BYTES], offset)
    return len(offsets) / timer.s
