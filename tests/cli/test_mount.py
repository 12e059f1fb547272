"""The two processes of `mount`, without a mount."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from rustfsfs.cli.mount import HEARD, DaemonFailed, NobodyWaits, Teller, start_daemon
from rustfsfs.errors import InUse
from rustfsfs.mount import Ready


def test_a_daemon_that_is_heard_goes_on() -> None:
    ours, theirs = socket.socketpair()
    teller = Teller(theirs)
    asked = threading.Thread(target=teller.ready, args=("careful",))
    asked.start()
    with ours:
        assert json.loads(ours.recv(1000)) == {"exit": 0, "text": "careful"}
        ours.send(HEARD)
        asked.join()
        assert not teller.tell(1, "one answer only")
        assert ours.recv(1000) == b""


@pytest.mark.parametrize("read_first", [False, True], ids=["before it spoke", "before it was heard"])
def test_a_daemon_that_nobody_waits_for_gives_up(read_first: bool) -> None:
    ours, theirs = socket.socketpair()
    if not read_first:
        ours.close()
        with pytest.raises(NobodyWaits):
            Teller(theirs).ready(None)
        return

    def leave() -> None:
        ours.recv(1000)
        ours.close()

    closing = threading.Thread(target=leave)
    closing.start()
    with pytest.raises(NobodyWaits):
        Teller(theirs).ready(None)
    closing.join()


def test_a_warning_of_the_daemon_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work(ready: Ready) -> None:
        ready("the journal is odd; do this")

    assert start_daemon(work, str(tmp_path)) == 0
    assert capfd.readouterr().err == (
        "rustfsfs: warning: the volume can only be read now: the journal is odd; do this\n"
    )


def test_the_daemons_error_is_the_callers_and_its_bug_is_logged_once(tmp_path: Path) -> None:
    def refuse(ready: Ready) -> None:
        raise InUse("somebody has it")

    def fail(ready: Ready) -> None:
        raise AssertionError("ours")

    with pytest.raises(DaemonFailed, match="somebody has it") as caught:
        start_daemon(refuse, str(tmp_path))
    assert caught.value.exit_code == 5
    with pytest.raises(DaemonFailed, match="the traceback is in") as caught:
        start_daemon(fail, str(tmp_path))
    assert caught.value.exit_code == 1
    assert "AssertionError: ours" in (tmp_path / "rustfsfs.log").read_text()
    assert os.listdir(tmp_path) == ["rustfsfs.log"]
