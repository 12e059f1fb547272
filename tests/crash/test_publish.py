"""world.publish: all or nothing, whatever a power cut leaves."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


PUBLISH = "import sys; from rustfsfs import world; world.publish(world.RealFiles(), sys.argv[1], b'data')"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_real_files_make_the_system_calls_that_the_double_stands_for(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "fdatasync,fsync,rename,renameat,renameat2"
    command = ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={calls}"]
    (tmp_path / "d").mkdir()
    subprocess.run([*command, sys.executable, "-c", PUBLISH, str(tmp_path / "d" / "f")], check=True)
    made = re.findall(r"\b(fdatasync|fsync|rename\w*)\(.*?(?:<(.*?)>|\")", trace.read_text())
    assert [
        (call.rstrip("at2"), path) for call, path in made if str(tmp_path) in path or call.startswith("rename")
    ] == [
        ("fdatasync", str(tmp_path / "d" / "f.new")),
        ("rename", ""),
        ("fsync", str(tmp_path / "d")),
    ]
