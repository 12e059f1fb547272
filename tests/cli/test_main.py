"""The end of every error: one sentence, one code."""

from typing import Any

import pytest

from rustfsfs.cli import exits
from rustfsfs.cli.main import report
from rustfsfs.cli.mount import DaemonFailed
from rustfsfs.cli.status import _requests, describe

COUNTS = (
    "files",
    "directories",
    "logical_bytes",
    "hot_bytes",
    "unique_bytes",
    "stored_bytes",
    "dead_bytes",
    "damaged_chunks",
)


def test_a_bug_of_a_daemon_names_one_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(DaemonFailed("a bug; the traceback is in /v/rustfsfs.log", exits.BUG)) == exits.BUG
    assert capsys.readouterr().err == "rustfsfs: a bug; the traceback is in /v/rustfsfs.log\n"


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        pytest.param(2.0, "2.00 times smaller by deduplication", id="smaller"),
        pytest.param(0.5, "2.00 times larger, nothing saved by deduplication", id="larger"),
        pytest.param(0.0, "0 B\n", id="nothing sealed"),
        pytest.param(None, "0 B\n", id="nothing"),
    ],
)
def test_a_ratio_in_words(ratio: float | None, says: str) -> None:
    shown: dict[str, Any] = {
        "volume": {"path": "/v", "uuid": "u", "state": "unclean", "pid": None, "mount_point": None},
        "journal": {"bytes": 0, "bytes_max": 0},
        "cache": {"ram_bytes": 0, "ram_bytes_max": 0},
        "epoch": {"last_ns": 0},
        "scrub": {"begun_ns": 0, "ended_ns": 0, "verified_bytes": 0, "found": 0, "repaired": 0},
        "disks": [],
        "tasks": [],
        "metadata_bytes": 0,
        "metadata_damage": None,
        "healthy": True,
        "reasons": [],
        "dedup_ratio": ratio,
        "compression_ratio": None,
        **dict.fromkeys(COUNTS, 0),
    }
    assert f"Unique     0 B, {says}" in describe(shown) or f"Unique     {says}" in describe(shown)
    assert "rustfsfs mount brings everything back" in describe(shown)
    assert "Left alone" not in describe(shown)
    told = describe(shown | {"left_alone": {"damaged": 2, "lost": 1}})
    assert "Left alone 2 packs damaged on a disk" in told and "Left alone 1 pack lost in the bucket" in told


@pytest.mark.parametrize(
    ("troubles", "says"),
    [
        pytest.param(0, "1,234 since the mount; 1.0 KiB read, 0 B written", id="everyday errors are not told"),
        pytest.param(2, "1,234 since the mount, of which disks, space or bucket failed 2; 1.0 KiB", id="trouble is"),
    ],
)
def test_requests_in_words(troubles: int, says: str) -> None:
    counted = {"answered": 1234, "errors": 100, "troubles": troubles, "read_bytes": 1024, "written_bytes": 0}
    assert _requests(counted).startswith(says)
