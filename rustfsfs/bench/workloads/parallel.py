"""Several at once: 4 writers and 4 readers, each with a large file of its own."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rustfsfs.bench import caches, material
from rustfsfs.bench.figures import Measured, Metric
from rustfsfs.bench.files import MB, read_s, sync, write_s
from rustfsfs.bench.job import Job
from rustfsfs.bench.timing import timed

WORKERS = 4  # of each kind
METRICS = (
    Metric("parallel_write", "4 writers beside 4 readers, together", "MB/s"),
    Metric("parallel_read", "4 readers beside 4 writers, together", "MB/s"),
)


def parallel(job: Job) -> Measured:
    """4 threads write noise while 4 read what was sealed, `parallel_bytes` each, the mount's pages dropped before.

    A thread in a system call holds no lock of Python's. Each kind is timed until the last of it is done.
    """
    root, size_bytes = job.place.root, job.scale.parallel_bytes
    read = [f"{root}/read{number}" for number in range(WORKERS)]
    written = [f"{root}/written{number}" for number in range(WORKERS)]
    for number, path in enumerate(read):
        write_s(path, material.noise_blocks(size_bytes, seed=41 + number))
        sync(path)
    job.place.seal()
    for path in read:
        caches.drop_pages(path)
    blocks = [list(material.noise_blocks(size_bytes, seed=51 + number)) for number in range(WORKERS)]
    with ThreadPoolExecutor(2 * WORKERS + 2) as pool:
        writing = pool.submit(_all_s, pool, write_s, list(zip(written, blocks, strict=True)))
        reading = pool.submit(_all_s, pool, read_s, [(path,) for path in read])
        yield "parallel_write", WORKERS * size_bytes / MB / writing.result()
        yield "parallel_read", WORKERS * size_bytes / MB / reading.result()
    for path in (*read, *written):
        os.unlink(path)


def _all_s(pool: ThreadPoolExecutor, work: Callable[..., float], calls: list[tuple[object, ...]]) -> float:
    """Seconds until the last of these calls has returned, all begun at once."""
    with timed() as timer:
        for future in [pool.submit(work, *arguments) for arguments in calls]:
            future.result()
    return timer.s
