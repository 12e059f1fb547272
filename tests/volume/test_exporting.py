"""A tree copied out without FUSE: holes, damage, depth, odd names, and a target that will not do."""

import os
import random
import stat
import subprocess
from pathlib import Path

import pytest

from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.units import MIB, ROOT, TIB
from rustfsfs.volume import attributes, collecting, commands, names, writing
from rustfsfs.volume.exporting import Range, joined
from rustfsfs.volume.offline import export
from rustfsfs.volume.volume import Volume
from tests.volume.on_disk import DIRECTORY, FILE, Key, change, format_in, write_file

NOISE = random.Random(8).randbytes(3 * MIB)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return format_in(tmp_path / "v")


def spoil(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_only_the_damaged_range_is_missing_and_the_rest_of_the_file_is_there(volume: Path, tmp_path: Path) -> None:
    async def fill(opened: Volume) -> None:
        inode = await write_file(opened, b"f", NOISE)
        attributes.change(opened, inode, mode=0o640)
        await commands.seal(opened, {}, collecting.no_progress)

    change(volume, fill)
    pack = next((volume / "packs").rglob("*.pack"))
    spoil(pack, 1_000_000)
    lines = export(str(volume), Key(), "/f", str(tmp_path / "out"))
    assert len(lines) == 1 and lines[0].startswith("/f: bytes ") and "cannot be read" in lines[0]
    start, end = (int(word) for word in lines[0].split() if word.isdigit())
    copy = (tmp_path / "out" / "f").read_bytes()
    assert 0 < end - start < MIB  # one chunk
    assert len(copy) == len(NOISE)
    assert copy[:start] + copy[end + 1 :] == NOISE[:start] + NOISE[end + 1 :]
    assert copy[start : end + 1] == bytes(end + 1 - start)
    assert (tmp_path / "out" / "f").stat().st_mode & 0o777 == 0o640


def test_holes_stay_holes(volume: Path, tmp_path: Path) -> None:
    async def fill(opened: Volume) -> None:
        inode = await write_file(opened, b"sparse", b"in the middle", offset=TIB // 2)
        await writing.write(opened, inode, 5, b"at the front")
        await writing.resize(opened, inode, TIB)

    change(volume, fill)
    assert export(str(volume), Key(), "/", str(tmp_path)) == []
    with open(tmp_path / "sparse", "rb") as file:
        assert file.read(20) == b"\0\0\0\0\0at the front\0\0\0"
        file.seek(TIB // 2)
        assert file.read(14) == b"in the middle\0"
        assert os.fstat(file.fileno()).st_size == TIB
        assert os.fstat(file.fileno()).st_blocks * 512 < MIB
    (tmp_path / "sparse").unlink()


def test_a_tree_deeper_than_a_path_may_be_long_comes_out_whole(volume: Path, tmp_path: Path) -> None:
    depth = 1200

    async def fill(opened: Volume) -> None:
        parent, first = int(ROOT), await write_file(opened, b"top", b"linked")
        for _ in range(depth):
            parent = names.create(opened, parent, b"directory", mode=DIRECTORY, uid=0, gid=0).inode
        names.link(opened, first, parent, b"bottom")

    change(volume, fill)
    target = tmp_path / "out"
    assert export(str(volume), Key(), "/", str(target)) == []
    here = os.open(target, os.O_RDONLY)
    inode = os.stat("top", dir_fd=here).st_ino
    for _ in range(depth):
        inner = os.open("directory", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    assert os.stat("bottom", dir_fd=here).st_ino == inode
    os.close(here)
    subprocess.run(["rm", "-rf", target], check=True)  # deeper than shutil.rmtree, and so pytest, can go


def test_attributes_links_and_special_files_come_along(volume: Path, tmp_path: Path) -> None:
    async def fill(opened: Volume) -> None:
        folder = names.create(opened, ROOT, b"folder", mode=stat.S_IFDIR | 0o500, uid=0, gid=0).inode
        await write_file(opened, b"inside", b"x", parent=folder)
        names.create(opened, ROOT, b"link", mode=stat.S_IFLNK | 0o777, uid=0, gid=0, target=b"to/\xff")
        names.create(opened, ROOT, b"pipe", mode=stat.S_IFIFO | 0o620, uid=0, gid=0)
        names.create(opened, ROOT, b"odd \xff", mode=FILE, uid=0, gid=0)

    change(volume, fill)
    out = tmp_path / "out"
    assert export(str(volume), Key(), "/", str(out)) == []
    assert stat.S_IMODE((out / "folder").stat().st_mode) == 0o500
    assert os.readlink(os.fsencode(out / "link")) == b"to/\xff"
    assert stat.S_ISFIFO((out / "pipe").stat().st_mode)
    assert os.path.exists(os.fsencode(out) + b"/odd \xff")
    assert export(str(volume), Key(), os.fsdecode(b"/odd \xff"), str(tmp_path / "one")) == []
    assert os.listdir(os.fsencode(tmp_path / "one")) == [b"odd \xff"]


def test_what_is_in_the_target_already_is_left_and_named(volume: Path, tmp_path: Path) -> None:
    async def fill(opened: Volume) -> None:
        await write_file(opened, b"f", b"ours")
        await write_file(opened, b"g", b"ours")

    change(volume, fill)
    (tmp_path / "f").write_text("theirs")
    assert export(str(volume), Key(), "/", str(tmp_path)) == [
        "/f: is there already in the target, and was left as it is"
    ]
    assert ((tmp_path / "f").read_text(), (tmp_path / "g").read_text()) == ("theirs", "ours")


def test_a_target_that_will_not_do_is_named(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a directory"):
        export(str(volume), Key(), "/", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="below something"):
        export(str(volume), Key(), "/", str(tmp_path / "file" / "below"))
    with pytest.raises(MachineTrouble, match="/proc/nothing"):
        export(str(volume), Key(), "/", "/proc/nothing")


def test_neighbouring_ranges_are_one() -> None:
    assert joined([Range(0, 2), Range(2, 5), Range(6, 7)]) == [Range(0, 5), Range(6, 7)]
