"""Reading and writing one file with plain system calls, and nothing in between."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rustfsfs.bench.timing import timed
from rustfsfs.units import MIB

MB = 1_000_000  # bytes; speeds are decimal, as disks' are


@contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def write_s(path: str, blocks: Iterable[bytes]) -> float:
    """Seconds that a new file took, from open to close, one write a block; what makes the blocks is not counted."""
    took_s = 0.0
    with timed() as opening:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    for block in blocks:
        with timed() as writing:
            done = os.write(fd, block)
        assert done == len(block), "a short write"
        took_s += writing.s
    with timed() as closing:
        os.close(fd)
    return opening.s + took_s + closing.s


def read_s(path: str, *, block_bytes: int = MIB) -> float:
    """Seconds that a whole file took, front to back, one read a block."""
    buffer = bytearray(block_bytes)
    with timed() as timer, opened(path, os.O_RDONLY) as fd:
        while os.readv(fd, [buffer]):
            pass
    return timer.s


def sync(path: str) -> None:
    with opened(path, os.O_RDWR) as fd:
        os.fdatasync(fd)
