"""make test-limits: what fsync and recovery may cost, measured on this machine, as ratios within one run.

fsync     4 KiB written and fsynced, in turns on an idle mount and on the ext4 below it: the medians' ratio
recovery  a daemon killed with a journal full of hot data: how much longer the next mount takes than one after a clean
          unmount, for each GiB of journal
"""

import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests.long.results import Suite, run
from tests.mounted import Mounted

FSYNC_RATIO_MAX = 3.0
RECOVERY_S_PER_GIB_MAX = 10.0
ROUNDS, FSYNCS = 7, 100
JOURNAL_MIB = 700


def fsync_s(path: Path) -> float:
    """The median of some."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        took = []
        for number in range(FSYNCS):
            os.pwrite(fd, number.to_bytes(4096), 4096 * number)
            started_s = time.perf_counter()
            os.fsync(fd)
            took.append(time.perf_counter() - started_s)
        return statistics.median(took)
    finally:
        os.close(fd)


def measure_fsync(mounted: Mounted) -> float:
    ratios = []
    for number in range(ROUNDS):
        below, through = fsync_s(mounted.base / f"below{number}"), fsync_s(mounted.point / f"through{number}")
        ratios.append(through / below)
        print(f"fsync: ext4 {below * 1e6:.0f} us, mount {through * 1e6:.0f} us")
    return statistics.median(ratios)


def mount_s(mounted: Mounted) -> float:
    started_s = time.perf_counter()
    mounted.mount()
    return time.perf_counter() - started_s


def measure_recovery(mounted: Mounted) -> float:
    mounted.umount()
    clean_s = mount_s(mounted)
    fd = os.open(mounted.point / "large", os.O_WRONLY | os.O_CREAT, 0o600)  # open and written to: it stays hot
    for _ in range(JOURNAL_MIB):
        os.write(fd, os.urandom(1 << 20))
    journal_bytes: int = mounted.status()["journal"]["bytes"]
    mounted.kill()
    with contextlib.suppress(OSError):  # its mount is dead
        os.close(fd)
    unclean_s = mount_s(mounted)
    gib = journal_bytes / (1 << 30)
    print(f"mount: {clean_s:.2f} s after a clean unmount, {unclean_s:.2f} s after a kill with {gib:.2f} GiB of journal")
    return (unclean_s - clean_s) / gib


def work(suite: Suite) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mounted = Mounted(Path(folder))
        mounted.format()
        mounted.mount()
        try:
            ratio = measure_fsync(mounted)
            recovery_s = measure_recovery(mounted)
        finally:
            mounted.clean_up()
    print(f"fsync: {ratio:.2f} times the ext4 below; recovery: {recovery_s:.2f} s per GiB of journal")
    assert ratio <= FSYNC_RATIO_MAX, f"an fsync takes {ratio:.2f} times as long as on the ext4 below"
    assert recovery_s <= RECOVERY_S_PER_GIB_MAX, f"recovery takes {recovery_s:.1f} s per GiB of journal"
    suite.count(limits=2)


if __name__ == "__main__":
    run(Suite("limits", minutes=5), work, needs="limits")
