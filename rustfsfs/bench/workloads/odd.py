"""Sequential writes that no block size divides: what tar and loggers do."""

import os

from rustfsfs.bench import material
from rustfsfs.bench.figures import Measured, Metric
from rustfsfs.bench.files import MB, opened
from rustfsfs.bench.job import Job
from rustfsfs.bench.timing import timed
from rustfsfs.units import KIB

TAR_BLOCK_BYTES = 10 * KIB  # GNU tar's default record
RECORD_BYTES = 777
METRICS = (
    Metric("write_10k", "write blocks of 10 KiB", "MB/s"),
    Metric("write_777", "write records of 777 bytes", "MB/s"),
)


def odd_writes(job: Job) -> Measured:
    """Text in blocks of 10 KiB, and in records of 777 bytes, each a write; acknowledged, not synced."""
    for key, piece_bytes, size_bytes in (
        ("write_10k", TAR_BLOCK_BYTES, job.scale.block_bytes),
        ("write_777", RECORD_BYTES, job.scale.record_bytes),
    ):
        path, data = f"{job.place.root}/{key}", material.text(size_bytes, seed=7)
        pieces = [data[at : at + piece_bytes] for at in range(0, size_bytes, piece_bytes)]
        with timed() as timer, opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
            for piece in pieces:
                os.write(fd, piece)
        yield key, size_bytes / MB / timer.s
        os.unlink(path)
