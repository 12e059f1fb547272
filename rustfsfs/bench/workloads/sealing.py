"""The foreground while the background sealer works. Only where something is sealed."""

import os
import shutil
import time

from rustfsfs.bench import material
from rustfsfs.bench.figures import Better, Measured, Metric, percentile
from rustfsfs.bench.files import MB, write_s
from rustfsfs.bench.job import Job
from rustfsfs.bench.place import Place
from rustfsfs.bench.timing import timed
from rustfsfs.units import MIB

FILE_BYTES = 4096
BATCH_COUNT = 100  # files between two looks at the sealer
BEGIN_S_MAX = 30.0  # `seal.quiet` is 5 s by default
ENOUGH_BYTES = 32 * MIB  # fewer hot ones than that: the sealer is about done
METRICS = (
    Metric("create_sealing_p99", "create while the sealer works, 99th percentile", "ms", Better.LOWER),
    Metric("create_sealing", "create while the sealer works", "files/s"),
    Metric("create_sealing_share", "the same, to creating while it rests", "share"),
    Metric("sealing_beside", "sealing while files are created", "MB/s"),
)


def beside_the_sealer(job: Job) -> Measured:
    """Create 4 KiB files on an idle mount, then again while the sealer, by itself, seals `backlog_bytes` of noise.

    The sealer works: from when hot data begins to shrink until 32 MiB are left, or `file_count` / 4 files were made.
    """
    place = job.place
    if not place.can_seal:
        return
    count = max(BATCH_COUNT, job.scale.file_count // 4)
    root = f"{place.root}/sealing"
    os.mkdir(root)
    idle_s = _create_s(root, 0, count // 2)
    place.seal()
    write_s(f"{place.root}/backlog", material.noise_blocks(job.scale.backlog_bytes, seed=61))
    before_bytes = _wait_until_it_works(place, job.scale.backlog_bytes)
    took_s: list[float] = []
    with timed() as timer:
        while len(took_s) < count and place.hot_bytes() > ENOUGH_BYTES:
            took_s += _create_s(root, count + len(took_s), BATCH_COUNT)
    after_bytes = place.hot_bytes()
    shutil.rmtree(root)
    os.unlink(f"{place.root}/backlog")
    if not took_s:
        return  # it was faster than the first look
    rate, idle_rate = len(took_s) / sum(took_s), len(idle_s) / sum(idle_s)
    yield "create_sealing_p99", percentile(took_s, 0.99) * 1e3
    yield "create_sealing", rate
    yield "create_sealing_share", rate / idle_rate
    yield "sealing_beside", max(0, before_bytes - after_bytes + len(took_s) * FILE_BYTES) / MB / timer.s


def _wait_until_it_works(place: Place, backlog_bytes: int) -> int:
    """The hot bytes when they have begun to shrink."""
    until_s = time.monotonic() + BEGIN_S_MAX
    while (hot_bytes := place.hot_bytes()) > backlog_bytes - MIB and time.monotonic() < until_s:
        time.sleep(0.05)
    return hot_bytes


def _create_s(root: str, first: int, count: int) -> list[float]:
    """Seconds of each."""
    contents = material.noise(FILE_BYTES * count, seed=71 + first)
    blocks = [contents[at : at + FILE_BYTES] for at in range(0, len(contents), FILE_BYTES)]
    return [write_s(f"{root}/{first + number:06}", [block]) for number, block in enumerate(blocks)]
