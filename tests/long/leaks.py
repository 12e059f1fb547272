"""make test-leaks: half an hour of mixed load; memory, descriptors and threads of the daemon stay flat.

Writers write, rename and unlink; beside them it is sealed and collected, trees are listed and read, and files that do
not change are read again and again, so that the chunk cache is full from the first minute to the last. At the end fsck
and `tables` find no extent without its chunk, no chunk without an extent outside `maybe_dead`, every running total as
counted, and on the disk as many bytes as are live and dead.
"""

import itertools
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rustfsfs.cli.secrets import read_secret
from rustfsfs.meta.database import Metadata
from rustfsfs.store import layout
from rustfsfs.volume.formatting import METADATA
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.upgrading import open_metadata
from rustfsfs.world import real_world
from tests.long.kill import Load
from tests.long.results import Suite, run
from tests.mounted import Mounted

SAMPLE_S = 1.0
REST_S = 0.5  # of the reader
ROUND_S = 20.0  # then the writers' folders go, so that the volume stays of one size
STILL_FILES, STILL_BYTES = 32, 8 << 20  # read again and again; together more than the chunk cache holds
LITTLE_EVERY = 64 << 10  # bytes: the smallest chunk
CACHE_FULL = 0.9
LAST_S = 60.0  # left for the checks at the end
WARM_UP_SHARE = 0.25  # of the samples; the rest is judged in thirds
RSS_GROWTH_MAX = 0.05  # from the first third to the last; measured: 2 %, and 10 % with 100 bytes lost per record
RSS_KIB_MAX = 600 * 1024
FD_SLACK, THREAD_SLACK = 8, 2  # packs and segments come and go, idle workers too


@dataclass
class Samples:
    rss_kib: list[int] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def watch(self, pid: int, stop: threading.Event) -> None:
        """Once a second, whatever the load does."""
        while not stop.wait(SAMPLE_S):
            self.take(pid)

    def take(self, pid: int) -> None:
        with open(f"/proc/{pid}/status") as status:
            found = dict(line.split(":", 1) for line in status)
        self.rss_kib.append(int(found["VmRSS"].split()[0]))
        self.threads.append(int(found["Threads"]))
        self.fds.append(len(os.listdir(f"/proc/{pid}/fd")))


