"""Opening in bad times: full disks, damaged packs, keys that went."""

import errno
from pathlib import Path

import pytest

from rustfsfs.errors import DamagedData, MachineTrouble, StoreUnavailable
from rustfsfs.meta import chunks, disks
from rustfsfs.units import ROOT
from rustfsfs.volume import ballast, durability, epochs, locking, names, reading, recording, snapshots, writing
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import NOISE, InMemory, new_file, put
from tests.volume.test_snapshots import seal_into_open_pack


class Tight(CrashFiles):
    """A disk with so many bytes free; files that were allocated or written take them."""

    capacity_bytes = 1 << 27

    def space(self, path: str) -> Space:
        used = sum(self._inodes[number].live.size for number in self._names.values())
        return Space(1 << 28, max(0, self.capacity_bytes - used), 1 << 20, 1 << 19, read_only=False)

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        if allocate_bytes > self.space(path).free_bytes:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return super().create(path, allocate_bytes=allocate_bytes)


async def filled(home: InMemory) -> None:
    """A volume that was killed, on a disk that somebody else has filled since."""
    async with home.killed() as volume:
        volume.journal.prepare()
        new_file(volume, b"f")
        await epochs.commit(volume)
    files = home.files
    assert isinstance(files, Tight)
    files.close(files.create("/filler", allocate_bytes=files.space("/").free_bytes))


async def test_a_full_disk_opens_with_the_room_held_back_for_it(tmp_path: Path) -> None:
    files = Tight()
    files.mkdir("/")
    home = InMemory(tmp_path, files=files)
    await filled(home)
    assert files.exists(f"{home.path}/{ballast.PATH}")
    async with home.opened() as volume:
        assert names.lookup(volume, ROOT, b"f").is_file
        names.unlink(volume, ROOT, b"f")


async def test_a_disk_too_full_to_open_says_so(tmp_path: Path) -> None:
    files = Tight()
    home = InMemory(tmp_path, files=files)
    await filled(home)
    files.unlink(f"{home.path}/{ballast.PATH}")
    for path in [path for path in files._names if "/journal/" in path]:
        files._names[f"/old{path}"] = files._names.pop(path)
    files.capacity_bytes = 0
    with pytest.raises(MachineTrouble, match="full"):
        async with home.opened():
            pass


@pytest.mark.parametrize("spoil", ["short", "no room for a directory"])
async def test_a_pack_that_cannot_be_finished_keeps_no_volume_closed(tmp_path: Path, spoil: str) -> None:
    home = InMemory(tmp_path)
    async with home.killed() as volume:
        whole = await put(volume, new_file(volume, b"whole"))
        await writing.write(volume, new_file(volume, b"open"), 0, NOISE.randbytes(200_000))
        await seal_into_open_pack(volume)
        await epochs.commit(volume)
        path = volume.disks[1].pack_path(chunks.packs(volume.metadata)[-1].pack)  # type: ignore[attr-defined]
    if spoil == "short":
        home.files.truncate(home.files.open(path, write=True), home.files.size(path) - 10)
    else:
        home.files.failing["truncate"] = [errno.ENOSPC]
    async with home.opened() as volume:
        assert bytes(await reading.read(volume, 2, 0, 1 << 20)) == whole
        if spoil == "short":
            with pytest.raises(DamagedData):
                await reading.read(volume, 3, 0, 1 << 20)


async def test_a_replay_that_failed_is_never_committed(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        await epochs.commit(volume)
        seq = volume.metadata.running.last_seq
        new_file(volume, b"f")
        spoil_journal(home, volume)
        recording.restore(volume, RuntimeError("an op failed, says the test"))
        assert volume.health.read_only_reason is not None
        assert not volume.metadata.db.in_transaction
        await epochs.commit(volume)
        assert volume.metadata.running.last_seq == seq
        stored = dict(volume.metadata.db.execute("SELECT name, value FROM state"))
        assert stored["last_seq"] == seq
        with pytest.raises(StoreUnavailable, match="replaying the journal failed"):
            names.lookup(volume, ROOT, b"f")  # rather an error than what there was before


def spoil_journal(home: InMemory, volume: Volume) -> None:
    (path,) = [path for path in home.files._names if f"/journal/{volume.journal.segments[-1]:016x}" in path]
    home.files._inodes[home.files._names[path]].live.write(4096, b"\xff" * 10_000)


async def test_an_end_in_disorder_is_told_to_who_waits_for_it(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        new_file(volume, b"f")
        home.files.failing["sync"] = [errno.EIO] * 50
    home.files.failing.clear()
    assert locking.last_trouble(str(home.path))
    async with home.opened():
        pass
    assert locking.last_trouble(str(home.path)) is None


async def test_a_snapshot_of_the_same_epoch_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    """When every COMMIT since has failed, as on a full disk."""
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        new_file(volume, b"f")
        await snapshots.take(volume)
        await durability.barrier(volume)
        epoch = volume.metadata.running.epoch
        home.files.failing["sync"] = [errno.EIO]  # of the WAL: the journal has nothing to sync
        await snapshots.take(volume)
        assert volume.health.read_only_reason is None
        assert [snapshot.epoch for snapshot in disks.snapshots(volume.metadata)] == [epoch]
