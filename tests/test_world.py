"""What the C library is told. `Files` has its contract in tests/store and tests/journal."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rustfsfs.world import real_timing
from tests.mounted import Mounted

HEAP_SIZE = 64 << 20  # glibc's malloc/arena.c, HEAP_MAX_SIZE on 64 bits: a further heap is aligned to it
MALLOC_IN_THREADS = """
import ctypes, sys, threading
from rustfsfs.world import share_one_heap
if "shared" in sys.argv:
    share_one_heap()
together = threading.Barrier(4)
def work():
    data = bytearray(60_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(open("/proc/self/maps").read())
"""
glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")


def further_heaps(maps: str) -> int:
    """glibc's heaps of threads: used memory at a multiple of HEAP_SIZE, and behind it the rest, reserved."""
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0 *\n\2-([0-9a-f]+) ---p", maps, re.MULTILINE)
    return sum(int(start, 16) % HEAP_SIZE == 0 and int(end, 16) % HEAP_SIZE == 0 for start, _used, end in found)


@pytest.mark.slow  # starts an interpreter
@glibc
@pytest.mark.parametrize(("argument", "is_shared"), [("shared", True), ("as it is", False)])
def test_threads_share_one_heap_when_told(argument: str, is_shared: bool) -> None:
    command = [sys.executable, "-c", MALLOC_IN_THREADS, argument]
    maps = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert (further_heaps(maps) == 0) is is_shared, maps


@pytest.mark.fuse
@pytest.mark.slow  # mounts
@glibc
def test_the_daemon_has_one_heap(mounted: Mounted) -> None:
    (mounted.point / "file").write_bytes(bytes(range(256)) * 4000)
    mounted.seal()
    maps = Path(f"/proc/{mounted.pid}/maps").read_text()
    assert further_heaps(maps) == 0, maps


def test_timing() -> None:
    timing = real_timing()
    drawn = [timing.jitter() for _ in range(100)]
    assert all(0 <= value < 1 for value in drawn) and len(set(drawn)) > 90
    before_s = timing.clock_s()
    timing.sleep(0.001)
    assert timing.clock_s() - before_s >= 0.001
