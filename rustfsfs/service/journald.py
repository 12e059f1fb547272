"""Log records for journald, with fields it indexes: its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

One datagram a record. It never blocks and never raises: what journald does not take is lost, and counted in the next
record that it takes.
"""

import logging
import os
import socket
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from struct import pack

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "rustfsfs"
VALUE_BYTES_MAX = 16 * 1024  # of a field: a datagram of all of them fits into any socket's buffer
PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)
DEBUG = 7

task_name: ContextVar[str | None] = ContextVar("task_name", default=None)  # of the background task that logs


def is_stderr(environment: Mapping[str, str], fd: int = 2) -> bool:
    """Does our standard error go to journald? $JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalHandler(logging.Handler):
    """Every record carries `fields` too, beside those of its own: see `fields_of`."""

    def __init__(self, fields: Mapping[str, str], *, path: str = SOCKET) -> None:
        super().__init__()
        self._path = path
        self._fields = dict(fields)
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = self._fields | fields_of(record)
            if self._lost:
                fields["MESSAGE"] += f" (journald did not take the records before this one: {self._lost} are lost)"
            self._socket.sendto(encode(fields), self._path)  # by its path each time: journald may have been restarted
            self._lost = 0
        except OSError:
            self._lost += 1
        except Exception:
            self.handleError(record)  # a record that cannot be formatted is our bug, and no reason to fail

    def close(self) -> None:
        self._socket.close()
        super().close()


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """MESSAGE, PRIORITY, where in the code, which task; of an exception its type and its traceback."""
    found = {
        "MESSAGE": record.getMessage(),
        "PRIORITY": str(next((number for level, number in PRIORITIES if record.levelno >= level), DEBUG)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
    }
    task = task_name.get()
    if task is not None:
        found["RUSTFSFS_TASK"] = task
    if record.exc_info is not None and record.exc_info[1] is not None:
        found["RUSTFSFS_EXCEPTION"] = type(record.exc_info[1]).__name__
        found["RUSTFSFS_TRACEBACK"] = "".join(traceback.format_exception(record.exc_info[1]))
    return found


def encode(fields: Mapping[str, str]) -> bytes:
    """A field a line; one with a line feed in it has its length before it instead: 64 bits, little endian."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")
        if len(value) > VALUE_BYTES_MAX:
            value = value[: VALUE_BYTES_MAX - 4] + b" ..."
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)
