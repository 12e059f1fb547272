"""Records reach whoever reads the log, in order; and nobody waits for one who does not."""

import logging
import logging.handlers
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rustfsfs.service import queuedlog
from rustfsfs.service.queuedlog import RECORDS_MAX, QueuedHandler

TIMEOUT_S = 30.0
OF_A_DAEMON = """
import logging, sys
from rustfsfs.service import logs
from rustfsfs.volume.volume import log
handler = logs.start(logs.Place(volume=sys.argv[1], mount_point="/mnt", foreground=True), "info")
"""


class Slow(logging.Handler):
    """Keeps what it is given, once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.may_write = threading.Event()
        self.lines: list[str] = []
        self.is_closed = False

    def emit(self, record: logging.LogRecord) -> None:
        assert self.may_write.wait(TIMEOUT_S)
        self.lines.append(self.format(record))

    def close(self) -> None:
        self.is_closed = True
        super().close()


@pytest.fixture
def slow() -> Iterator[Slow]:
    found = Slow()
    yield found
    found.may_write.set()


def logger_to(target: logging.Handler) -> tuple[logging.Logger, QueuedHandler]:
    handler = QueuedHandler(target)
    found = logging.Logger("tests.queuedlog")
    found.addHandler(handler)
    return found, handler


def wait_for(done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + TIMEOUT_S
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_nobody_waits_and_all_is_written_in_order_before_it_is_closed(slow: Slow) -> None:
    log, handler = logger_to(slow)
    said = ["as it is now"]
    log.info("a list is %s", said)
    said.append("and was not then")
    try:
        raise LookupError("nothing there")
    except LookupError:
        log.exception("a task failed")
    assert slow.lines == []
    slow.may_write.set()
    handler.close()
    assert slow.is_closed
    assert slow.lines[0] == "INFO a list is ['as it is now']"
    assert slow.lines[1].startswith("ERROR a task failed\nTraceback (most recent call last):\n")
    assert slow.lines[1].endswith("\nLookupError: nothing there")
    handler.close()  # as the interpreter does at its end


def test_what_is_lost_is_counted(slow: Slow) -> None:
    log, handler = logger_to(slow)
    log.info("0")
    wait_for(handler.queue.empty)  # and written just now
    for number in range(1, RECORDS_MAX + 1 + 7):
        log.info("%d", number)
    slow.may_write.set()
    wait_for(handler.queue.empty)
    log.info("after all")
    slow.may_write.clear()
    for number in range(RECORDS_MAX + 100):
        log.info("%d", number)
    slow.may_write.set()
    handler.close()
    lost = "WARNING the log was not read: the 7 records before this one are lost"
    assert slow.lines[: RECORDS_MAX + 3] == [
        *(f"INFO {number}" for number in range(RECORDS_MAX + 1)),
        lost,
        "INFO after all",
    ]
    assert "WARNING the log was not read: the " in slow.lines[-1], "those at the end are told of, too"


def test_the_end_waits_for_one_who_does_not_read_but_not_for_ever(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queuedlog, "FLUSH_S_MAX", 0.2)
    log, handler = logger_to(slow)
    log.info("said")
    began_s = time.monotonic()
    handler.close()
    handler.close()
    assert 0.2 <= time.monotonic() - began_s < 2 and not slow.is_closed


def test_a_syslog_that_does_not_read_holds_nobody(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        log, handler = logger_to(logging.handlers.SysLogHandler(str(tmp_path / "log")))
        for number in range(500):  # far more than a socket's queue
            log.info("line %d", number)
        syslog.settimeout(TIMEOUT_S)
        found = [syslog.recv(1000) for _ in range(500)]
        handler.close()
    assert found == [b"<14>line %d\0" % number for number in range(500)]


@pytest.mark.parametrize("stderr", ["pipe", "pipe that does not block"])
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param("handler.close()", 0, id="in order"),
        pytest.param("raise RuntimeError('a bug')", 1, id="by an exception"),
        pytest.param("sys.exit(7)", 7, id="by sys.exit"),
    ],
)
def test_what_was_logged_is_read_however_the_process_ends(tmp_path: Path, stderr: str, ending: str, code: int) -> None:
    """The reader is slow to begin: most of it waits then."""
    blocks = "" if stderr == "pipe" else "import os; os.set_blocking(2, False)\n"
    script = f"{blocks}{OF_A_DAEMON}\nfor number in range(1500): log.info('line %d %s', number, 'x' * 90)\n{ending}"
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stderr=subprocess.PIPE, text=True) as process:
        time.sleep(0.5)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(TIMEOUT_S) == code
    assert re.findall(r" INFO line (\d+) x{90}\n", said) == [str(number) for number in range(1500)]


def test_a_pipe_that_nobody_reads_does_not_keep_the_process_from_its_end(tmp_path: Path) -> None:
    """Nor does the lock of a buffer that the write without end holds."""
    script = (
        f"from rustfsfs.service import queuedlog; queuedlog.FLUSH_S_MAX = 0.2\n{OF_A_DAEMON}"
        "for number in range(5000): log.info('line %d %s', number, 'x' * 90)\nhandler.close(); print('ended')"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path],
            stderr=stderr,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
            env=buffered,
        )
    assert (done.returncode, done.stdout) == (0, b"ended\n")


@pytest.mark.parametrize("stderr", ["/dev/full", "closed"])
def test_a_log_that_cannot_be_written_is_nobody_s_trouble(tmp_path: Path, stderr: str) -> None:
    close = "" if stderr == "/dev/full" else "import os; os.close(2)\n"
    script = f"{close}{OF_A_DAEMON}\nlog.error('said', exc_info=LookupError('there'))\nhandler.close(); print('ended')"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path],
            stderr=full,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"ended\n")
