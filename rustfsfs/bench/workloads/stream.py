"""Large files, front to back, in writes and reads of 1 MiB."""

import os

from rustfsfs.bench import caches, material, processes
from rustfsfs.bench.figures import Better, Measured, Metric
from rustfsfs.bench.files import MB, read_s, sync, write_s
from rustfsfs.bench.job import Job
from rustfsfs.bench.place import Place
from rustfsfs.bench.timing import timed

GB = 1000 * MB
METRICS = (
    Metric("write_unique", "write noise", "MB/s"),
    Metric("write_unique_sealed", "write noise, until sealed", "MB/s"),
    Metric("write_duplicate", "write the same again", "MB/s"),
    Metric("write_duplicate_sealed", "write the same again, until sealed", "MB/s"),
    Metric("write_text", "write text", "MB/s"),
    Metric("write_text_sealed", "write text, until sealed", "MB/s"),
    Metric("write_together", "write the three together", "MB/s"),
    Metric("read_warm", "read again, from the page cache", "MB/s"),
    Metric("read", "read, pages of the mount dropped", "MB/s"),
    Metric("read_dropped", "read, all caches dropped", "MB/s"),
    Metric("read_remounted", "read noise after remount", "MB/s"),
    Metric("read_text_remounted", "read text after remount", "MB/s"),
    Metric("cpu_write", "daemon's CPU, written until sealed", "s/GB", Better.LOWER),
    Metric("cpu_read", "daemon's CPU, read", "s/GB", Better.LOWER),
)


def stream(job: Job) -> Measured:
    """Write noise, the same noise once more, and text; read them back.

    until sealed      until the data is where it stays: after fdatasync, and on rustfsfs after `rustfsfs seal` too
    the page cache    as the writes and a first reading left it
    pages dropped     of this file on the mount: the daemon is asked again, and has its own caches and the disk's
    all dropped       the disk's too (only root can): what lies on the disk comes from the disk
    after remount     the daemon is a new one, all dropped: on rustfsfs everything comes from packs
    """
    place, root = job.place, job.place.root
    unique, duplicate, text = f"{root}/unique", f"{root}/duplicate", f"{root}/text"
    noise = list(material.noise_blocks(job.scale.stream_bytes, seed=5))
    source = list(material.text_blocks(job.scale.text_bytes, seed=5))
    acknowledged_s, size_bytes, cpu_s = 0.0, 0, _cpu_s(place)
    for key, path, blocks in (
        ("write_unique", unique, noise),
        ("write_duplicate", duplicate, noise),
        ("write_text", text, source),
    ):
        file_bytes = sum(map(len, blocks))
        file_s, sealed_s = _write_s(place, path, blocks)
        yield key, file_bytes / MB / file_s
        yield f"{key}_sealed", file_bytes / MB / sealed_s
        acknowledged_s, size_bytes = acknowledged_s + file_s, size_bytes + file_bytes
    yield "write_together", size_bytes / MB / acknowledged_s
    yield from _cost(place, cpu_s, size_bytes, key="cpu_write")
    del noise, source, blocks
    yield from _read(job, unique)
    yield from _read_remounted(job, unique, text)
    for path in (unique, duplicate, text):
        os.unlink(path)


def _write_s(place: Place, path: str, blocks: list[bytes]) -> tuple[float, float]:
    """Seconds until every write was acknowledged, and until all was sealed."""
    os.sync()  # what was written before is not this file's
    with timed() as sealed:
        acknowledged_s = write_s(path, blocks)
        sync(path)
        place.seal()
    return acknowledged_s, sealed.s


def _read(job: Job, path: str) -> Measured:
    size_bytes = os.stat(path).st_size
    read_s(path)
    yield "read_warm", size_bytes / MB / read_s(path)
    caches.drop_pages(path)
    cpu_s = _cpu_s(job.place)
    yield "read", size_bytes / MB / read_s(path)
    yield from _cost(job.place, cpu_s, size_bytes, key="cpu_read")
    if caches.drop_all():
        yield "read_dropped", size_bytes / MB / read_s(path)


def _read_remounted(job: Job, unique: str, text: str) -> Measured:
    if not job.place.can_remount:
        return
    job.place.remount()
    caches.drop_all()
    yield "read_remounted", os.stat(unique).st_size / MB / read_s(unique)
    yield "read_text_remounted", os.stat(text).st_size / MB / read_s(text)


def _cpu_s(place: Place) -> float:
    return processes.cpu_s(place.daemon_pid) if place.daemon_pid else 0.0


def _cost(place: Place, before_s: float, size_bytes: int, *, key: str) -> Measured:
    """User and system time of the daemon; nothing where the kernel does the work."""
    if place.daemon_pid:
        yield key, (processes.cpu_s(place.daemon_pid) - before_s) / (size_bytes / GB)
