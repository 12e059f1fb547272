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
from tests.crash.test_journal_lives import lives_of_a_journal
from tests.crash.test_terms import explore_terms

LIMIT = 10
NO_JOURNAL = ("roll", "seal", "epoch", "mkdir", "epoch")  # behind a snapshot, that could make up for what is gone
LIVES = 40  # seeds


def hunts(path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name, story) in the order of what they cost."""
    numbers = iter(range(1000))

    def new() -> Path:
        return path / f"v{next(numbers)}"

    def cut(*steps: str, faults: Faults | None = None, limit: int = LIMIT) -> tuple[str, Callable[[], None]]:
        def run() -> None:
            well = told(new(), steps) if faults else None
            explore(told(new(), steps, faults=faults, well=well), Explored(), limit=limit, seed=1)

        return f"{steps}, {faults}", run

    def run_format() -> None:
        explore_format(new(), Explored(), limit=LIMIT, seed=1)

    def run_kill(*steps: str) -> Callable[[], None]:
        def run() -> None:
            explore_kill(told(new(), steps), Explored(), limit=LIMIT, seed=1, steps=("mkdir", "fsync"))

        return run

    def run_recovery(*steps: str) -> Callable[[], None]:
        def run() -> None:
            story = told(new(), steps)
            explore_recovery(story, Explored(), limit=3, seed=3, steps=("create", "mkdir", "fsync", "create later"))

        return run

    def run_recovery_after_a_failed_append() -> None:
        steps = ("write", "chmod", "fsync")
        faults: Faults = {"pwrite": [None, errno.EIO]}
        story = told(new(), steps, faults=faults, well=told(new(), steps))
        explore_recovery(story, Explored(), limit=3, seed=3, steps=("create later",), first=story.last, share=1.0)

    def run_inode_numbers() -> None:
        """What gave them out is lost, sooner or later."""
        for seed in range(4):
            story = told(new(), ("create", "mkdir"))
            then = ("create later", "mkdir later")
            explore_recovery(story, Explored(), limit=1, seed=seed, steps=then, first=story.last, share=1.0)

    def run_snapshots() -> None:
        explore_snapshots(told(new(), ("snapshot", "truncate to nothing", "seal", "collect", "snapshot", "write")))

    def run_older_snapshots() -> None:
        steps = ("seal", "snapshot", "truncate to nothing", "collect quietly", *NO_JOURNAL)
        explore_snapshots(told(new(), steps), limit=2)
        explore_snapshots(told(new(), ("write", "snapshot", "roll", "seal", "epoch", "mkdir", "epoch")), limit=2)

    def run_snapshots_being_made() -> None:
        steps = ("seal", "truncate to nothing", "collect within a snapshot", *NO_JOURNAL)
        explore_snapshots(told(new(), steps), limit=2)
        explore_snapshots(told(new(), ("write", "seal within a snapshot")), limit=2)

    def run_lives() -> None:
        for seed in range(LIVES):
            lives_of_a_journal(seed)

    def run_replay() -> None:
        story = told(new(), ("write", "overwrite"))
        assert replayed(story.path, story.files.power_loss(Everything())) == story.image

    yield cut("create", "fsync", "write")
    yield "replay", run_replay
    yield "lives of a journal", run_lives
    yield cut("roll", "create")
    yield cut("write", "seal batch", "epoch", "overwrite")
    yield cut("overwrite", "epoch", "create")
    yield cut("seal", "epoch then roll", "fsync")
    yield cut("chmod", "write within an epoch", "create")
    yield cut("unlink", "reap", "same again", "bury within a seal")
    yield cut("write within a seal", "epoch")
    yield cut("write", "seal")
    yield cut("write", "fsync", faults={"sync": [errno.EIO]})
    yield cut("write", "overwrite", "fsync", faults={"pwrite": [errno.EIO]})
    yield cut("write", "overwrite", "fsync", faults={"pwrite": ["short"]})
    yield cut("create", "mkdir", "fsync", faults={"sync": [None, errno.EIO]})
    yield "format", run_format
    yield "kill", run_kill("write")
    yield "kill with an open pack", run_kill("seal batch")
    yield cut("truncate to nothing", "drop", "delete doomed")
    yield "recovery after a failed append", run_recovery_after_a_failed_append
    yield "snapshots", run_snapshots
    yield "older snapshots", run_older_snapshots
    yield "snapshots being made", run_snapshots_being_made
    yield "terms", lambda: explore_terms(new(), limit=3)
    yield cut("snapshot", "truncate to nothing", "collect")
    yield "inode numbers", run_inode_numbers
    yield "recovery", run_recovery("write", "setxattr", "chmod")
    yield cut("truncate to nothing", "seal", "collect", "snapshot")
    yield "recovery of packs", run_recovery("seal batch")
    yield "disks", cut("disk add", "write", "seal", "disk remove", limit=3)[1]


def fails(path: Path, first: str) -> bool:
    """Does any story go wrong? Says which, on stderr. `first`: the name of the one to begin with, if there is one."""
    for name, run in sorted(hunts(path), key=lambda hunt: hunt[0] != first):
        try:
            run()
        except BaseException as exc:
            print(f"{name}: {str(exc)[:200] or type(exc).__name__}", file=sys.stderr)
            return True
    return False
