"""The whole volume at every power cut, SQLite's files too: a sample of what `make test-crash` goes through.

See `story`: what a story is, and what must hold wherever it is cut.
"""

import errno
import itertools
import logging
import random
from pathlib import Path

import pytest

from tests.crash.disk import Everything
from tests.crash.hunt import NO_JOURNAL
from tests.crash.story import (
    WITHIN,
    Explored,
    explore,
    explore_recovery,
    explore_snapshots,
    replayed,
    sequences,
    told,
)

pytestmark = pytest.mark.slow  # opens a volume for each state, 10 ms each
LIMIT = 3  # states of each cut
PAIRS = random.Random(4).sample(sequences(2), 24)
CHOSEN = [
    ("seal", "overwrite", "seal", "collect"),
    ("unlink", "collect", "seal"),
    ("unlink", "reap", "same again", "bury within a seal"),
    ("disk add", "write", "seal", "disk remove"),
    ("demote",),
    ("demote", "unlink", "drop", "delete objects"),
    ("upload", "unlink", "demote"),
    ("write", "seal", "demote", "recall"),
    ("demote", "same again", "seal", "sweep"),
    ("demote", "unlink", "collect", "snapshot", "snapshot", "delete objects"),
]
SEQUENCES = [*sequences(1), *PAIRS, *CHOSEN]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand plugs are pulled, and each is logged."""
    monkeypatch.setattr(logging.getLogger("rustfsfs"), "disabled", True)


def named(steps: tuple[str, ...]) -> str:
    return ", ".join(steps)


@pytest.mark.parametrize("steps", SEQUENCES, ids=named)
def test_every_power_cut_leaves_a_prefix_up_to_the_last_fsync(tmp_path: Path, steps: tuple[str, ...]) -> None:
    story = told(tmp_path / "v", steps)
    explore(story, Explored(), limit=LIMIT, seed=1)


@pytest.mark.parametrize("steps", SEQUENCES, ids=named)
def test_a_replay_gives_the_same_database_byte_for_byte(tmp_path: Path, steps: tuple[str, ...]) -> None:
    story = told(tmp_path / "v", steps)
    assert replayed(story.path, story.files.power_loss(Everything())) == story.image


@pytest.mark.parametrize("steps", [("write",), ("seal batch", "unlink"), ("collect",), ("snapshot",)], ids=named)
def test_recovery_may_be_cut_anywhere_and_the_next_life_too(tmp_path: Path, steps: tuple[str, ...]) -> None:
    story = told(tmp_path / "v", steps)
    explore_recovery(story, Explored(), limit=2, seed=2, steps=("mkdir", "fsync", "seal batch"))


SNAPSHOTS = [
    pytest.param(("snapshot", "write"), 12, id="the first one"),
    pytest.param(("seal", "truncate to nothing", "collect within a snapshot", *NO_JOURNAL), 2, id="packs go meanwhile"),
    pytest.param(("write", "seal within a snapshot"), 2, id="segments go meanwhile"),
]


@pytest.mark.parametrize(("steps", "limit"), SNAPSHOTS)
def test_a_snapshot_finds_what_it_names_wherever_the_power_is_cut(
    tmp_path: Path, steps: tuple[str, ...], limit: int
) -> None:
    explore_snapshots(told(tmp_path / "v", steps), limit=limit)


WRITING = ("write", "fsync", "seal batch", "epoch", "overwrite")
KEEPING = ("truncate to nothing", "seal", "snapshot", "collect", "snapshot", "rename")
FAULTS = [
    pytest.param(WRITING, "sync", errno.EIO, id="sync"),
    pytest.param(WRITING, "pwrite", errno.EIO, id="write"),
    pytest.param(WRITING, "pwrite", "short", id="short write"),
    pytest.param(KEEPING, "sync_dir", errno.EIO, id="sync of a directory"),
    pytest.param(KEEPING, "rename", errno.EIO, id="rename"),
    pytest.param(KEEPING, "unlink", errno.EIO, id="unlink"),
    pytest.param(KEEPING, "create", errno.ENOSPC, id="create"),
    pytest.param(WRITING, "truncate", errno.EIO, id="truncate"),
]


@pytest.mark.parametrize(("steps", "action", "how"), FAULTS)
def test_a_disk_may_fail_once_at_any_action(
    tmp_path: Path, steps: tuple[str, ...], action: str, how: int | str
) -> None:
    well = told(tmp_path / "v", steps)
    for number in itertools.count():
        story = told(tmp_path / f"v{number}", steps, faults={action: [None] * number + [how]}, well=well)
        if story.files.failing[action]:
            assert number, "nothing ever failed"
            return  # there are no more such actions
        explore(story, Explored(), limit=1, seed=number)


def test_the_interleavings_are_real(tmp_path: Path) -> None:
    """A step within a seal really comes between the reading and the op: what it changed is not sealed."""
    for step in WITHIN:
        story = told(tmp_path / step.replace(" ", "-"), (f"{step} within a seal",))
        assert story.last > story.first, step
