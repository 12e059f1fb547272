"""top: from two looks at counters to words, where it finds its mount, and how it ends on a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rustfsfs.cli import rates, top
from rustfsfs.errors import NotAVolume, UsageError
from rustfsfs.histogram import Histogram
from rustfsfs.service.mounts import FSTYPE
from rustfsfs.volume.mountinfo import Mount
from tests.mounted import TIMEOUT_S, Mounted

Figures = dict[str, Any]


def look(at_s: float, *, pid: int = 1, took_s: tuple[float, ...] = (), errors: int = 0, **more: Any) -> Figures:
    """What a mount counted by then; `took_s` its reads."""
    read = Histogram()
    for seconds in took_s:
        read.note(seconds)
    kinds = {"read": read.figures(), "write": Histogram().figures()}
    operations = {
        "kinds": kinds,
        "errors": {"read": {"EIO": errors, "ENODATA": 9}} if errors else {},
        "in_progress": 2,
        "waiting_for_room": 1,
        "read_bytes": 4096 * len(took_s),
        "written_bytes": 0,
    }
    return {
        "at_s": at_s,
        "pid": pid,
        "mount_point": "/mnt",
        "volume": {"path": "/srv/v", "uuid": "u"},
        "healthy": True,
        "reasons": [],
        "operations": operations,
        "cache": {"hits": 3 * len(took_s), "misses": len(took_s), "bytes": 1024, "bytes_max": 2048},
        "journal": {"bytes": 0, "bytes_max": 1, "last_seq": 0, "unsynced_bytes": 0},
        "epoch": {"ops": 0},
        "sealed_bytes": 0,
        "hot_bytes": 5,
        "disks": [{"path": "/srv/v", "free_bytes": 1024, "total_bytes": 4096}],
        "bucket": None,
        **more,
    }


BEFORE, NOW = look(10.0), look(12.0, took_s=(0.001,) * 198 + (0.2,) * 2, errors=4)


def test_rates_are_of_the_time_between_the_looks() -> None:
    (rate,) = rates.operations(BEFORE, NOW)
    assert (rate.name, rate.per_s, rate.troubles, rate.within_s) == ("read", 100, 4, 0.002)
    assert rate.mean_s == pytest.approx(0.00299)
    assert rates.per_second(BEFORE, NOW, "operations", "read_bytes") == 409_600
    assert rates.share(BEFORE, NOW, "cache") == "75% hits"


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(look(10.0, took_s=(1.0,)), id="no time between"),
        pytest.param(look(12.0, pid=2, took_s=(1.0,)), id="another process answers"),
    ],
)
def test_what_cannot_be_compared_is_no_rate(now: Figures) -> None:
    assert rates.operations(BEFORE, now) == []
    assert rates.per_second(BEFORE, now, "operations", "read_bytes") == 0.0
    assert "0 operations/s" in rates.line(BEFORE, now)
    assert "No operations just now." in rates.lines(BEFORE, now)


def test_the_wall_clock_may_go_back_or_far_ahead_between_the_looks() -> None:
    later = look(12.0, took_s=(0.001,) * 10)
    for last_ns in (0, 1 << 62):
        jumped = later | {"epoch": {"ops": 0, "last_ns": last_ns}, "scrub": {"ended_ns": last_ns}}
        assert rates.operations(BEFORE, jumped) == rates.operations(BEFORE, later) != []
        assert rates.lines(BEFORE, jumped) == rates.lines(BEFORE, later)


def test_the_screen() -> None:
    assert rates.lines(BEFORE, NOW) == [
        "Mount      /mnt  (/srv/v)",
        "Health     good",
        "Bytes      400.0 KiB/s read, 0 B/s written",
        "Now        2 in progress, 1 wait for room",
        "Cache      75% hits, 1.0 KiB of 2.0 KiB",
        "Journal    0 B of 1 B, 0 records/s, 0 B not durable, 0 records not committed",
        "Sealing    0 B/s, 5 B hot",
        "Disk       1.0 KiB of 4.0 KiB free: /srv/v",
        "",
        "Operation       each s      mean   99 % in  failed",
        "read               100   2.99 ms      2 ms       4",
        "all                100",
    ]


def test_the_bucket_and_what_is_wrong_are_shown() -> None:
    bucket = {
        "answers": False,
        "traffic": {"up_bytes": 0, "down_bytes": 2048},
        "waiting": 3,
        "backlog": {"packs": 7, "bytes": 1 << 20},
        "cache": {"hits": 0, "misses": 0, "bytes": 0},
    }
    earlier = bucket | {"traffic": {"up_bytes": 0, "down_bytes": 0}}
    before = look(1.0, bucket=earlier)
    now = look(2.0, bucket=bucket, healthy=False, reasons=["a disk is missing: /b", "sealer fails: no"])
    shown = rates.lines(before, now)
    assert "Bucket     NO ANSWER, 0 B/s up, 2.0 KiB/s down, 3 reads wait" in shown
    assert "Backlog    7 packs, 1.0 MiB to upload" in shown
    assert "Health     a disk is missing: /b; sealer fails: no" in shown
    assert rates.line(before, now).endswith("1.0 MiB to upload, NEEDS A LOOK")


def mounts_at(*points: str) -> list[Mount]:
    other = Mount(point="/", fstype="ext4", source="/dev/x", device="1:1", owner=None)
    return [other, *(other._replace(point=point, fstype=FSTYPE) for point in points)]


def test_without_a_mount_point_there_is_one_mount_or_a_sentence() -> None:
    assert top.only_mount(mounts_at("/a")) == "/a"
    with pytest.raises(NotAVolume, match="no rustfsfs volume is mounted"):
        top.only_mount(mounts_at())
    with pytest.raises(UsageError, match="name one of /a, /b"):
        top.only_mount(mounts_at("/b", "/a"))


def hear_ctrl_c() -> None:
    """In a child: a test that mounted in this process has blocked it, as the command does at its end."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def on_terminal(point: Path) -> tuple[subprocess.Popen[bytes], int]:
    """`rustfsfs top` there, and our end of its terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rustfsfs", "top", str(point), "--interval", "0.3"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        preexec_fn=hear_ctrl_c,
        start_new_session=True,
    )
    os.close(theirs)
    return process, ours


def read_until(fd: int, wanted: bytes) -> bytes:
    found, deadline_s = b"", time.monotonic() + TIMEOUT_S
    while wanted not in found:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline_s - time.monotonic()))
        assert ready, found[-2000:]
        found += os.read(fd, 65536)
    return found


@pytest.mark.fuse
@pytest.mark.slow
def test_on_a_terminal_q_and_ctrl_c_end_it_and_leave_the_terminal_as_it_was(mounted: Mounted) -> None:
    for end in ("q", "Ctrl-C", "unmount"):
        process, fd = on_terminal(mounted.point)
        shown = read_until(fd, b"q ends this")
        assert b"\x1b[?1049h" in shown and str(mounted.point).encode() in shown
        match end:
            case "q":
                os.write(fd, b"q")
            case "Ctrl-C":
                process.send_signal(signal.SIGINT)
            case _:
                mounted.umount()
        read_until(fd, b"\x1b[?1049l")
        assert process.wait(TIMEOUT_S) == (5 if end == "unmount" else 0)
        os.close(fd)


@pytest.mark.fuse
@pytest.mark.slow
def test_where_there_is_no_terminal_each_look_is_a_line(mounted: Mounted) -> None:
    command = [sys.executable, "-m", "rustfsfs", "top", str(mounted.point), "--interval", "0.2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, preexec_fn=hear_ctrl_c, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0
    assert all("operations/s" in line and "\x1b" not in line for line in lines)


@pytest.mark.fuse
@pytest.mark.slow
def test_mistakes_are_one_sentence(mounted: Mounted) -> None:
    short = mounted.run("top", mounted.point, "--interval", "0", check=False)
    assert (short.returncode, short.stderr) == (2, "rustfsfs: --interval: 0 s is too short; at least 0.2\n")
    mounted.umount()
    none = mounted.run("top", mounted.volume, check=False)
    assert none.returncode == 4 and "is not mounted" in none.stderr
