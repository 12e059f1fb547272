"""A volume of an older format opens, as it was it is kept; a newer one is refused in a sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from rustfsfs.config import Config
from rustfsfs.content.keys import RunningMac
from rustfsfs.errors import DamagedVolume, MachineTrouble, NewerFormat
from rustfsfs.meta import database
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.migrations import format_of
from rustfsfs.meta.soundness import is_sound
from rustfsfs.volume import commands, offline, snapshots, upgrading
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.rebuilding import rebuild_index
from rustfsfs.volume.restoring import restore_metadata
from rustfsfs.volume.volume import Volume
from rustfsfs.world import RealFiles, Space, World, real_world
from tests.meta import older
from tests.volume.on_disk import Key, change, format_in, write_file

DATA = bytes(range(256)) * 1000


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """With a sealed file; formats that are older than today's are known."""
    made = format_in(tmp_path / "v")

    async def fill(volume: Volume) -> None:
        await write_file(volume, b"f", DATA)
        await commands.seal(volume, {}, no_progress)

    change(made, fill)
    with older.known():
        yield made


def opened_database(path: Path, name: str = "metadata.db") -> Metadata:
    _header, keys = unlocked(real_world(), str(path), Key())
    return database.open_(f"{path}/{name}", keys.database)


def put_back(path: Path, *, generations: int = 1) -> int:
    metadata = opened_database(path)
    version = older.put_back(metadata, generations=generations)
    metadata.close()
    return version


def format_at(path: Path, name: str = "metadata.db") -> int:
    metadata = opened_database(path, name)
    try:
        assert is_sound(metadata)
        return format_of(metadata)
    finally:
        metadata.close()


def names(path: Path) -> set[str]:
    return {one.name for one in path.iterdir()}


def content(path: Path) -> bytes:
    found = bytearray()
    offline.cat(str(path), Key(), "/f", found.extend)
    return bytes(found)


def test_it_is_brought_up_once_and_kept_as_it_was(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    version = put_back(volume, generations=2)
    (volume / "metadata.before-0.db").write_bytes(b"of an older migration")
    change(volume, lambda opened: write_file(opened, b"g", DATA))
    assert format_at(volume) == 1 and content(volume) == DATA
    kept = {name for name in names(volume) if name.startswith("metadata.before")}
    assert kept == {"metadata.before-1.db"} and format_at(volume, "metadata.before-1.db") == version
    (told,) = [one for one in caplog.records if one.name == "rustfsfs.notice" and "format" in one.getMessage()]
    assert f"from format {version} to 1" in told.getMessage() and "metadata.before-1.db" in told.getMessage()
    caplog.clear()
    change(volume, lambda opened: write_file(opened, b"h", DATA))
    assert "format" not in caplog.text


def test_who_only_reads_changes_nothing(volume: Path) -> None:
    version = put_back(volume)
    before = (volume / "metadata.db").read_bytes()
    assert content(volume) == DATA
    assert (volume / "metadata.db").read_bytes() == before and format_at(volume) == version
    assert "metadata.before-1.db" not in names(volume)


def test_what_was_journalled_by_the_older_one_is_replayed_behind_it(volume: Path) -> None:
    async def cut_off() -> None:
        async with opened_volume(real_world(), Opening(path=str(volume), secret=Key(), config=Config())) as opened:
            await write_file(opened, b"hot", DATA)
            opened.metadata.rolled_back = None
            opened.health.read_only_reason = "a test wants no COMMIT"

    trio.run(cut_off)
    version = put_back(volume)
    assert version == -1
    seen: list[str] = []

    async def look(opened: Volume) -> None:
        seen.extend(
            name
            for name in ("f", "hot")
            if opened.metadata.rows("SELECT 1 FROM entries WHERE name = ?", (name.encode(),))
        )

    change(volume, look)
    assert seen == ["f", "hot"]


def test_a_newer_one_is_refused_and_not_touched(volume: Path) -> None:
    metadata = opened_database(volume)
    metadata.run("PRAGMA user_version = 7")
    metadata.close()
    with pytest.raises(NewerFormat, match="has format 7, this rustfsfs knows 2; install a newer rustfsfs"):
        change(volume, lambda opened: write_file(opened, b"g", DATA))
    with pytest.raises(NewerFormat, match="has format 7"):
        content(volume)


def test_a_format_that_never_was_is_damage(volume: Path) -> None:
    metadata = opened_database(volume)
    metadata.run("PRAGMA user_version = -9")
    metadata.close()
    with pytest.raises(DamagedVolume, match="format -9, which no rustfsfs ever wrote"):
        content(volume)


class Full(RealFiles):
    """A disk with nothing left."""

    def space(self, path: str) -> Space:
        return super().space(path)._replace(free_bytes=30 << 20)


def test_without_room_nothing_changes(volume: Path) -> None:
    version = put_back(volume)
    metadata = opened_database(volume)
    world = real_world()
    full = World(files=Full(), now_ns=world.now_ns, random_bytes=world.random_bytes)
    _header, keys = unlocked(world, str(volume), Key())
    with pytest.raises(MachineTrouble, match=r"format -1, and bringing it to format 1 needs .* are free; nothing has"):
        upgrading.upgrade(full, str(volume), metadata, keys, keeps_copy=True)
    metadata.close()
    assert format_at(volume) == version and "metadata.before-1.db" not in names(volume)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device")])
def test_a_copy_that_cannot_be_written_leaves_the_older_one(volume: Path, error: OSError) -> None:
    class Fails(RealFiles):
        def sync(self, fd: int) -> None:
            raise error

    version = put_back(volume)
    world, metadata = real_world(), opened_database(volume)
    _header, keys = unlocked(world, str(volume), Key())
    failing = World(files=Fails(), now_ns=world.now_ns, random_bytes=world.random_bytes)
    with pytest.raises(MachineTrouble, match=r"cannot be kept in .*metadata.before-1.db \(No space left"):
        upgrading.upgrade(failing, str(volume), metadata, keys, keeps_copy=True)
    metadata.close()
    assert format_at(volume) == version


def test_a_snapshot_of_an_older_one_is_restored(volume: Path) -> None:
    """It is put back into an older format on the disk, MAC and all."""
    put_back(volume)
    change_to_snapshot(volume)
    (volume / "metadata.db").rename(volume / "lost.db")
    (volume / "metadata.db-wal").unlink(missing_ok=True)
    told = restore_metadata(str(volume), Key())
    assert "epoch" in told and format_at(volume) == 1 and content(volume) == DATA


def change_to_snapshot(volume: Path) -> None:
    """The newest snapshot becomes a copy of the database as it is."""
    _header, keys = unlocked(real_world(), str(volume), Key())
    metadata = opened_database(volume)
    copy = str(volume / "copy.db")
    database.copy_to(metadata.db, copy, keys.database)
    metadata.close()
    data = Path(copy).read_bytes()
    database.remove_files(copy)
    whole = RunningMac(snapshots._mac_key(keys))
    whole.update(data)
    newest = sorted((volume / "snapshots").glob("*.db"))[-1]
    newest.write_bytes(data + snapshots.TRAILER_MAGIC + whole.digest())


def test_the_index_is_made_anew_for_an_older_one(volume: Path) -> None:
    metadata = opened_database(volume)
    metadata.run("DELETE FROM places")
    metadata.close()
    put_back(volume)
    rebuild_index(str(volume), Key(), bucket=None)
    assert format_at(volume) == 1 and content(volume) == DATA
