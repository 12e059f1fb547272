"""The null file system does what programs need; on a real mount, served by another process."""

import errno
import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.bench import nullfs, systems
from rustfsfs.service import mounts

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("null")
    with systems.null().mounted(base) as place:
        there = mounts.at(str(place.root))
        assert there is not None and there.fstype == nullfs.FSTYPE
        yield place.root
    assert mounts.at(str(base / "null")) is None and not list(base.iterdir())


def test_what_was_written_is_read(root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"a" * 5000)
    with open(path, "r+b") as file:
        file.seek(4990)
        file.write(b"b" * 20)
    assert path.read_bytes() == b"a" * 4990 + b"b" * 20
    os.truncate(path, 4991)
    assert path.read_bytes()[-2:] == b"ab"
    path.write_bytes(b"short")  # O_TRUNC
    assert path.read_bytes() == b"short"


def test_a_rename_replaces_and_an_open_file_outlives_its_name(root: Path) -> None:
    old, new = root / "old", root / "new"
    old.write_text("old")
    new.write_text("new")
    with open(new) as replaced:
        os.rename(old, new)
        assert replaced.read() == "new" and os.fstat(replaced.fileno()).st_nlink == 0
    assert new.read_text() == "old" and not old.exists()
    with open(new, "r+") as file:
        new.unlink()
        file.write("OLD")
        file.seek(0)
        assert file.read() == "OLD"
    assert not new.exists()


def test_directories_count_and_empty_ones_only_go(root: Path) -> None:
    folder = root / "folder"
    (folder / "inner").mkdir(parents=True)
    assert folder.stat().st_nlink == 3
    with pytest.raises(OSError) as caught:
        folder.rmdir()
    assert caught.value.errno == errno.ENOTEMPTY
    (folder / "inner").rename(root / "moved")
    assert folder.stat().st_nlink == 2
    folder.rmdir()
    (root / "moved").rmdir()


def test_links_and_attributes(root: Path) -> None:
    path, link, symlink = root / "name", root / "link", root / "symlink"
    path.write_text("x")
    os.link(path, link)
    symlink.symlink_to("name")
    assert path.stat().st_nlink == 2 and os.readlink(symlink) == "name" and symlink.read_text() == "x"
    link.chmod(0o640)
    os.utime(link, ns=(1, 2_000_000_003))
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o640 and found.st_mtime_ns == 2_000_000_003
    path.unlink()
    assert link.stat().st_nlink == 1
    with pytest.raises(OSError) as caught:
        os.getxattr(link, "user.none")
    assert caught.value.errno == errno.ENODATA


def test_a_listing_is_whole_whatever_its_length(root: Path) -> None:
    folder = root / "many"
    folder.mkdir()
    names = {f"{number:04}" for number in range(1500)}
    for name in names:
        (folder / name).touch()
    assert set(os.listdir(folder)) == names
    subprocess.run(["rm", "-r", str(folder)], check=True)
    assert not folder.exists()


def test_sqlite_and_tar_work_on_it(root: Path) -> None:
    folder = root / "program"
    folder.mkdir()
    for mode in ("wal", "delete"):
        db = sqlite3.connect(folder / mode)
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("CREATE TABLE numbers (number)")
        for number in range(10):
            with db:
                db.execute("INSERT INTO numbers VALUES (?)", (number,))
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
    subprocess.run(["tar", "-cf", str(root / "tar"), "-C", str(folder), "."], check=True)
    copy = root / "copy"
    copy.mkdir()
    subprocess.run(["tar", "-xf", str(root / "tar"), "-C", str(copy)], check=True)
    subprocess.run(["diff", "-r", str(folder), str(copy)], check=True)
    assert os.statvfs(root).f_bavail > 0
