"""Log records as journald takes them, and a journald that is not there, is slow, or comes back."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import unpack

import pytest

from rustfsfs.service.journald import VALUE_BYTES_MAX, JournalHandler, encode, is_stderr, task_name


def decode(data: bytes) -> dict[str, str]:
    """The fields of a datagram, as systemd.io/JOURNAL_NATIVE_PROTOCOL says."""
    found = {}
    while data:
        line, _feed, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = unpack("<Q", rest[:8])[0]
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert end == b"\n"
        found[name.decode()] = value.decode()
        data = rest
    return found


class Journald:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(10)

    def record(self) -> dict[str, str]:
        return decode(self._socket.recv(1 << 20))

    def end(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    found = Journald(tmp_path / "socket")
    yield found
    found.end()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[logging.Logger]:
    handler = JournalHandler({"RUSTFSFS_VOLUME": "/srv/v"}, path=str(tmp_path / "socket"))
    logger = logging.Logger("tests.journald")  # no child of the root, whose records a report would have to carry
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    handler.close()


def test_a_record_has_its_fields(journald: Journald, log: logging.Logger) -> None:
    token = task_name.set("sealer")
    log.warning("pack %d is\nodd", 7)
    task_name.reset(token)
    found = journald.record()
    assert found.pop("CODE_LINE").isdecimal()
    assert found == {
        "MESSAGE": "pack 7 is\nodd",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "rustfsfs",
        "CODE_FILE": __file__,
        "CODE_FUNC": "test_a_record_has_its_fields",
        "RUSTFSFS_VOLUME": "/srv/v",
        "RUSTFSFS_TASK": "sealer",
    }


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_levels_are_syslog_s(journald: Journald, log: logging.Logger, level: int, priority: int) -> None:
    log.log(level, "said")
    found = journald.record()
    assert found["PRIORITY"] == str(priority) and "RUSTFSFS_TASK" not in found


def test_an_exception_is_in_fields_of_its_own(journald: Journald, log: logging.Logger) -> None:
    try:
        raise LookupError("nothing there")
    except LookupError:
        log.exception("a task failed")
    found = journald.record()
    assert found["MESSAGE"] == "a task failed"
    assert found["RUSTFSFS_EXCEPTION"] == "LookupError"
    assert found["RUSTFSFS_TRACEBACK"].endswith("LookupError: nothing there\n")


def test_what_is_too_long_is_cut_and_any_name_can_be_said(journald: Journald, log: logging.Logger) -> None:
    log.error("%s", "x" * 1_000_000)
    assert len(journald.record()["MESSAGE"]) == VALUE_BYTES_MAX
    log.error("the file %s", b"\xff".decode("utf-8", "surrogateescape"))
    assert journald.record()["MESSAGE"] == "the file \\udcff"
    assert encode({"A": "b=c"}) == b"A=b=c\n"


def test_a_journald_that_never_reads_holds_nobody_and_hears_what_it_missed(
    journald: Journald, log: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(5000):  # far more than a socket's queue
        log.info("line %d", number)
    while journald.record()["MESSAGE"] != "line 0":
        pass
    log.info("after all")
    taken = 1
    while "after all" not in (message := journald.record()["MESSAGE"]):
        taken += 1
    assert f"this one: {5000 - taken} are lost)" in message
    assert capfd.readouterr().err == ""


def test_a_journald_that_is_restarted_is_found_again(
    journald: Journald, log: logging.Logger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    journald.end()
    log.info("nobody hears this")
    again = Journald(tmp_path / "socket")
    log.info("hello")
    assert again.record()["MESSAGE"].endswith("this one: 1 are lost)")
    log.info("well")
    assert again.record()["MESSAGE"] == "well"
    again.end()
    assert capfd.readouterr().err == ""


def test_journald_is_known_by_what_our_stderr_is() -> None:
    with open(os.devnull) as file:
        found = os.fstat(file.fileno())
        there = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert is_stderr(there, file.fileno())
        assert not is_stderr({"JOURNAL_STREAM": "1:2"}, file.fileno())
        assert not is_stderr({}, file.fileno())
        closed = file.fileno()
    assert not is_stderr(there, closed)
