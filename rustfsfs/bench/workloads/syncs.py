"""fsync: alone, and beside a stream that somebody else writes."""

import os
import threading
import time

from rustfsfs.bench import material
from rustfsfs.bench.figures import Better, Measured, Metric, median, percentile
from rustfsfs.bench.files import MB, opened
from rustfsfs.bench.job import Job
from rustfsfs.bench.scale import STREAM_BYTES_PER_S
from rustfsfs.bench.timing import timed

APPEND_BYTES = 4096
PAUSE_S = 0.02  # between two fsyncs beside the stream
METRICS = (
    Metric("fsync", "fsync of a 4 KiB append, median", "us", Better.LOWER),
    Metric("fsync_p99", "fsync of a 4 KiB append, 99th percentile", "us", Better.LOWER),
)
BESIDE_METRICS = (
    Metric("fsync_beside", "fsync beside a stream of 500 MB/s, median", "ms", Better.LOWER),
    Metric("fsync_beside_max", "fsync beside a stream, longest", "ms", Better.LOWER),
    Metric("stream_beside", "the stream beside fsyncs", "MB/s"),
)


def fsyncs(job: Job) -> Measured:
    """Append 4 KiB, fsync, `fsync_count` times over, nothing else going on; the write is timed with the fsync."""
    os.sync()
    path = f"{job.place.root}/log"
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
        took_s = [_append_s(fd, number) for number in range(job.scale.fsync_count)]
    os.unlink(path)
    yield "fsync", median(took_s) * 1e6
    yield "fsync_p99", percentile(took_s, 0.99) * 1e6


def beside_a_stream(job: Job) -> Measured:
    """The same every 20 ms while a thread writes noise to another file, 1 MiB at a time, paced to 500 MB/s.

    Where that is more than the disk or the file system can do, the stream is as fast as it can be: a figure too.
    """
    os.sync()
    root, took_s, stop = job.place.root, list[float](), threading.Event()
    stream = _Stream(f"{root}/stream", stop)
    stream.start()
    try:
        with opened(f"{root}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
            until_s = time.perf_counter() + job.scale.beside_s
            while time.perf_counter() < until_s or not took_s:
                took_s.append(_append_s(fd, len(took_s)))
                time.sleep(PAUSE_S)
    finally:
        stop.set()
        stream.join()
    for name in ("stream", "log"):
        os.unlink(f"{root}/{name}")
    if stream.failed is not None:
        raise stream.failed
    yield "fsync_beside", median(took_s) * 1e3
    yield "fsync_beside_max", max(took_s) * 1e3
    yield "stream_beside", stream.written_bytes / MB / stream.took_s


def _append_s(fd: int, number: int) -> float:
    data = number.to_bytes(8) * (APPEND_BYTES // 8)
    with timed() as timer:
        os.write(fd, data)
        os.fsync(fd)
    return timer.s


class _Stream(threading.Thread):
    """Writes until told to stop, no faster than its pace."""

    def __init__(self, path: str, stop: threading.Event) -> None:
        super().__init__()
        self._path, self._stop_wanted = path, stop
        self._blocks = list(material.noise_blocks(64 * material.BLOCK_BYTES, seed=31))
        self.written_bytes, self.took_s = 0, 0.0
        self.failed: OSError | None = None

    def run(self) -> None:
        started_s = time.perf_counter()
        try:
            with opened(self._path, os.O_WRONLY | os.O_CREAT) as fd:
                while not self._stop_wanted.is_set():
                    block = self._blocks[self.written_bytes // material.BLOCK_BYTES % len(self._blocks)]
                    self.written_bytes += os.write(fd, block)
                    due_s = started_s + self.written_bytes / STREAM_BYTES_PER_S
                    time.sleep(max(0.0, due_s - time.perf_counter()))
        except OSError as exc:
            self.failed = exc
        self.took_s = time.perf_counter() - started_s
