"""The life after a metadata snapshot was put in the place of the database, cut before every action."""

from pathlib import Path

import pytest

from tests.crash.disk import Everything
from tests.crash.story import Explored, Story, explore, put_in_place, told, told_after

pytestmark = pytest.mark.slow

STEPS = [
    ("append", "seal", "demote", "sweep"),
    ("unlink", "reap", "drop", "delete objects"),
    ("write", "seal", "recall"),
]


def restored(path: Path, before: tuple[str, ...], steps: tuple[str, ...]) -> Story:
    """The newest snapshot of a life that was cut off, without its journal, and the life that goes on from it."""
    left = told(path, before).files.power_loss(Everything())
    folder, journal = f"{path}/snapshots", f"{path}/journal"
    newest = sorted(name for name in left.names(folder) if name.endswith(".db"))[-1]
    put_in_place(path, left, f"{folder}/{newest}")
    for name in left.names(journal):
        left.unlink(f"{journal}/{name}")
    left.sync_dir(journal)
    left.seed = 31
    return told_after(path, left, steps)


@pytest.mark.parametrize("steps", STEPS, ids=", ".join)
def test_every_power_cut_leaves_a_prefix_of_it(tmp_path: Path, steps: tuple[str, ...]) -> None:
    before = ("write", "seal", "demote", "snapshot", "overwrite", "seal", "epoch")
    story = restored(tmp_path / "v", before, steps)
    explore(story, Explored(), limit=2, seed=1)
