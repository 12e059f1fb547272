"""A mount that hangs holds its test in the kernel, out of reach of signals. Its daemon is ended: so the test fails."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HANGS_S = 480.0  # well below faulthandler_timeout, which ends the whole run
STACKS_S = 3.0
TOLD = 6000  # characters of a log


@contextmanager
def ending_daemons(folder: Path, after_s: float = HANGS_S) -> Iterator[threading.Timer]:
    """Of volumes below `folder`, if that lasts so long; their stacks and the ends of their logs go to stderr."""
    timer = threading.Timer(after_s, _end, [folder])
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()


def _end(folder: Path) -> None:
    print("A test takes too long: its mounts are ended.", file=sys.__stderr__)
    ended: list[tuple[int, str]] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it is gone
        volume = next((one for one in arguments if one.startswith(os.fsencode(folder) + b"/")), None)
        if b"mount" in arguments and volume is not None:
            ended.append((int(process.name), os.fsdecode(volume)))
            _signal(int(process.name), signal.SIGABRT)  # which leaves the stacks in its log
            _signal(int(process.name), signal.SIGCONT)  # if it was stopped
    time.sleep(STACKS_S)
    for pid, path in ended:
        _signal(pid, signal.SIGKILL)
        log = Path(path, "rustfsfs.log")
        told = log.read_text(errors="replace")[-TOLD:] if log.exists() else "no log"
        print(f"{path} ({pid}):\n{told}", file=sys.__stderr__)


def _signal(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass
