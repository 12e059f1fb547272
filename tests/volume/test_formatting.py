"""Making a volume is all or nothing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rustfsfs.errors import InUse, MachineTrouble
from rustfsfs.volume import formatting
from rustfsfs.world import RealFiles, World, real_world
from tests.volume.on_disk import Key, format_in


class FailsAt(RealFiles):
    """Ends with `trouble` at the n-th file that is created."""

    def __init__(self, count: int, trouble: BaseException) -> None:
        self.left, self.trouble = count, trouble

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.trouble
        return super().create(path, allocate_bytes=allocate_bytes)


def make(world: World, volume: Path, disk: Path) -> None:
    formatting.format_volume(
        world,
        str(volume),
        disks=[str(disk)],
        secret=Key(),
        recovery_key=b"r" * 32,
        chunk_avg_bytes=65536,
        compression_level=1,
        copies=1,
        config_text="",
    )


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "^C"])
def test_what_was_made_is_removed_when_it_fails_half_way(tmp_path: Path, trouble: BaseException) -> None:
    volume, disk = tmp_path / "v", tmp_path / "disk"
    disk.mkdir(mode=0o755)
    (disk / "lost+found").mkdir()
    for count in range(5):
        with pytest.raises((MachineTrouble, KeyboardInterrupt)):
            make(replace(real_world(), files=FailsAt(count, trouble)), volume, disk)
        assert os.listdir(tmp_path) == ["disk"]
        assert os.listdir(disk) == ["lost+found"]
        assert disk.stat().st_mode & 0o777 == 0o755
    make(real_world(), volume, disk)


def test_nothing_is_made_when_a_later_directory_will_not_do(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    with pytest.raises(InUse):
        format_in(tmp_path / "v", tmp_path / "one", full)
    with pytest.raises(MachineTrouble, match="/proc/x"):
        format_in(tmp_path / "v", tmp_path / "one", Path("/proc/x"))
    assert os.listdir(tmp_path) == ["full"]