def thirds(values: list[int]) -> tuple[float, float, float]:
    """Medians of the thirds behind the warm-up: a peak of a minute moves none of them, a leak all."""
    judged = values[int(len(values) * WARM_UP_SHARE) :]
    size = max(1, len(judged) // 3)
    return (
        statistics.median(judged[:size]),
        statistics.median(judged[size : 2 * size]),
        statistics.median(judged[-size:]),
    )


def judge(samples: Samples) -> str:
    """What was seen, as a sentence. Raises AssertionError with it if something grew."""
    first, middle, last = (kib / 1024 for kib in thirds(samples.rss_kib))
    peak = max(samples.rss_kib) / 1024
    said = f"resident {first:.1f}, {middle:.1f}, {last:.1f} MiB, at most {peak:.0f}"
    grown = [] if last <= first * (1 + RSS_GROWTH_MAX) and peak * 1024 <= RSS_KIB_MAX else ["memory"]
    for name, values, slack in (("descriptors", samples.fds, FD_SLACK), ("threads", samples.threads, THREAD_SLACK)):
        first, middle, last = thirds(values)
        said += f"; {name} {first:.0f}, {middle:.0f}, {last:.0f}"
        if last > first + slack:
            grown.append(name)
    assert not grown, f"{' and '.join(grown)} grew: {said}"
    return said


def still_files(mounted: Mounted) -> Iterator[Path]:
    for number in range(STILL_FILES):
        yield mounted.point / "still" / str(number)


def fill_cache(mounted: Mounted) -> None:
    """Sealed files, so many that the chunk cache is full when all were read."""
    (mounted.point / "still").mkdir()
    for path in still_files(mounted):
        path.write_bytes(os.urandom(STILL_BYTES))
    mounted.seal()
    mounted.run("collect", mounted.point)  # the new chunks are looked at now, not under load
    mounted.remount()  # else the kernel would answer
    for path in still_files(mounted):
        read_anew(path)
    cache = mounted.status()["cache"]
    assert cache["ram_bytes"] >= CACHE_FULL * cache["ram_bytes_max"], f"the chunk cache is not full: {cache}"


def read_anew(path: Path) -> None:
    """The daemon is asked, not the kernel's pages: little of each chunk, which it then keeps, and all of it."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for offset in range(0, STILL_BYTES, LITTLE_EVERY):
            os.pread(file.fileno(), 4096, offset)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_NORMAL)
        while file.read(1 << 20):
            pass


def read_changing(mounted: Mounted) -> None:
    for path in list(mounted.point.glob("c*/*"))[:200]:
        try:
            path.read_bytes()
        except FileNotFoundError:
            continue  # a writer has moved it


def one_round(mounted: Mounted, number: int, seed: int, samples: Samples, still: Iterator[Path]) -> int:
    load = Load(mounted, number, seed)
    stop = threading.Event()
    for writer in load.writers:
        writer.stop = stop
    watcher = threading.Thread(target=samples.watch, args=(mounted.pid, stop), daemon=True)
    load.start()
    watcher.start()
    end_s = time.monotonic() + ROUND_S
    while time.monotonic() < end_s:
        read_changing(mounted)
        for path in (next(still), next(still)):
            read_anew(path)
        time.sleep(REST_S)
    stop.set()
    watcher.join()
    load.join()
    count = sum(writer.count for writer in load.writers)
    for writer in load.writers:
        assert writer.trouble() is None, writer.trouble()
        shutil.rmtree(writer.folder)
    return count


def work(suite: Suite) -> None:
    samples, number, began_s = Samples(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        mounted = Mounted(Path(folder))
        mounted.format()
        mounted.mount()
        try:
            fill_cache(mounted)
            still = itertools.cycle(still_files(mounted))
            watched_s = suite.minutes * 60 - LAST_S - (time.monotonic() - began_s)
            until_s = time.monotonic() + max(watched_s, ROUND_S)
            while time.monotonic() < until_s:
                number += 1
                started_s, before = time.monotonic(), len(samples.rss_kib)
                operations = one_round(mounted, number, suite.seed * 1000 + number, samples, still)
                took_s = round(time.monotonic() - started_s)
                suite.count(rounds=1, operations=operations, seconds=took_s, samples=len(samples.rss_kib) - before)
            said = judge(samples)
            mounted.remount()  # packs whose frames no row came to name go when it opens
            mounted.umount()
            assert (findings := mounted.fsck("--data")) == [], findings[:5]
            print(f"{said}; {tables(mounted)}")
        finally:
            mounted.clean_up()


# what no table may hold, and the statement that counts it
NEVER = {
    "extents without their chunk": "SELECT count(*) FROM extents WHERE segment = 0"
    " AND base NOT IN (SELECT chunk FROM chunks)",
    "chunks without an extent outside maybe_dead": "SELECT count(*) FROM chunks"
    " WHERE chunk NOT IN (SELECT base FROM extents WHERE segment = 0) AND chunk NOT IN (SELECT chunk FROM maybe_dead)",
    "chunks without a place": "SELECT count(*) FROM chunks WHERE chunk NOT IN (SELECT chunk FROM places)",
}


def tables(mounted: Mounted) -> str:
    """What the tables of the unmounted volume hold, as a sentence; counted here, apart from fsck and the totals."""
    world, path = real_world(), str(mounted.volume)
    _header, keys = unlocked(world, path, read_secret(None, str(mounted.key), None))
    metadata = open_metadata(world, f"{path}/{METADATA}", keys)
    try:
        for what, sql in NEVER.items():
            found = number_of(metadata, sql)
            assert found == 0, f"{found} {what}"
        counts = {name: number_of(metadata, f"SELECT count(*) FROM {name}") for name in ("extents", "chunks", "packs")}
        assert all(counts.values()), f"nothing to look at: {counts}"
        live = number_of(metadata, "SELECT sum(stored_bytes) FROM places")
        dead = number_of(metadata, "SELECT sum(size_bytes - live_bytes) FROM packs")
        dead += number_of(metadata, "SELECT coalesce(sum(size_bytes), 0) FROM doomed")
        running = metadata.running
        kept = running.stored_bytes, running.dead_bytes
        assert kept == (live, dead), f"counted {live} bytes live and {dead} dead, the totals say {kept}"
        on_disk = sum(map(frame_bytes, (mounted.volume / "packs").rglob("*.pack")))
        assert on_disk == live + dead, f"{on_disk} bytes of frames on the disk, {live} live and {dead} dead in the rows"
    finally:
        metadata.close()
    return ", ".join(f"{count} {name}" for name, count in counts.items()) + f", {live} bytes live + {dead} dead on disk"


def frame_bytes(pack: Path) -> int:
    """Of a closed pack: what lies between its header and its directory."""
    offset, _length = layout.decode_trailer(pack.read_bytes()[-layout.TRAILER_SIZE :])
    return offset - layout.HEADER_SIZE


def number_of(metadata: Metadata, sql: str) -> int:
    return int(metadata.rows(sql)[0][0])


if __name__ == "__main__":
    run(Suite("leaks", minutes=30), work, needs="rounds")
