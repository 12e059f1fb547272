"""6. While a tree 3 times as large as the disk is copied in, it never passes `demote.high`, and no write fails."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rustfsfs.units import GIB, MIB
from tests.long.cold.place import cold_volume, folder
from tests.mounted import small_disk
from tests.oss_server import Kind, Network, serving

DISK = 2 * GIB
TIMES = 3
HIGH, LOW = 0.9, 0.8
SAMPLE_EVERY_S = 0.005
PIECE = MIB
STALL_S_MAX = 30.0
WRITERS = 3
NETWORK = Network(latency_s=0.030, total_bytes_s=60e6)  # less than three writers bring: they have to slow down


class Watch(threading.Thread):
    """Looks at how full a disk is, as df says it, as long as it runs."""

    def __init__(self, disk: Path) -> None:
        super().__init__(daemon=True)
        self._disk, self._ended = disk, threading.Event()
        self.highest, self.samples = 0.0, 0

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            found = os.statvfs(self._disk)
            used = found.f_blocks - found.f_bfree
            self.highest = max(self.highest, used / (used + found.f_bavail))
            self.samples += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


def sizes(total_bytes: int) -> list[int]:
    """Large and small files, as a tree has them."""
    draw, found = random.Random(6), list[int]()
    while sum(found) < total_bytes:
        found.append(int(draw.expovariate(1 / draw.choice([20_000, 500_000, 20_000_000]))) + 1)
    return found


def path_of(root: Path, number: int) -> Path:
    return root / f"d{number // 200}" / f"f{number}"


def write(path: Path, number: int, size: int) -> float:
    """Noise that is a function of the file's number; returns the longest that a write took."""
    draw, slowest_s = random.Random(number), 0.0
    with open(path, "xb", buffering=0) as file:
        for start in range(0, size, PIECE):
            data = draw.randbytes(min(PIECE, size - start))
            began_s = time.perf_counter()
            assert file.write(data) == len(data), f"a short write to {path}"
            slowest_s = max(slowest_s, time.perf_counter() - began_s)
    return slowest_s


def same(path: Path, number: int, size: int) -> bool:
    draw = random.Random(number)
    with open(path, "rb", buffering=0) as file:
        for start in range(0, size, PIECE):
            if file.read(PIECE) != draw.randbytes(min(PIECE, size - start)):
                return False
        return not file.read(1)


def check(scale: float) -> str:
    disk_bytes = max(GIB // 2, int(DISK * scale))
    with (
        folder(need_bytes=int(disk_bytes * (TIMES + 1.2))) as base,
        small_disk(base, size_mib=disk_bytes // MIB) as disk,
        serving(base / "oss") as oss,
        cold_volume(disk, oss, config=f'[demote]\nhigh = {HIGH}\nlow = {LOW}\n[cache]\ndisk = "64MiB"\n') as volume,
    ):
        watch, wanted = Watch(disk), sizes(TIMES * disk_bytes)
        oss.network = NETWORK
        watch.start()
        began_s = time.monotonic()
        try:
            for number in range(0, len(wanted), 200):
                (volume.point / f"d{number // 200}").mkdir()
            with ThreadPoolExecutor(WRITERS) as pool:
                slowest_s = max(pool.map(lambda one: write(path_of(volume.point, one[0]), *one), enumerate(wanted)))
            took_s = time.monotonic() - began_s
            time.sleep(5)
            volume.seal()
            time.sleep(5)
            written = watch.highest
            for number, size in enumerate(wanted):
                path = path_of(volume.point, number)
                assert same(path, number, size), f"{path} is not what was written"
        finally:
            watch.end()
        puts = oss.counts.requests(Kind.PUT)
    said = (
        f"{len(wanted)} files, {sum(wanted) / MIB:.0f} MiB to a disk of {disk_bytes // MIB} in {took_s:.0f} s"
        f" ({sum(wanted) / MIB / took_s:.0f} MiB/s, {puts} PUTs), the slowest MiB took {slowest_s:.1f} s; it was"
        f" {written:.1%} full at the most while it was written, {watch.highest:.1%} while it was read"
        f" (at most {HIGH:.0%}; {watch.samples} samples)"
    )
    assert watch.highest <= HIGH, said
    assert slowest_s <= STALL_S_MAX, said
    return said
