"""Commands on a volume that is not mounted."""

import shutil
import struct
from pathlib import Path

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.volume import offline
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.volume import Volume
from tests.volume.on_disk import Key, change, format_in, write_file


@pytest.fixture
def volume(tmp_path: Path) -> str:
    return str(format_in(tmp_path / "v"))


def test_a_mistake_in_the_settings_keeps_nobody_from_reading(volume: str, tmp_path: Path) -> None:
    Path(volume, "config.toml").write_text("[seal]\nquite = '5s'\n")
    assert offline.status(volume, Key())["volume"]["state"] == "clean"
    assert offline.fsck(volume, Key(), data=True) == []
    assert offline.export(volume, Key(), "/", str(tmp_path / "out")) == []
    assert len(offline.disk_list(volume, Key())) == 1
    with pytest.raises(UsageError, match=r"seal\.quiet"):
        offline.disk_add(volume, Key(), str(tmp_path / "more"))


def test_settings_that_are_not_utf8_are_a_mistake_of_the_user(volume: str, tmp_path: Path) -> None:
    Path(volume, "config.toml").write_bytes(b"# \xff\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        offline.disk_add(volume, Key(), str(tmp_path / "more"))


def spoil_a_durable_record(segment: Path) -> None:
    """The newest one that the last record names as durable. Records: journal/layout.py, and DESIGN.md §4."""
    data = bytearray(segment.read_bytes())
    at, starts, watermark = 4096, {}, 0
    while (total := struct.unpack_from("<I", data, at)[0]) != 0:
        seq, watermark = struct.unpack_from("<QQ", data, at + 12)
        starts[seq] = at
        at += total
    data[starts[watermark] + 40] ^= 1
    segment.write_bytes(data)


def test_a_damaged_journal_record_is_told_with_the_way_out(volume: str, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"

    async def work(opened: Volume) -> None:
        for name in (b"one", b"two"):
            await write_file(opened, name, b"x" * 100)
            await barrier(opened)
        await write_file(opened, b"three", b"x" * 100)
        shutil.copytree(volume, crashed, ignore=shutil.ignore_patterns("ballast", "lock", "*-shm"))
        spoil_a_durable_record(next((crashed / "journal").glob(f"{opened.activity.segment:016x}.*")))

    change(Path(volume), work)
    shutil.rmtree(volume)  # the database names its disk by path
    crashed.rename(volume)
    assert any("--skip" in line for line in offline.fsck(volume, Key(), data=False))
    shown = offline.status(volume, Key())
    assert "--skip" in shown["volume"]["read_only"]
    assert not shown["healthy"]
    assert offline.export(volume, Key(), "/one", str(tmp_path / "out")) == []
