"""Metadata snapshots: what one names stays while it is being made and afterwards (I5), and restoring an older one."""

from pathlib import Path

import trio

from rustfsfs.meta import database, disks
from rustfsfs.volume import durability, epochs, names, pagesums, reading, sealing, snapshots, windows, writing
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.volume import Volume
from tests.crash.story import Key, world_on
from tests.volume.in_memory import NOISE, Holding, InMemory, new_file, put, seal


async def next_segment(volume: Volume) -> None:
    """The journal goes on in another segment, so that the one before can go once nothing names it."""
    current = volume.journal.segments[-1]
    while volume.journal.segments[-1] == current:
        await writing.write(volume, new_file(volume, NOISE.randbytes(8).hex().encode()), 0, NOISE.randbytes(1 << 20))
        await durability.barrier(volume)


async def test_what_a_snapshot_in_the_making_names_is_not_dropped(tmp_path: Path) -> None:
    files = Holding()
    home = InMemory(tmp_path, files=files)
    async with home.opened() as volume:
        await writing.write(volume, new_file(volume, b"f"), 0, NOISE.randbytes(200_000))
        await next_segment(volume)
        files.word = "/snapshots/"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(snapshots.take, volume)
            await trio.to_thread.run_sync(files.reached.wait)
            await seal(volume)
            await epochs.commit(volume)
            files.go.set()
        (snapshot,) = disks.snapshots(volume.metadata)
        assert snapshot.segments
        assert set(snapshot.segments) <= set(volume.journal.segments)
        await snapshots.take(volume, keep=1)
        await epochs.commit(volume)
        left = set(snapshot.segments) & set(volume.journal.segments)
        assert left <= {max(volume.journal.segments)}, "and goes with the snapshot"


async def test_two_snapshots_at_once_are_made_one_after_the_other(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        new_file(volume, b"f")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(snapshots.take, volume)
            nursery.start_soon(snapshots.take, volume)
        kept = [snapshots.file_name(snapshot.epoch) for snapshot in disks.snapshots(volume.metadata)]
        assert len(kept) == 2
        assert home.files.names(f"{home.path}/snapshots") == kept


async def test_a_snapshot_is_due_when_something_changed_and_not_because_of_itself(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=3)
    async with home.opened() as volume:
        assert snapshots.is_due(volume)
        new_file(volume, b"f")
        await snapshots.take(volume)
        await epochs.commit(volume)
        assert not snapshots.is_due(volume), "what it records itself is no change"
        names.unlink(volume, 1, b"f")
        assert snapshots.is_due(volume)
    taken = home.files.names(f"{home.folder}/d1/snapshots")
    async with home.opened() as volume:
        assert not snapshots.is_due(volume), "the unmount made one"
    assert home.files.names(f"{home.folder}/d1/snapshots") == taken, "an unmount without changes makes none"


async def test_a_snapshot_that_was_never_recorded_is_deleted_at_opening(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    stray = f"{home.path}/snapshots/{snapshots.file_name(1000)}"
    async with home.opened() as volume:
        await put(volume, new_file(volume, b"f"))
    home.files.close(home.files.create(stray))
    async with home.opened():
        assert not home.files.exists(stray)


def put_in_place(home: InMemory, snapshot: bytes, *, newest_epoch: int) -> None:
    """As `fsck --restore-metadata` does."""
    path = home.path / "metadata.db"
    pagesums.forget(home.files, str(path))
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
        home.files.unlink(f"{path}{suffix}")
    home.files.unlink(str(home.path / "metadata.pages"))
    path.write_bytes(snapshot)
    home.files.pwrite(home.files.create(str(path)), snapshot, 0)
    world = world_on(home.files, 99)
    _header, keys = unlocked(world, str(home.path), Key())
    metadata = database.open_(str(path), keys.database, vfs=world.sqlite_vfs)
    database.mark_restored(metadata, newest_epoch=newest_epoch)
    metadata.close()


def stored_snapshots(home: InMemory) -> list[bytes]:
    folder = f"{home.path}/snapshots"
    paths = [f"{folder}/{name}" for name in home.files.names(folder)]
    return [home.files.pread(home.files.open(path), home.files.size(path), 0) for path in paths]


async def seal_into_open_pack(volume: Volume) -> None:
    async def nothing_more(_sealed_bytes: int) -> None:
        return

    forks = windows.hot_forks(volume)
    await sealing.seal_forks(volume, forks, is_busy=lambda _fork: False, after_batch=nothing_more)
    await volume.gate.opened()


async def test_an_older_snapshot_restored_is_writable_and_spoils_nothing_of_a_newer_one(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.killed() as volume:
        await writing.write(volume, new_file(volume, b"first"), 0, NOISE.randbytes(300_000))
        await seal_into_open_pack(volume)
        await snapshots.take(volume)
        second = NOISE.randbytes(300_000)
        await writing.write(volume, new_file(volume, b"second"), 0, second)
        await seal_into_open_pack(volume)
        await snapshots.take(volume)
        older, newer = stored_snapshots(home)
        epoch = volume.metadata.running.epoch
    for path in [path for path in home.files._names if "/journal/" in path]:
        home.files.unlink(path)
    put_in_place(home, older, newest_epoch=epoch)
    async with home.killed() as volume:
        assert volume.health.read_only_reason is None
        new_file(volume, b"third")
    put_in_place(home, newer, newest_epoch=epoch)
    async with home.opened(read_only=True) as volume:
        assert bytes(await reading.read(volume, 3, 0, 1 << 20)) == second
