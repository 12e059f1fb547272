"""A snapshot takes the place of a lost database, and of no other."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rustfsfs.errors import CloudRefused, CloudUnavailable, UsageError
from rustfsfs.meta import chunks
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import PACKS, pack_key
from rustfsfs.units import PackNo
from rustfsfs.volume import epochs, publishing, rounds, snapshots, sweeping, tiering
from rustfsfs.volume.from_bucket import rebuild_from_bucket
from rustfsfs.volume.offline import accept_restored, find, fsck
from rustfsfs.volume.restoring import restore_metadata
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.in_memory import NOISE
from tests.volume.on_bucket import all_demoted, contents, packs_there, sealed
from tests.volume.on_disk import Key, change, format_in, write_file
from tests.volume.test_from_bucket import killed_with
from tests.volume.test_snapshots import seal_into_open_pack


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


# --- with a bucket ---------------------------------------------------------------------------------------------------

DATA = NOISE.randbytes(300_000)
LONG_AGO = 1_000_000_000.0


@pytest.fixture
def bucket() -> MemBucket:
    return MemBucket(now_s=lambda: LONG_AGO)


@pytest.fixture
def behind(tmp_path: Path, bucket: MemBucket) -> Path:
    """Its disk has a snapshot that knows "old", its bucket a newer copy, and packs, that know "newer" too."""
    path = format_in(tmp_path / "v")

    async def fill(opened: Volume) -> None:
        await sealed(opened, b"old", DATA)
        await snapshots.take(opened)
        await sealed(opened, b"newer", DATA[::-1])
        await all_demoted(opened)
        await publishing.publish(opened)

    killed_with(path, bucket, fill)
    lose_database(path)
    for segment in (path / "journal").iterdir():  # as if COMMITs had dropped them since
        segment.unlink()
    return path


def lose_database(path: Path) -> None:
    for file in path.glob("metadata.db*"):
        file.unlink()


def newest_in(bucket: MemBucket) -> int:
    return layout.newest_whole(bucket.objects)


async def look_at_old(opened: Volume) -> None:
    assert await contents(opened, find(opened, "old").inode) == DATA, "although it was demoted since"
    with pytest.raises(CloudRefused, match="newer metadata"):
        await rounds.run_round(opened)
    with pytest.raises(UsageError):
        find(opened, "newer")
    await write_file(opened, b"since", b"x")
    with pytest.raises(CloudRefused, match="newer metadata"):
        await publishing.publish(opened)
    with pytest.raises(CloudRefused, match="newer metadata"):
        await sweeping.sweep(opened)


def test_newer_metadata_in_the_bucket_stays_and_comes_back(behind: Path, bucket: MemBucket) -> None:
    before = dict(bucket.objects)
    said = restore_metadata(str(behind), Key(), bucket=lambda: bucket)
    assert f"newer metadata (epoch {newest_in(bucket)})" in said and "--rebuild-from-bucket" in said
    killed_with(behind, bucket, look_at_old)
    assert bucket.objects == before
    shutil.rmtree(behind / "snapshots")
    assert rebuild_from_bucket(str(behind), Key(), bucket).lost == []
    assert (behind / "journal.damaged").exists(), "it goes on from the snapshot"

    async def read(opened: Volume) -> None:
        assert await contents(opened, find(opened, "newer").inode) == DATA[::-1]
        assert await contents(opened, find(opened, "old").inode) == DATA
        with pytest.raises(UsageError):
            find(opened, "since")
        await publishing.publish(opened)

    killed_with(behind, bucket, read)


def test_it_goes_when_a_person_says_so(behind: Path, bucket: MemBucket) -> None:
    before = newest_in(bucket)
    restore_metadata(str(behind), Key(), bucket=lambda: bucket)
    killed_with(behind, bucket, look_at_old)
    assert "is the volume now" in accept_restored(str(behind), Key())

    async def go_on(opened: Volume) -> None:
        await rounds.run_round(opened)
        await sweeping.sweep(opened)
        assert await contents(opened, find(opened, "old").inode) == DATA
        await write_file(opened, b"x", b"x")
        await publishing.publish(opened)
        assert newest_in(bucket) > before and len(layout.copies(bucket.objects)) == 1
        assert set(packs_there(bucket)) == {pack_key(row.pack, row.disk) for row in chunks.packs(opened.metadata)}

    killed_with(behind, bucket, go_on)
    with pytest.raises(UsageError, match="nothing to accept"):
        accept_restored(str(behind), Key())


def refuses() -> Bucket:
    raise CloudUnavailable("no answer")


@pytest.mark.parametrize("reach", [None, refuses])
def test_a_bucket_that_cannot_be_asked_is_named(behind: Path, reach: Callable[[], Bucket] | None) -> None:
    with_snapshot_of_a_tiered_one = restore_metadata(str(behind), Key(), bucket=reach)
    assert "could not be asked" in with_snapshot_of_a_tiered_one


def test_what_the_bucket_has_is_not_always_newer(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v")

    async def fill(opened: Volume) -> None:
        await sealed(opened, b"f", DATA)
        await publishing.publish(opened)
        await write_file(opened, b"g", b"x")
        await snapshots.take(opened)

    killed_with(path, bucket, fill)
    lose_database(path)
    assert "has none that is newer" in restore_metadata(str(path), Key(), bucket=lambda: bucket)

    async def go_on(opened: Volume) -> None:
        assert await publishing.publish(opened)

    killed_with(path, bucket, go_on)


def test_no_pack_gets_the_name_of_one_that_only_newer_metadata_names(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v")

    async def fill(opened: Volume) -> None:
        await publishing.publish(opened)
        await snapshots.take(opened)
        await sealed(opened, b"newer", DATA)
        await all_demoted(opened)

    killed_with(path, bucket, fill)
    before = {key: stored for key, stored in bucket.objects.items() if key.startswith(PACKS)}
    lose_database(path)
    for segment in (path / "journal").iterdir():
        segment.unlink()
    restore_metadata(str(path), Key())

    async def go_on(opened: Volume) -> None:
        await sealed(opened, b"other", DATA[::-1])
        assert await all_demoted(opened)
        await sweeping.sweep(opened)
        assert await contents(opened, find(opened, "other").inode) == DATA[::-1]

    killed_with(path, bucket, go_on)
    assert before.items() <= bucket.objects.items() and len(packs_there(bucket)) == 2


def test_of_what_was_made_since_open_packs_are_closed_and_uploaded(behind: Path, bucket: MemBucket) -> None:
    """As ever, although others are spared: else they would never come to the bucket."""
    restore_metadata(str(behind), Key())
    accepted_and_killed(behind, bucket)

    async def look(opened: Volume) -> None:
        assert all(row.is_closed for row in chunks.packs(opened.metadata))
        (disk,) = opened.disks.values()
        since = {row.pack for row in chunks.packs(opened.metadata) if not opened.metadata.running.is_spared(row.pack)}
        assert {int(pack) for pack in disk.packs()} == since and len(since) == 2
        await sweeping.sweep(opened)
        await rounds.run_round(opened)
        assert all(pack.object is not None for pack in (await tiering.gather(opened)).packs)

    killed_with(behind, bucket, look)


def accepted_and_killed(path: Path, bucket: MemBucket) -> None:
    """Its newer copy goes, but what was there before is spared; then a life ends with an open pack, and a stray."""

    async def life(opened: Volume) -> None:
        opened.metadata.running.restored_epoch = 0
        await sealed(opened, b"closed", NOISE.randbytes(100_000))
        await write_file(opened, b"since", NOISE.randbytes(300_000))
        await seal_into_open_pack(opened)
        await epochs.commit(opened)
        (disk,) = opened.disks.values()
        disk.create_pack(PackNo(opened.numbers.pack))

    killed_with(path, bucket, life)


def test_an_open_pack_of_before_is_closed_and_nothing_of_it_is_cut(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v")

    async def fill(opened: Volume) -> None:
        await write_file(opened, b"old", DATA)
        await seal_into_open_pack(opened)
        await snapshots.take(opened)
        await write_file(opened, b"newer", DATA[::-1])
        await seal_into_open_pack(opened)
        await epochs.commit(opened)

    killed_with(path, bucket, fill)
    (pack,) = path.rglob("*.pack")
    before = pack.read_bytes()
    lose_database(path)
    for segment in (path / "journal").iterdir():
        segment.unlink()
    restore_metadata(str(path), Key())

    async def look(opened: Volume) -> None:
        (row,) = chunks.packs(opened.metadata)
        assert row.is_closed
        (disk,) = opened.disks.values()
        named = disk.read_directory(row.pack)
        assert sum(entry.stored_bytes for entry in named) > 590_000, "all frames, not only what rows name"
        await rounds.run_round(opened)
        assert packs_there(bucket)

    killed_with(path, bucket, look)
    assert pack.read_bytes().startswith(before)
    whole = pack.read_bytes()
    killed_with(path, bucket, look)
    assert pack.read_bytes() == whole


def test_what_is_nowhere_is_counted(behind: Path, bucket: MemBucket) -> None:
    for key in packs_there(bucket):
        del bucket.objects[key]
    said = restore_metadata(str(behind), Key(), bucket=lambda: bucket)
    assert "neither on a disk nor in the bucket" in said
    assert any(line.endswith(": /old") for line in fsck(str(behind), Key(), data=False))
