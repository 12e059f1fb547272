"""5b. A real outage under load: local throughput in turns without and with it, and the backlog drains by itself.

Five pairs, the median of their ratios; then two minutes without a pause. The bucket hangs, or nobody listens, in turns.
"""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rustfsfs.units import MIB
from tests.long.cold.place import ColdVolume, Server, cold_volume, folder, wait_until

PAIRS, LEG_S, LONG_S = 5, 20.0, 120.0
RATIO_MIN = 0.85
FILE_SIZE, KEPT, STAYS_EVERY = 8 * MIB, 24, 40
DRAINED_S_MAX = 300.0
CONFIG = """
[seal]
quiet = "1s"
[protect]
within = "2s"
"""


class Load:
    """Writes files with fsync, reads others back that are on the disks, and deletes the oldest, but for a few."""

    def __init__(self, volume: ColdVolume) -> None:
        self._volume = volume
        self._files: list[tuple[str, bytes]] = []
        self._count = 0

    def mib_s(self, for_s: float) -> float:
        done, spent_s, began_s = 0, 0.0, time.monotonic()
        while time.monotonic() - began_s < for_s:
            data = os.urandom(FILE_SIZE)
            started_s = time.perf_counter()
            self._write(data)
            self._read()
            spent_s += time.perf_counter() - started_s
            done += 2 * FILE_SIZE
        return done / MIB / spent_s

    def _write(self, data: bytes) -> None:
        name, self._count = f"f{self._count}", self._count + 1
        fd = os.open(self._volume.point / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            assert os.write(fd, data) == len(data), "a short write"
            os.fsync(fd)
        finally:
            os.close(fd)
        self._files.append((name, data))
        if self._count % STAYS_EVERY == 0:
            self._files.pop()
        elif len(self._files) > KEPT:
            (self._volume.point / self._files.pop(0)[0]).unlink()

    def _read(self) -> None:
        name, data = self._files[len(self._files) // 2]
        fd = os.open(self._volume.point / name, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(fd, FILE_SIZE, 0) == data, f"{name} reads wrong"
        finally:
            os.close(fd)


@contextmanager
def outage(server: Server, *, hangs: bool) -> Iterator[None]:
    if hangs:
        server.hang()
    else:
        server.stop()
    try:
        yield
    finally:
        if hangs:
            server.go_on()
        else:
            server.start()


def drained(volume: ColdVolume) -> bool:
    tier = volume.tier()
    return (
        not tier["backlog"]["packs"] and tier["unreachable_since_ns"] is None and not volume.call("tier_plan")["steps"]
    )


def check(scale: float) -> str:
    leg_s, ratios = max(4.0, LEG_S * scale), list[float]()
    with folder(need_bytes=int(4000 * MIB * scale)) as base:
        server = Server(base / "oss")
        try:
            with cold_volume(base, server, config=CONFIG) as volume:
                load = Load(volume)
                load.mib_s(leg_s)  # warm
                for number in range(PAIRS):
                    rates = {}
                    for is_out in (False, True) if number % 2 else (True, False):
                        if is_out:
                            with outage(server, hangs=number % 2 == 0):
                                rates[True] = load.mib_s(leg_s)
                        else:
                            rates[False] = load.mib_s(leg_s)
                    ratios.append(rates[True] / rates[False])
                    print(f"  without {rates[False]:.0f} MiB/s, with {rates[True]:.0f} MiB/s", flush=True)
                with outage(server, hangs=True):
                    long_rate = load.mib_s(LONG_S * scale)
                    backlog = volume.tier()["backlog"]["bytes"]
                drained_s = wait_until(
                    lambda: drained(volume), within_s=DRAINED_S_MAX, otherwise="the backlog does not drain by itself"
                )
        finally:
            server.stop()
    ratio = statistics.median(ratios)
    said = (
        f"local throughput {', '.join(f'{one:.2f}' for one in ratios)} times that without, the median {ratio:.2f}"
        f" (at least {RATIO_MIN}); {LONG_S * scale:.0f} s at {long_rate:.0f} MiB/s, {backlog / MIB:.0f} MiB to upload"
        f" were gone {drained_s:.0f} s later"
    )
    assert ratio >= RATIO_MIN, said
    return said
