"""world.publish: all or nothing, whatever a power cut leaves."""

import itertools

from rustfsfs.world import opened, publish
from tests.crash.disk import CrashFiles, PowerLoss


def contents(files: CrashFiles) -> bytes:
    with opened(files, "/d/f") as fd:
        return files.pread(fd, 1 << 20, 0)


def holding(data: bytes) -> CrashFiles:
    files = CrashFiles()
    files.mkdir("/d")
    publish(files, "/d/f", data)
    return files


def test_publish_is_all_or_nothing_at_every_crash_point() -> None:
    old, new, seen = b"old" * 400, b"new" * 700, set()
    for die_at in itertools.count():
        files = holding(old)
        files.die_at = files.actions + die_at
        try:
            publish(files, "/d/f", new)
        except PowerLoss:
            found = {contents(state) for state in files.states(limit=500, seed=1)}
            assert found <= {old, new}
            seen |= found
        else:
            assert {contents(state) for state in files.states(limit=500, seed=1)} == {new}
            assert seen == {old, new}
            return
