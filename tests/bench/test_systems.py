"""What a place on a mount can be asked; the daemons are processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rustfsfs.bench import systems
from rustfsfs.bench.__main__ import available, known_systems
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.service import mounts
from tests.mounted import Mounted


@pytest.mark.fuse
def test_a_directory_on_a_mount_of_rustfsfs_can_be_sealed(mounted: Mounted, tmp_path: Path) -> None:
    with systems.Given(mounted.point).mounted(tmp_path) as place:
        (place.root / "file").write_bytes(bytes(range(256)) * 1000)
        assert place.can_seal and place.hot_bytes() > 0
        place.seal()
        assert place.hot_bytes() == 0
        assert place.daemon_pid == mounted.pid and (place.memory_bytes_max() or 0) > 1 << 20
        assert not place.can_remount
    assert os.listdir(mounted.point) == []


@pytest.mark.fuse
def test_a_volume_is_remounted_and_leaves_nothing(tmp_path: Path) -> None:
    with systems.Rustfsfs(mount_options=["noxattr"]).mounted(tmp_path) as place:
        (place.root / "file").write_text("x")
        before, pid = place.memory_bytes_max(), place.daemon_pid
        place.remount()
        assert (place.root / "file").read_text() == "x"
        assert place.daemon_pid != pid
        assert before is not None and (place.memory_bytes_max() or 0) >= before
    assert mounts.at(str(place.root)) is None and list(tmp_path.iterdir()) == []


@pytest.mark.fuse
def test_a_program_that_mounts_nothing_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    failing = systems.Foreground("failing", sys.executable, command, [])
    with pytest.raises(MachineTrouble, match="failing did not mount: no such thing"), failing.mounted(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    none = systems.Foreground("none", "no-such-program", [], [])
    known: dict[str, systems.System] = {"disk": systems.PlainDisk(), "none": none}
    assert [system.name for system in available(known, [])] == ["disk"]
    assert "none is not installed" in capsys.readouterr().err
    with pytest.raises(UsageError, match="there is no system nul"):
        available(known_systems(), ["nul"])


def test_the_benchmark_is_a_program_with_help() -> None:
    for arguments in ([], ["compare"], ["guard"]):
        command = [sys.executable, "-m", "rustfsfs.bench", *arguments, "--help"]
        assert b"usage" in subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
