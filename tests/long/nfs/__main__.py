"""make test-nfs: NFS-Ganesha exports a mount, libnfs works on it, and both servers restart under open files.

PARTS="operations restarts" chooses, RESTARTS= changes how many. A run does each part once, whatever MINUTES says; then
the last one again until they are over.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.conftest import can_mount
from tests.long.nfs import operations, restarts
from tests.long.nfs.place import Place, enter, new_place
from tests.long.results import Suite, run

RESTARTS = 20  # issue 6: 10 of them SIGKILLs
PARTS: dict[str, Callable[[Place, int], dict[str, int]]] = {
    "operations": operations.cover,
    "restarts": lambda place, seed: restarts.cover(place, seed, int(os.environ.get("RESTARTS") or RESTARTS)),
}


def work(suite: Suite) -> None:
    names = os.environ.get("PARTS", "").split() or list(PARTS)
    assert set(names) <= set(PARTS), f"there are: {' '.join(PARTS)}"
    left = list(names)
    while left or suite.has_time:
        name = left.pop(0) if left else names[-1]
        with tempfile.TemporaryDirectory(prefix="nfs") as folder:
            os.chmod(folder, 0o755)
            with new_place(Path(folder)) as place:
                covered = PARTS[name](place, suite.seed)
        print(f"{name}: {', '.join(f'{amount:,} {what}' for what, amount in covered.items())}", flush=True)
        suite.count(parts=1, **covered)


if __name__ == "__main__":
    reason = can_mount()
    if reason is not None:
        print(reason)
        sys.exit(2)
    enter()
    run(Suite("nfs", minutes=1), work, needs="parts")
