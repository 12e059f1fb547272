"""A few stories that together pass by every sync and every ordering: what every mutant is put before."""

import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.crash.disk import Everything
from tests.crash.story import (
    Explored,
    Faults,
    explore,
    explore_format,
    explore_kill,
    explore_recovery,
    explore_snapshots,
    replayed,
    told,
)

LIMIT = 10


def hunts(path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name, story) in the order of what they cost."""
    numbers = iter(range(1000))

    def new() -> Path:
        return path / f"v{next(numbers)}"

    def cut(*steps: str, faults: Faults | None = None) -> tuple[str, Callable[[], None]]:
        def run() -> None:
            well = told(new(), steps) if faults else None
            explore(told(new(), steps, faults=faults, well=well), Explored(), limit=LIMIT, seed=1)

        return f"{steps}, {faults}", run

    def run_format() -> None:
        explore_format(new(), Explored(), limit=LIMIT, seed=1)

    def run_kill() -> None:
        explore_kill(told(new(), ("write",)), Explored(), limit=LIMIT, seed=1, steps=("mkdir", "fsync"))

    def run_recovery(*steps: str) -> Callable[[], None]:
        def run() -> None:
            story = told(new(), steps)
            explore_recovery(story, Explored(), limit=3, seed=3, steps=("create", "mkdir", "fsync", "create later"))

        return run

    def run_snapshots() -> None:
        explore_snapshots(told(new(), ("snapshot", "truncate to nothing", "seal", "collect", "snapshot", "write")))

    def run_older_snapshots() -> None:
        no_journal = ("roll", "seal", "epoch", "mkdir", "epoch")  # behind the snapshot, that could make up for it
        explore_snapshots(
            told(new(), ("seal", "snapshot", "truncate to nothing", "collect quietly", *no_journal)), limit=2
        )
        explore_snapshots(told(new(), ("write", "snapshot", "roll", "seal", "epoch", "mkdir", "epoch")), limit=2)

    def run_replay() -> None:
        story = told(new(), ("write", "overwrite"))
        assert replayed(story.path, story.files.power_loss(Everything())) == story.image

    yield cut("create", "fsync", "write")
    yield "replay", run_replay
    yield cut("roll", "create")
    yield cut("write", "seal batch", "epoch", "overwrite")
    yield cut("overwrite", "epoch", "create")
    yield cut("chmod", "write within an epoch", "create")
    yield cut("unlink", "reap", "same again", "bury within a seal")
    yield cut("write within a seal", "epoch")
    yield cut("write", "fsync", faults={"sync": [errno.EIO]})
    yield cut("write", "overwrite", "fsync", faults={"pwrite": [errno.EIO]})
    yield cut("write", "overwrite", "fsync", faults={"pwrite": ["short"]})
    yield cut("create", "mkdir", "fsync", faults={"sync": [None, errno.EIO]})
    yield "format", run_format
    yield "kill", run_kill
    yield cut("truncate to nothing", "drop", "delete doomed")
    yield "snapshots", run_snapshots
    yield "older snapshots", run_older_snapshots
    yield cut("snapshot", "truncate to nothing", "collect")
    yield "recovery", run_recovery("write", "setxattr", "chmod")
    yield cut("truncate to nothing", "seal", "collect", "snapshot")
    yield "recovery of packs", run_recovery("seal batch")


def fails(path: Path) -> bool:
    """Does any story go wrong? Says which, on stderr."""
    for name, run in hunts(path):
        try:
            run()
        except BaseException as exc:
            print(f"{name}: {str(exc)[:200] or type(exc).__name__}", file=sys.stderr)
            return True
    return False
