"""One FUSE session: from mounting to the end of the loop. With `ops` the only code that knows pyfuse3's state."""

import os
import tempfile
from collections.abc import Callable, Iterable

import pyfuse3

from rustfsfs.errors import MachineTrouble
from rustfsfs.fuse import waiting

MIN_TASKS = 20  # idle tasks kept: with fewer pyfuse3 keeps ending and starting them (measured: 0.74 of the speed)
READ_AHEAD_KIB = "1024"  # as much as one request may ask for; 4096 is no faster (measured)
MAX_TASKS = 2000  # they are made when they are needed, and a waiting one costs a few KiB


def begin(operations: pyfuse3.Operations, mount_point: str, options: Iterable[str]) -> None:
    """Mount. Raises MachineTrouble with libfuse's own reason, which it prints to descriptor 2 only."""
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            pyfuse3.init(operations, mount_point, set(options))
        except RuntimeError as exc:
            said.seek(0)
            reason = said.read().decode(errors="replace").strip().replace("\n", "; ") or str(exc)
            raise MachineTrouble(f"{mount_point} cannot be mounted: {reason}") from exc
        finally:
            os.dup2(before, 2)
            os.close(before)


async def run(others_work: Callable[[], bool]) -> None:
    """Answer requests until unmounted or told to end. `others_work`: see `waiting`."""
    waiting.install(others_work)
    await pyfuse3.main(min_tasks=MIN_TASKS, max_tasks=MAX_TASKS)


def end() -> None:
    """Let `run` return; from the trio thread."""
    pyfuse3.terminate()


def close(*, unmount: bool) -> None:
    pyfuse3.close(unmount=unmount)


def tune(device: str) -> None:
    """Larger read-ahead: 8 requests become 1. Only root may; harmless if it cannot.

    Not before the kernel has had an answer to a request: what it hears of us at the first, its greeting, it takes for a
    limit, and that is what it had before.
    """
    try:
        with open(f"/sys/class/bdi/{device}/read_ahead_kb", "w") as file:
            file.write(READ_AHEAD_KIB)
    except OSError:
        pass
