"""A snapshot takes the place of a lost database, and of no other."""

import os
from pathlib import Path

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.volume.restoring import restore_metadata
from rustfsfs.volume.volume import Volume
from tests.volume.on_disk import Key, change, format_in, write_file


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume that has a snapshot."""
    made = format_in(tmp_path / "v")

    async def fill(opened: Volume) -> None:
        await write_file(opened, b"f", b"x" * 100)

    change(made, fill)
    return made


def spoil(database: Path) -> None:
    """Damage that the first page does not show; without the WAL, which has good copies of most pages."""
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    data = bytearray(database.read_bytes())
    for at in range(8192, len(data), 4096):
        data[at + 100] ^= 1
    database.write_bytes(data)


def test_a_sound_database_is_never_replaced(volume: Path) -> None:
    before = (volume / "metadata.db").read_bytes()
    with pytest.raises(UsageError, match="the metadata is sound; nothing to restore"):
        restore_metadata(str(volume), Key())
    assert (volume / "metadata.db").read_bytes() == before
    assert not list(volume.glob("*.damaged*"))


def test_a_damaged_database_is_replaced_once_and_every_damaged_one_is_kept(volume: Path) -> None:
    kept = []
    for _ in range(2):
        spoil(volume / "metadata.db")
        kept.append((volume / "metadata.db").read_bytes())
        assert "epoch" in restore_metadata(str(volume), Key())
        with pytest.raises(UsageError):
            restore_metadata(str(volume), Key())
    found = [(volume / name).read_bytes() for name in ("metadata.db.damaged", "metadata.db.damaged.2")]
    assert found == kept


def test_the_restored_database_is_for_its_owner_only(volume: Path) -> None:
    (volume / "metadata.db").unlink()
    before = os.umask(0)
    try:
        restore_metadata(str(volume), Key())
    finally:
        os.umask(before)
    assert (volume / "metadata.db").stat().st_mode & 0o777 == 0o600


def test_a_sound_database_that_was_rolled_back_may_be_replaced(volume: Path) -> None:
    old = {path.name: path.read_bytes() for path in volume.glob("metadata.db*")}

    async def more(opened: Volume) -> None:
        await write_file(opened, b"g", b"y" * 100)

    change(volume, more)
    for path in volume.glob("metadata.db*"):
        path.unlink()
    for name, data in old.items():
        (volume / name).write_bytes(data)
    assert "epoch" in restore_metadata(str(volume), Key())
