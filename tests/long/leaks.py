"""make test-leaks: half an hour of mixed load; memory, descriptors and threads of the daemon stay flat.

Writers write, rename and unlink; beside them it is sealed and collected, trees are listed and read. At the end fsck
finds no extent without its chunk, no chunk without an extent outside `maybe_dead`, every running total as counted.
"""

import os
import shutil
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.long.kill import Load
from tests.long.results import Suite, run
from tests.mounted import Mounted

SAMPLE_S = 1.0
ROUND_S = 20.0  # then the writers' folders go, so that the volume stays of one size
RSS_GROWTH_MAX = 0.10
RSS_SLACK_KIB = 24 * 1024
RSS_KIB_MAX = 600 * 1024
FD_SLACK, THREAD_SLACK = 24, 6


@dataclass
class Samples:
    rss_kib: list[int] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def take(self, pid: int) -> None:
        with open(f"/proc/{pid}/status") as status:
            found = dict(line.split(":", 1) for line in status)
        self.rss_kib.append(int(found["VmRSS"].split()[0]))
        self.threads.append(int(found["Threads"]))
        self.fds.append(len(os.listdir(f"/proc/{pid}/fd")))


def parts(values: list[int]) -> tuple[float, float]:
    """Medians of the second and of the last quarter: in the first the caches fill."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])


def one_round(mounted: Mounted, number: int, seed: int, samples: Samples) -> int:
    load = Load(mounted, number, seed)
    stop = threading.Event()
    for writer in load.writers:
        writer.stop = stop
    load.start()
    end_s = time.monotonic() + ROUND_S
    while time.monotonic() < end_s:
        time.sleep(SAMPLE_S)
        samples.take(mounted.pid)
        for path in list(mounted.point.rglob("*"))[:200]:
            if path.is_file():
                try:
                    path.read_bytes()
                except FileNotFoundError:
                    continue  # a writer has moved it
    stop.set()
    load.join()
    count = sum(writer.count for writer in load.writers)
    for writer in load.writers:
        assert writer.trouble() is None, writer.trouble()
        shutil.rmtree(writer.folder)
    return count


def work(suite: Suite) -> None:
    samples, number = Samples(), 0
    with tempfile.TemporaryDirectory() as folder:
        mounted = Mounted(Path(folder))
        mounted.format()
        mounted.mount()
        try:
            while suite.has_time:
                number += 1
                operations = one_round(mounted, number, suite.seed * 1000 + number, samples)
                suite.count(operations=operations, rounds=1)
            judge(samples)
            mounted.umount()
            assert mounted.fsck("--data") == []
        finally:
            mounted.clean_up()


def judge(samples: Samples) -> None:
    early, late = parts(samples.rss_kib)
    said = f"resident {early / 1024:.0f} -> {late / 1024:.0f} MiB, at most {max(samples.rss_kib) / 1024:.0f}"
    for name, values, slack in (("descriptors", samples.fds, FD_SLACK), ("threads", samples.threads, THREAD_SLACK)):
        before, after = parts(values)
        said += f"; {name} {before:.0f} -> {after:.0f}"
        assert after <= before + slack, said
    print(said)
    assert late <= early * (1 + RSS_GROWTH_MAX) + RSS_SLACK_KIB, said
    assert max(samples.rss_kib) <= RSS_KIB_MAX, said


if __name__ == "__main__":
    run(Suite("leaks", minutes=30), work, needs="rounds")
