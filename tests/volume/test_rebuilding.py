"""The chunk index comes back from the packs, whatever of its tables was lost, and nothing else is touched."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rustfsfs.errors import DamagedVolume, MachineTrouble, UsageError
from rustfsfs.meta import database
from rustfsfs.meta.database import Metadata
from rustfsfs.units import ROOT
from rustfsfs.volume import collecting, commands, epochs, names, offline, writing
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.volume.rebuilding import rebuild_index
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.volume.on_disk import FILE, Key, change, format_in, write_file

CONTENTS = {name: random.Random(name).randbytes(400_000) for name in "abcd"}


async def fill(volume: Volume) -> None:
    for name, data in CONTENTS.items():
        await write_file(volume, name.encode(), data)
        await commands.seal(volume, {}, collecting.no_progress)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Four sealed files, and a snapshot that knows them."""
    made = format_in(tmp_path / "v")
    change(made, fill)
    return made


def with_metadata(volume: Path, work: Callable[[Metadata], None]) -> None:
    """Change the database behind the product's back, and so that it believes its pages."""
    _header, keys = unlocked(real_world(), str(volume), Key())
    metadata = database.open_(f"{volume}/metadata.db", keys.database)
    work(metadata)
    database.settle(metadata)
    metadata.close()
    (volume / "metadata.pages").unlink(missing_ok=True)


def lose(*tables: str) -> Callable[[Metadata], None]:
    def work(metadata: Metadata) -> None:
        for table in tables:
            metadata.run(f"DELETE FROM {table}")

    return work


def spoil(volume: Path, *tables: str, every: int = 1) -> None:
    """Flip a bit in pages of tables and their indexes; the root pages too."""
    pages: list[int] = []

    def look(metadata: Metadata) -> None:
        for table in tables:
            found = metadata.rows(
                "SELECT pageno FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE tbl_name = ?)", (table,)
            )
            pages.extend(number for (number,) in found[::every])

    with_metadata(volume, look)
    data = bytearray((volume / "metadata.db").read_bytes())
    for number in pages:
        data[(number - 1) * 4096 + 2000] ^= 1
    (volume / "metadata.db").write_bytes(data)
    for suffix in ("-wal", "-shm"):
        Path(f"{volume}/metadata.db{suffix}").unlink(missing_ok=True)


def contents(volume: Path) -> dict[str, bytes]:
    found = {}
    for name in CONTENTS:
        pieces: list[bytes] = []
        offline.cat(str(volume), Key(), name, pieces.append)
        found[name] = b"".join(pieces)
    return found


def comes_back(volume: Path) -> None:
    lines = rebuild_index(str(volume), Key())
    assert len(lines) == 1 and "the index was rebuilt" in lines[0], lines
    assert contents(volume) == CONTENTS

    async def use(opened: Volume) -> None:
        await write_file(opened, b"new", b"n" * 300_000)
        await commands.seal(opened, {}, collecting.no_progress)
        await collecting.collect_now(opened, live_share=0.9)

    change(volume, use)
    assert offline.fsck(str(volume), Key(), data=True) == []
    assert contents(volume) == CONTENTS


@pytest.mark.parametrize(
    "tables",
    [("places", "packs"), ("places",), ("packs", "doomed"), ("chunks", "places", "packs", "maybe_dead", "doomed")],
    ids=lambda tables: "+".join(tables),
)
def test_lost_rows_come_back(volume: Path, tables: tuple[str, ...]) -> None:
    with_metadata(volume, lose(*tables))
    assert offline.fsck(str(volume), Key(), data=False)
    comes_back(volume)


@pytest.mark.parametrize("tables", [("places",), ("packs",), ("maybe_dead", "doomed"), ("chunks", "places", "packs")])
def test_damaged_pages_come_back(volume: Path, tables: tuple[str, ...]) -> None:
    spoil(volume, *tables)
    comes_back(volume)


def test_a_sound_index_is_left_alone(volume: Path) -> None:
    with pytest.raises(UsageError, match="nothing to rebuild"):
        rebuild_index(str(volume), Key())
    assert not list(volume.glob("*.damaged*"))


