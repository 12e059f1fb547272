"""Where the log of a mount goes."""

import logging
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.service import logs
from rustfsfs.service.journald import JournalHandler
from rustfsfs.service.queuedlog import QueuedHandler
from rustfsfs.volume.volume import log


def place(volume: Path, *, foreground: bool) -> logs.Place:
    return logs.Place(volume=str(volume), mount_point="/mnt", foreground=foreground)


@pytest.fixture
def logged() -> Iterator[None]:
    """The package's logger as it was before."""
    level = log.level
    yield
    log.setLevel(level)


@pytest.mark.parametrize(
    ("behind_stderr", "socket_there", "expected"),
    [
        pytest.param(True, True, JournalHandler, id="journald"),
        pytest.param(True, False, QueuedHandler, id="journald whose socket is gone"),
        pytest.param(False, True, QueuedHandler, id="a terminal"),
    ],
)
def test_in_the_foreground_journald_is_spoken_to_if_it_is_behind_stderr(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: None,
    behind_stderr: bool,
    socket_there: bool,
    expected: type[logging.Handler],
) -> None:
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + (not behind_stderr)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        if socket_there:
            listener.bind(str(tmp_path / "journal"))
        handler = logs.start(place(tmp_path, foreground=True), "info", journal=str(tmp_path / "journal"))
        try:
            assert type(handler) is expected
            if expected is JournalHandler:
                log.info("mounted")
                said = listener.recv(10_000)
                assert b"MESSAGE=mounted\n" in said and f"RUSTFSFS_VOLUME={tmp_path}\n".encode() in said
        finally:
            log.removeHandler(handler)
            handler.close()


def test_an_aborted_daemon_in_the_background_leaves_its_stacks_beside_the_volume(tmp_path: Path) -> None:
    """In a process of its own: it ends."""
    script = (
        "import os, sys; from pathlib import Path; from tests.service.test_logs import place;"
        "from rustfsfs.service import logs\n"
        "with logs.stacks_when_aborted(place(Path(sys.argv[1]), foreground=False)): os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGABRT, b"")
    assert "Fatal Python error: Aborted" in (tmp_path / logs.LOG_NAME).read_text()


def test_only_its_owner_reads_a_log_beside_the_volume_whatever_was_there_and_however_often_it_rotates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: None
) -> None:
    monkeypatch.setattr(logs, "SYSLOG", str(tmp_path / "none"))
    monkeypatch.setattr(logs, "LOG_SIZE_MAX", 100)
    before = os.umask(0)  # as of a daemon
    try:
        for old in (logs.LOG_NAME, f"{logs.LOG_NAME}.1", f"{logs.LOG_NAME}.4"):
            (tmp_path / old).touch(mode=0o666)
        handler = logs.start(place(tmp_path, foreground=False), "info")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        assert modes == dict.fromkeys(modes, 0o600) and len(modes) == 3
        try:
            for number in range(9):
                log.info("%d: a file of a user's is damaged: %s", number, "x" * 60)
        finally:
            log.removeHandler(handler)
            handler.close()
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(modes, 0o600) and len(modes) == 1 + logs.LOGS_KEPT
