"""A volume of an older format is opened, and the power is cut before every action of that."""

from pathlib import Path

import pytest

from rustfsfs.meta import database
from rustfsfs.meta.migrations import TODAYS, format_of
from rustfsfs.meta.soundness import is_sound
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.upgrading import KEPT, SUFFIX
from tests.crash import nonces, vfs
from tests.crash.disk import CrashFiles, Everything
from tests.crash.story import Explored, Key, opened_again, told, world_on
from tests.meta import older

pytestmark = pytest.mark.slow


def put_back(path: Path, left: CrashFiles) -> int:
    """The database on the disk as an older rustfsfs would have left it; its format."""
    vfs.put_files(left, path)
    world = world_on(left, 9)
    _header, keys = unlocked(world, str(path), Key())
    metadata = database.open_(f"{path}/metadata.db", keys.database, vfs=world.sqlite_vfs)
    version = older.put_back(metadata, generations=2)
    metadata.close()
    return version


def looked_at(path: Path, left: CrashFiles, name: str) -> int:
    """The format of a database as it lies on the disk, sound."""
    vfs.put_files(left, path)
    if name != "metadata.db":
        fd = left.open(f"{path}/{name}")
        (path / name).write_bytes(left.pread(fd, left.size(f"{path}/{name}"), 0))
        left.close(fd)
    world = world_on(left.copy(), 10)
    _header, keys = unlocked(world, str(path), Key())
    is_ours = name == "metadata.db"
    metadata = database.open_(f"{path}/{name}", keys.database, vfs=world.sqlite_vfs if is_ours else None)
    try:
        assert is_sound(metadata)
        return format_of(metadata)
    finally:
        metadata.close()
        if not is_ours:
            database.remove_files(f"{path}/{name}")


@nonces.watched()
def test_every_power_cut_leaves_the_older_or_the_newer_one_whole(tmp_path: Path) -> None:
    with older.known():
        path, kept = tmp_path / "v", f"{KEPT}{TODAYS[0]}{SUFFIX}"
        story = told(path, ("write", "seal", "epoch", "mkdir", "fsync"))
        left = story.files.power_loss(Everything())
        version = put_back(path, left)
        left = left.power_loss(Everything())
        left.begin_log()
        start = left.copy()
        found = opened_again(path, left)
        assert found.tree == story.trees[-1][1] and found.findings == []
        explored, formats, seen = Explored(), set[int](), set[bytes]()
        for cut, disk in left.cuts(0, left.actions, start):
            for state in disk.states(limit=3, seed=cut):
                if state.digest() not in seen:
                    seen.add(state.digest())
                    now = looked_at(path, state, "metadata.db")
                    formats.add(now)
                    is_kept = state.exists(f"{path}/{kept}")
                    assert is_kept or now == version, (cut, "the older one is gone")
                    assert not is_kept or looked_at(path, state, kept) == version, cut
                state.seed = cut
                explored.judge(path, state, [found.tree], cut)
        assert formats == {version, TODAYS[0]} and explored.judged > 50