def test_a_stale_page_that_is_free_is_no_reason_to_go_back_to_a_snapshot(volume: Path) -> None:
    """No check of SQLite's reads it, and yet the volume is read-only with it."""
    used: set[int] = set()

    async def grow_and_shrink(opened: Volume) -> None:
        for number in range(400):
            names.create(opened, ROOT, b"name%d" % number, mode=FILE, uid=0, gid=0)
        await epochs.commit(opened)
        for number in range(400):
            names.unlink(opened, ROOT, b"name%d" % number)

    def look(metadata: Metadata) -> None:
        used.update(number for (number,) in metadata.rows("SELECT pageno FROM dbstat"))

    change(volume, grow_and_shrink)
    with_metadata(volume, look)
    sums = PageSums(real_world().files, f"{volume}/metadata.db", unlocked(real_world(), str(volume), Key())[1].database)
    assert sums.stale(adopt=True) == []
    sums.save(durably=True)
    data = bytearray((volume / "metadata.db").read_bytes())
    free = max(set(range(4, len(data) // 4096 + 1)) - used)
    data[free * 4096 - 1] ^= 1
    (volume / "metadata.db").write_bytes(data)
    change(volume, is_read_only)
    comes_back(volume)


async def is_read_only(opened: Volume) -> None:
    assert "not those that were written last" in str(opened.health.read_only_reason)


def test_other_damage_is_named_and_nothing_changed(volume: Path) -> None:
    spoil(volume, "extents", "places")
    before = (volume / "metadata.db").read_bytes()
    with pytest.raises(DamagedVolume, match="extents is too"):
        rebuild_index(str(volume), Key())
    assert (volume / "metadata.db").read_bytes() == before
    assert not list(volume.glob("*.new*")) and not list(volume.glob("*.damaged*"))


def test_a_missing_disk_is_asked_for(tmp_path: Path) -> None:
    made = format_in(tmp_path / "v", tmp_path / "one", tmp_path / "two")
    change(made, fill)
    with_metadata(made, lose("places"))
    (tmp_path / "two").rename(tmp_path / "away")
    with pytest.raises(MachineTrouble, match="bring it back first"):
        rebuild_index(str(made), Key())
    (tmp_path / "away").rename(tmp_path / "two")
    comes_back(made)


def test_a_pack_without_a_directory_is_read_frame_by_frame(volume: Path) -> None:
    for pack in volume.glob("packs/*/*.pack"):
        os.truncate(pack, pack.stat().st_size - 10)
    with_metadata(volume, lose("places", "packs"))
    comes_back(volume)


def test_what_is_in_no_pack_is_named(volume: Path) -> None:
    with_metadata(volume, lose("places"))
    next(iter(sorted(volume.glob("packs/*/*.pack")))).unlink()
    lines = rebuild_index(str(volume), Key())
    assert any(line.endswith(": /a") for line in lines), lines
    found = offline.fsck(str(volume), Key(), data=False)
    assert found and all("/a" in line or "lies in no pack" in line for line in found), found


def test_what_the_journal_holds_behind_the_index_follows(volume: Path, tmp_path: Path) -> None:
    """The volume is copied as a crash would leave it, with a seal, a collection and hot data behind the last COMMIT."""
    crashed = tmp_path / "crashed"
    late = random.Random("late").randbytes(300_000)

    async def work(opened: Volume) -> None:
        inode = await write_file(opened, b"late", late)
        await commands.seal(opened, {}, collecting.no_progress)
        await writing.write(opened, inode, 0, late[:100])
        await collecting.collect_now(opened, live_share=1.0)
        await writing.write(opened, inode, 100, late[100:200])
        await opened.barriers.barrier()
        shutil.copytree(volume, crashed, ignore=shutil.ignore_patterns("ballast"))

    change(volume, work)
    for suffix in ("-wal", "-shm"):
        assert Path(f"{crashed}/metadata.db{suffix}").exists()
    with_metadata(crashed, lose("places", "packs"))
    lines = rebuild_index(str(crashed), Key())
    assert len(lines) == 1
    assert contents(crashed) == CONTENTS
    assert offline.fsck(str(crashed), Key(), data=True) == []
    pieces: list[bytes] = []
    offline.cat(str(crashed), Key(), "late", pieces.append)
    assert b"".join(pieces) == late
