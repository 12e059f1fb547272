"""Where the log of a mount goes, and what a process that is aborted leaves there."""

import faulthandler
import io
import logging
import logging.handlers
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rustfsfs.service import journald
from rustfsfs.service.queuedlog import STDERR, QueuedHandler, StderrHandler
from rustfsfs.volume.notices import notice
from rustfsfs.volume.volume import log

LOG_NAME, LOG_SIZE_MAX, LOGS_KEPT = "rustfsfs.log", 4 << 20, 4
SYSLOG = "/dev/log"
PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose log it is."""

    volume: str
    mount_point: str
    foreground: bool


def start(place: Place, level: str, *, journal: str = journald.SOCKET) -> logging.Handler:
    """In the foreground stderr, or journald if that is behind it; else syslog or VOLUME/rustfsfs.log, rotated.

    Whoever logs waits for none of them. To be closed, which brings out what was not written yet.
    """
    handler: logging.Handler
    if place.foreground and journald.is_stderr(os.environ) and os.path.exists(journal):
        fields = {"RUSTFSFS_VOLUME": place.volume, "RUSTFSFS_MOUNT_POINT": place.mount_point}
        handler = journald.JournalHandler(fields, path=journal)  # never waits, and has a task's name at hand
    else:
        handler = QueuedHandler(_target(place))
    for spoken in list(notice.handlers):  # no terminal any more, or the whole log on it
        notice.removeHandler(spoken)
    log.addHandler(handler)
    log.setLevel(level.upper())
    return handler


def _target(place: Place) -> logging.Handler:
    target: logging.Handler
    if place.foreground:
        target = StderrHandler()
    elif os.path.exists(SYSLOG):
        target = logging.handlers.SysLogHandler(SYSLOG, facility="daemon")
        target.ident = "rustfsfs: "
    else:
        target = _file_handler(f"{place.volume}/{LOG_NAME}")
    target.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return target


def _file_handler(path: str) -> logging.Handler:
    """A volume on a read-only file system is mounted all the same, without a log."""
    for old in range(1, LOGS_KEPT + 1):
        with suppress(OSError):
            os.chmod(f"{path}.{old}", PRIVATE)
    try:
        return PrivateFileHandler(path, maxBytes=LOG_SIZE_MAX, backupCount=LOGS_KEPT, encoding="utf-8")
    except OSError:
        return logging.NullHandler()


class PrivateFileHandler(logging.handlers.RotatingFileHandler):
    """Only their owner reads the log and the rotated ones, whatever the umask: they name files of users."""

    def _open(self) -> io.TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        with suppress(OSError):  # one of before, and another owner's, say
            os.fchmod(fd, PRIVATE)
        return os.fdopen(fd, "a", encoding=self.encoding)


@contextmanager
def stacks_when_aborted(place: Place) -> Iterator[None]:
    """SIGABRT, which a watchdog sends, and a crash leave every thread's stack in the log.

    In the background that is VOLUME/rustfsfs.log, beside a syslog too; on a read-only disk nowhere.
    """
    fd = STDERR if place.foreground else _opened(f"{place.volume}/{LOG_NAME}")
    faulthandler.enable(fd)
    try:
        yield
    finally:
        faulthandler.disable()
        if fd != STDERR:
            os.close(fd)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    except OSError:
        return STDERR  # of a daemon: nowhere
