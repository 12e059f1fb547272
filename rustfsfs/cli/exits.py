"""From what went wrong to an exit code and one sentence. The codes are documented in man/rustfsfs-exit-codes.7.md."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    DamagedData,
    MachineTrouble,
    NoSpace,
    ObjectExists,
    ObjectFrozen,
    ObjectMissing,
    OpeningError,
    RustfsfsError,
)

DONE, BUG, USAGE, WRONG_KEY, NOT_A_VOLUME, IN_USE, MACHINE, FINDINGS, NETWORK, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    130,
)
MEANINGS = {
    DONE: "done",
    BUG: "our own fault; the log has a traceback",
    USAGE: "usage",
    WRONG_KEY: "wrong or missing key",
    NOT_A_VOLUME: "not a volume, of a newer format, or damaged beyond opening",
    IN_USE: "in use: mounted, locked, busy, or not empty",
    MACHINE: "the machine: no /dev/fuse, no fusermount3, a disk missing, read-only or full",
    FINDINGS: "findings",
    NETWORK: "bucket or network",
    INTERRUPTED: "interrupted",
}
MACHINE_ERRNOS = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ENODEV, errno.EACCES, errno.EPERM)


def code_of(exc: BaseException) -> int:
    if isinstance(exc, OpeningError):
        return exc.exit_code
    if isinstance(exc, DamagedData):
        return FINDINGS
    if isinstance(exc, CloudUnavailable | CloudRefused | ObjectMissing | ObjectExists | ObjectFrozen):
        return NETWORK
    if isinstance(exc, NoSpace | RustfsfsError):
        return MACHINE
    if isinstance(exc, OSError) and exc.errno in MACHINE_ERRNOS:
        return MACHINE
    return INTERRUPTED if isinstance(exc, KeyboardInterrupt) else BUG


def sentence_of(exc: BaseException) -> str:
    if isinstance(exc, RustfsfsError):
        return str(exc)
    if isinstance(exc, KeyboardInterrupt):
        return "interrupted"
    if isinstance(exc, OSError) and exc.errno in MACHINE_ERRNOS:
        return f"{exc.filename or 'the volume'}: {exc.strerror}"
    return f"this is a bug of rustfsfs ({exc!r})"


def log_bug(exc: BaseException, folder: str | None) -> str | None:
    """Append the traceback to FOLDER/rustfsfs.log, else to one in the temporary directory; returns its path."""
    text = "".join(traceback.format_exception(exc))
    for place in (folder, tempfile.gettempdir()):
        if place is None:
            continue
        path = os.path.join(place, "rustfsfs.log" if place == folder else f"rustfsfs-{os.getuid()}.log")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
            return path
        except OSError:
            continue
    return None


def echo(text: str) -> None:
    """A line on the standard output. Raises BrokenPipeError, MachineTrouble."""
    with written():
        print(text, flush=True)


@contextmanager
def written() -> Iterator[None]:
    """Trouble with the standard output inside the block is named as such. Raises BrokenPipeError, MachineTrouble."""
    if sys.stdout is None:
        raise MachineTrouble("the output cannot be written (it is closed)")
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would try once more at its end
        raise MachineTrouble(f"the output cannot be written ({exc.strerror})") from exc


def say(text: str) -> None:
    """A sentence on the standard error, if that takes one; the exit code says the rest."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"rustfsfs: {text}", file=sys.stderr, flush=True)
