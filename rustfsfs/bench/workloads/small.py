"""Many small files: 4 KiB each, incompressible, no two the same, 1 000 in a directory; one process, one at a time."""

import os
import shutil

from rustfsfs.bench import caches, material
from rustfsfs.bench.figures import Measured, Metric
from rustfsfs.bench.job import Job
from rustfsfs.bench.timing import timed

FILE_BYTES = 4096
FILES_PER_FOLDER = 1_000
METRICS = (
    Metric("create", "create 4 KiB files", "files/s"),
    Metric("stat_cold", "stat, caches dropped", "files/s"),
    Metric("stat_warm", "stat again", "files/s"),
    Metric("list", "list, caches dropped", "entries/s"),
    Metric("read_small_cold", "read 4 KiB files, caches dropped", "files/s"),
    Metric("read_small", "read 4 KiB files again", "files/s"),
    Metric("rename", "rename", "files/s"),
    Metric("unlink", "unlink", "files/s"),
)


def small_files(job: Job) -> Measured:
    """Create, stat, list, read, rename and unlink `file_count` files, in the order in which they were made.

    create   open, one write, close; acknowledged, not synced
    cold     after all caches of the machine were dropped, the disk's too; left out without root
    again    the kernel may answer from what the pass before brought
    """
    root = f"{job.place.root}/small"
    paths = _make_folders(root, job.scale.file_count)
    contents = material.noise(FILE_BYTES * job.scale.file_count, seed=3)
    with timed() as timer:
        for number, path in enumerate(paths):
            _create(path, contents[number * FILE_BYTES : (number + 1) * FILE_BYTES])
    yield "create", len(paths) / timer.s
    if caches.drop_all():
        yield "stat_cold", len(paths) / _stat_s(paths)
    else:
        _stat_s(paths)
    yield "stat_warm", len(paths) / _stat_s(paths)
    if caches.drop_all():
        yield "list", len(paths) / _list_s(root)
    if caches.drop_all():
        yield "read_small_cold", len(paths) / _read_s(paths)
    else:
        _read_s(paths)
    yield "read_small", len(paths) / _read_s(paths)
    renamed = [f"{path}.renamed" for path in paths]
    with timed() as timer:
        for path, new in zip(paths, renamed, strict=True):
            os.rename(path, new)
    yield "rename", len(paths) / timer.s
    with timed() as timer:
        for path in renamed:
            os.unlink(path)
    yield "unlink", len(paths) / timer.s
    shutil.rmtree(root)


def _make_folders(root: str, file_count: int) -> list[str]:
    """The files' paths; their directories are there."""
    for number in range(-(-file_count // FILES_PER_FOLDER)):
        os.makedirs(f"{root}/{number:04}")
    return [f"{root}/{number // FILES_PER_FOLDER:04}/{number:06}" for number in range(file_count)]


def _create(path: str, contents: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, contents)
    finally:
        os.close(fd)


def _stat_s(paths: list[str]) -> float:
    with timed() as timer:
        for path in paths:
            os.stat(path)
    return timer.s


def _list_s(root: str) -> float:
    with timed() as timer:
        for folder in os.listdir(root):
            os.listdir(f"{root}/{folder}")
    return timer.s


def _read_s(paths: list[str]) -> float:
    with timed() as timer:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, FILE_BYTES)
            os.close(fd)
    return timer.s
