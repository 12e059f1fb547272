"""make test-kill: the daemon is killed at random moments under mixed load; nothing acknowledged may be missing.

Several writers keep what was acknowledged to them; beside them the volume is sealed and collected. The kill comes at a
random moment, sometimes while the volume is being recovered or unmounted. A cycle counts only if there was hot data.
"""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.long.results import Suite, run
from tests.long.writer import Writer
from tests.mounted import Mounted

CYCLES = 1000
WRITERS = 3
HOT_S_MAX = 10.0  # how long hot data is waited for
CHECK_EVERY = 25  # cycles: fsck --data


class Load:
    """Writers, each in its own folder, and whoever seals and collects; until the mount is gone."""

    def __init__(self, mounted: Mounted, cycle: int, seed: int) -> None:
        self.writers = []
        for number in range(WRITERS):
            folder = mounted.point / f"c{cycle}w{number}"
            folder.mkdir()
            self.writers.append(Writer(folder, seed=seed * 100 + number))
        self._mounted = mounted
        self._draw = random.Random(seed)
        self._ended = False
        self._threads = [threading.Thread(target=writer.run, daemon=True) for writer in self.writers]
        self._threads.append(threading.Thread(target=self._disturb, daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _disturb(self) -> None:
        while not self._ended:
            command = self._draw.choice(["seal", "seal", "collect"])
            arguments = [sys.executable, "-m", "rustfsfs", command, str(self._mounted.point)]
            subprocess.run(arguments, check=False, capture_output=True, timeout=120)
            time.sleep(self._draw.random() * 0.3)

    def join(self) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a writer hangs on the dead mount"


def cycle(mounted: Mounted, number: int, seed: int) -> int:
    """One life; returns the operations acknowledged in it."""
    draw = random.Random(seed)
    load = Load(mounted, number, seed)
    load.start()
    time.sleep(0.2 + draw.random() * 1.2)
    deadline_s = time.monotonic() + HOT_S_MAX
    while not (hot := mounted.status()["hot_bytes"]) and time.monotonic() < deadline_s:
        pass  # a seal has just ended; the writers go on
    mounted.kill()
    load.join()
    count = sum(writer.count for writer in load.writers)
    assert count > 5 and hot > 0, f"cycle {number} proved nothing: {count} operations, {hot} bytes hot at the kill"
    if draw.random() < 0.3:
        kill_while_mounting(mounted, draw.random() * 0.5)
    mounted.mount()
    for writer in load.writers:
        trouble = writer.trouble()
        assert trouble is None, f"cycle {number}, seed {seed}: {trouble}"
    for writer in load.writers[1:]:
        shutil.rmtree(writer.folder)
    if draw.random() < 0.2:
        mounted.remount()
    return count


def kill_while_mounting(mounted: Mounted, after_s: float) -> None:
    """Recovery itself is killed."""
    command = [sys.executable, "-m", "rustfsfs", "mount", str(mounted.volume), str(mounted.point)]
    child = subprocess.Popen(
        [*command, "--key-file", str(mounted.key), "--foreground"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(after_s)
    child.kill()
    child.wait()
    subprocess.run(["umount", "-l", str(mounted.point)], check=False, capture_output=True)


def work(suite: Suite) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mounted = Mounted(Path(folder))
        mounted.format()
        mounted.mount()
        try:
            number = 0
            while suite.has_time and suite.totals.get("cycles", 0) < CYCLES:
                number += 1
                operations = cycle(mounted, number, suite.seed * 100_000 + number)
                suite.count(cycles=1, operations=operations)
                if number % CHECK_EVERY == 0:
                    mounted.umount()
                    assert mounted.fsck("--data") == []
                    mounted.mount()
                    for name in os.listdir(mounted.point):
                        shutil.rmtree(mounted.point / name)
        finally:
            mounted.clean_up()


if __name__ == "__main__":
    run(Suite("kill", minutes=60), work, needs="cycles")
