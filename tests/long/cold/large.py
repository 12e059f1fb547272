"""8. A database of a GiB goes to the bucket while the mount is used, and comes back: what it takes of memory and time.

Made by `apply` directly: long names, so that few rows make it large. Others make and delete files meanwhile, which
shows how long the loop answers nobody.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from rustfsfs.bench.millions import DIRECTORY, FILE, PER_DIRECTORY, Builder
from rustfsfs.units import GIB, MIB, ROOT
from rustfsfs.volume.pagesums import sums_path
from tests.long.cold.place import PREFIX, ColdVolume, Server, cold_volume, folder, wait_until

SIZE = GIB  # of the database
NAME_SIZE = 200  # bytes; with its row and its index entry a file is a KiB then
BYTES_PER_FILE = 560  # a little less than measured
GROWN_MAX = 160 * MIB  # of the daemon's memory, while it publishes; of that 64 are SQLite's own caches
REBUILD_RSS_MAX = 256 * MIB
PAUSE_S_MAX = 2.0
PUBLISHED_S_MAX, REBUILT_S_MAX = 600.0, 900.0


class Presser(threading.Thread):
    """Makes and deletes a file again and again, and asks statfs: `slowest_s` of either."""

    def __init__(self, point: Path) -> None:
        super().__init__(daemon=True)
        self._point, self._ended = point, threading.Event()
        self.took_s: list[float] = []

    def run(self) -> None:
        path = self._point / "pressed"
        while not self._ended.wait(0.002):
            began_s = time.perf_counter()
            path.touch()
            os.statvfs(self._point)
            path.unlink()
            self.took_s.append(time.perf_counter() - began_s)

    def end(self) -> list[float]:
        """Seconds that each turn took, the slowest first."""
        self._ended.set()
        self.join()
        return sorted(self.took_s, reverse=True)


def build(volume: Path, size_bytes: int) -> int:
    """Files without data, until the database is as large; returns how many."""
    builder, count = Builder(volume), size_bytes // BYTES_PER_FILE
    Path(sums_path(str(volume / "metadata.db"))).unlink(missing_ok=True)  # who builds writes past them
    for number in range(-(-count // PER_DIRECTORY)):
        parent, _fork = builder.make(ROOT, name_of("d", number), DIRECTORY)
        for other in range(PER_DIRECTORY):
            builder.make(parent, name_of("f", other), FILE)
    builder.close()
    return -(-count // PER_DIRECTORY) * PER_DIRECTORY


def name_of(kind: str, number: int) -> bytes:
    return f"{kind}{number:06d}-".ljust(NAME_SIZE, "x").encode()


def memory_bytes(pid: int, row: str) -> int:
    """VmRSS or VmHWM of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(row)) * 1024


def pressed_s(volume: ColdVolume, for_s: float) -> list[float]:
    presser = Presser(volume.point)
    presser.start()
    time.sleep(for_s)
    return presser.end()


def is_published(volume: ColdVolume, size_bytes: int) -> bool:
    there = volume.tier()["metadata"]
    assert not there["error"], there
    return bool(there["bytes"] > size_bytes // 2)


def rebuilt(volume: ColdVolume, server: Server) -> tuple[float, int]:
    """In a new directory, by the command line: seconds, and the most memory that it had."""
    where = ["--bucket", f"oss://packs/{PREFIX}", "--endpoint", server.endpoint, "--region", server.region]
    where += ["--credentials", str(volume.base / "credentials"), "--key-file", str(volume.key)]
    command = [sys.executable, "-m", "rustfsfs", "fsck", str(volume.volume), "--rebuild-from-bucket", *where]
    began_s = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    most_bytes = 0
    while process.poll() is None:  # what wait4 says is at least what the parent had when it forked
        with contextlib.suppress(StopIteration, OSError):  # it has just ended
            most_bytes = max(most_bytes, memory_bytes(process.pid, "VmHWM"))
        time.sleep(0.02)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    took_s = time.monotonic() - began_s
    assert took_s < REBUILT_S_MAX, f"{took_s:.0f} s"
    return took_s, most_bytes


def check(scale: float) -> str:
    size_bytes = int(SIZE * scale)
    with folder(need_bytes=6 * size_bytes) as base:
        server = Server(base / "oss")
        try:
            with cold_volume(base, server, mounted=False) as volume:
                return _check(volume, server, size_bytes)
        finally:
            server.stop()


def _check(volume: ColdVolume, server: Server, size_bytes: int) -> str:
    files = build(volume.volume, size_bytes)
    database_bytes = (volume.volume / "metadata.db").stat().st_size
    assert database_bytes >= size_bytes, f"{database_bytes / MIB:.0f} MiB: it proves nothing"
    volume.mount()
    before = pressed_s(volume, 10.0)
    resting_bytes = memory_bytes(volume.pid, "VmRSS")
    presser = Presser(volume.point)
    presser.start()
    volume.run("bucket", "attach", volume.point, *volume.place)  # who attaches anew has the metadata there at once
    published_s = wait_until(
        lambda: is_published(volume, size_bytes), within_s=PUBLISHED_S_MAX, otherwise="it is not published"
    )
    during = presser.end()
    grown_bytes = memory_bytes(volume.pid, "VmHWM") - resting_bytes
    volume.umount()
    shutil.rmtree(volume.volume)
    rebuilt_s, rebuild_bytes = rebuilt(volume, server)
    volume.mount()
    found = volume.point / os.fsdecode(name_of("d", 0)) / os.fsdecode(name_of("f", PER_DIRECTORY - 1))
    listed = len(os.listdir(volume.point))
    assert found.exists() and listed == files // PER_DIRECTORY, (found.exists(), listed)
    (volume.point / "new").write_bytes(b"new")
    volume.umount()
    said = (
        f"{files} files, {database_bytes / MIB:.0f} MiB: published in {published_s:.0f} s, the daemon grew by"
        f" {grown_bytes / MIB:.0f} MiB (at most {GROWN_MAX / MIB:.0f}); the slowest of {len(during)} turns"
        f" {during[0]:.2f} s (at most {PAUSE_S_MAX}; before it {before[0]:.3f}), the tenth {during[9]:.3f};"
        f" rebuilt in {rebuilt_s:.0f} s with {rebuild_bytes / MIB:.0f} MiB (at most {REBUILD_RSS_MAX / MIB:.0f})"
    )
    assert grown_bytes <= GROWN_MAX and rebuild_bytes <= REBUILD_RSS_MAX and during[0] <= PAUSE_S_MAX, said
    return said
