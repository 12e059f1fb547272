"""Directories that may not hold a volume or a disk are refused before anything is made."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.errors import InUse, MachineTrouble, RustfsfsError, UsageError
from rustfsfs.volume.directories import check_file_system, check_name, check_new_disk


def check(path: str, volume: Path, *others: Path) -> None:
    check_new_disk(path, volume=str(volume), others=[str(other) for other in others])


def test_an_empty_directory_a_new_one_and_the_volume_itself_will_do(tmp_path: Path) -> None:
    volume, new = tmp_path / "v", tmp_path / "new"
    for path in (volume, new):
        check(str(path), volume)
    new.mkdir()
    (new / "lost+found").mkdir()
    check(str(new), volume, volume)
    assert sorted(os.listdir(tmp_path)) == ["new"]


@pytest.mark.parametrize(
    ("where", "kind", "says"),
    [
        pytest.param("one", UsageError, "already", id="the same"),
        pytest.param("link", UsageError, "already", id="the same through a symlink"),
        pytest.param("v/inside", UsageError, "inside", id="inside the volume"),
        pytest.param("one/inside", UsageError, "inside", id="inside a disk"),
        pytest.param(".", UsageError, "around", id="around the volume"),
        pytest.param("two\nlines", UsageError, "line break", id="a line break"),
        pytest.param(os.fsdecode(b"odd \xff"), UsageError, "UTF-8", id="not UTF-8"),
        pytest.param("full", InUse, "not empty", id="not empty"),
        pytest.param("full/file", InUse, "not a directory", id="a file"),
        pytest.param("no/where", MachineTrouble, "no directory", id="nowhere"),
    ],
)
def test_a_directory_that_will_not_do(tmp_path: Path, where: str, kind: type[RustfsfsError], says: str) -> None:
    volume, one, full = tmp_path / "v", tmp_path / "one", tmp_path / "full"
    one.mkdir()
    full.mkdir()
    (full / "file").write_text("")
    (tmp_path / "link").symlink_to(one)
    with pytest.raises(kind, match=says):
        check(os.path.abspath(tmp_path / where), volume, volume, one)


@pytest.fixture
def in_ram() -> Iterator[str]:
    path = f"/dev/shm/rustfsfs-test-{os.getpid()}"
    os.mkdir(path)
    yield path
    shutil.rmtree(path)


def test_a_disk_in_ram_is_warned_about(in_ram: str, caplog: pytest.LogCaptureFixture) -> None:
    check_file_system(in_ram)
    assert "gone when the machine stops" in caplog.text


def test_an_ordinary_name_is_fine() -> None:
    check_name("/srv/größe \\ , x")
