"""What the composition root does to its own process."""

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.config import Config
from rustfsfs.mount import LOG_NAME, MountOptions, spare_collector, start_log
from rustfsfs.service.journald import JournalHandler
from rustfsfs.volume.volume import log


class Node:
    """Garbage that only the collector can free, once it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_left_out_of_collections_and_what_comes_later_is_not() -> None:
    try:
        spare_collector()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1000
        later = weakref.ref(Node())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()


def options(volume: Path, *, foreground: bool) -> MountOptions:
    return MountOptions(
        volume=str(volume),
        mount_point="/mnt",
        foreground=foreground,
        read_only=False,
        config_path=None,
        options=frozenset(),
        degraded=False,
        skip_seq=None,
    )


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
        pytest.param(True, False, logging.StreamHandler, id="journald whose socket is gone"),
        pytest.param(False, True, logging.StreamHandler, id="a terminal"),
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
        handler = start_log(options(tmp_path, foreground=True), Config(), journal=str(tmp_path / "journal"))
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
        "import os, sys; from pathlib import Path; from tests.test_mount import options;"
        "from rustfsfs.mount import stacks_when_aborted\n"
        "with stacks_when_aborted(options(Path(sys.argv[1]), foreground=False)): os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGABRT, b"")
    assert "Fatal Python error: Aborted" in (tmp_path / LOG_NAME).read_text()
