"""Disks come, go, move and fail; what lies on them stays readable, in as many copies as before."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
import trio

from rustfsfs.content.slots import SlotKind
from rustfsfs.errors import MachineTrouble, StoreUnavailable, UsageError
from rustfsfs.meta import chunks, disks
from rustfsfs.store.headers import DISK_HEADER, DISK_HEADER_COPY
from rustfsfs.volume import (
    admission,
    attributes,
    collecting,
    commands,
    drives,
    keys,
    packing,
    reading,
    snapshots,
    writing,
)
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.crash.story import Key, world_on
from tests.mounted import Mounted
from tests.volume.in_memory import InMemory, new_file, put


def copies_by_chunk(volume: Volume) -> set[tuple[int, int]]:
    """(places, different disks) of all chunks."""
    rows = volume.metadata.rows("SELECT count(*), count(DISTINCT disk) FROM places GROUP BY chunk")
    return {(places, different) for places, different in rows}


async def put_on(volume: Volume, name: bytes, pair: tuple[int, ...]) -> bytes:
    """A file whose chunks lie on these disks."""
    await packing.close_full(volume, everything=True)
    volume.metadata.run("UPDATE disks SET draining = 1")
    volume.metadata.run(f"UPDATE disks SET draining = 0 WHERE disk IN {pair}")
    data = await put(volume, new_file(volume, name))
    volume.metadata.run("UPDATE disks SET draining = 0")
    return data


async def test_copies_never_meet_on_one_disk_when_another_goes(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=3, copies=2)
    async with home.opened() as volume:
        data = [await put_on(volume, b"%d%d" % pair, pair) for pair in ((1, 3), (1, 2), (2, 3))]
        await drives.remove(volume, str(home.disks[2]))
        assert copies_by_chunk(volume) == {(2, 2)}
        for number, inode in enumerate((2, 3, 4)):
            assert bytes(await reading.read(volume, inode, 0, 1 << 20)) == data[number]


async def test_a_missing_disk_is_removed_by_way_of_the_other_copies(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=3, copies=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"f", (1, 3))
    take_away(home, home.disks[2])
    async with home.opened(degraded=True) as volume:
        await drives.remove(volume, str(home.disks[2]))
        assert copies_by_chunk(volume) == {(2, 2)}
        assert [row.disk for row in disks.all_(volume.metadata)] == [1, 2]
        assert chunks.doomed(volume.metadata) == []
        assert volume.health.missing_disks == {}
    async with home.opened() as volume:
        assert bytes(await reading.read(volume, 2, 0, 1 << 20)) == data


def take_away(home: InMemory, disk: Path) -> None:
    for name in (DISK_HEADER, DISK_HEADER_COPY):
        home.files.unlink(f"{disk}/{name}")


async def test_a_missing_disk_with_the_only_copy_is_not_forgotten(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2)
    async with home.opened() as volume:
        await put_on(volume, b"f", (2, 2))
    take_away(home, home.disks[1])
    async with home.opened(degraded=True) as volume:
        with pytest.raises(MachineTrouble, match="cannot be read"):
            await drives.remove(volume, str(home.disks[1]))
        assert len(disks.all_(volume.metadata)) == 2


async def test_a_change_in_a_chunk_of_a_missing_disk_is_sealed_by_itself(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2)
    async with home.opened() as volume:
        await put_on(volume, b"f", (2, 2))
    take_away(home, home.disks[1])
    async with home.opened(degraded=True) as volume:
        await writing.write(volume, 2, 20_000, b"much of several chunks" * 5000)
        await commands.seal(volume, {}, collecting.no_progress)
        assert volume.metadata.running.hot_bytes == 0
        assert bytes(await reading.read(volume, 2, 20_000, 22)) == b"much of several chunks"


async def test_a_disk_that_missed_a_snapshot_is_still_one_of_us(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2)
    async with home.opened() as volume:
        await put(volume, new_file(volume, b"f"))
        folder = f"{home.disks[1]}/snapshots"
        home.files._names[folder] = 0  # a file where the directory should be
    del home.files._names[folder]
    async with home.opened() as volume:
        assert volume.health.missing_disks == {}
        assert len(disks.snapshots(volume.metadata)) == 1


async def test_no_snapshot_makes_a_disk_of_a_mount_point_whose_disk_is_gone(tmp_path: Path) -> None:
    """Its epoch would be newer than the real disk's, which would then count as an older copy of itself."""
    home = InMemory(tmp_path, disk_count=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"f", (2, 2))
        for name in (DISK_HEADER, DISK_HEADER_COPY):
            home.files.rename(f"{home.disks[1]}/{name}", f"{tmp_path}/{name}")
        await snapshots.take(volume)
        assert not any(name.startswith(f"{home.disks[1]}/rustfsfs") for name in home.files._names)
        for name in (DISK_HEADER, DISK_HEADER_COPY):
            home.files.rename(f"{tmp_path}/{name}", f"{home.disks[1]}/{name}")
    async with home.opened() as volume:
        assert volume.health.missing_disks == {}
        assert bytes(await reading.read(volume, 2, 0, 1 << 20)) == data


async def test_without_any_disk_no_snapshot_is_said_to_be(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=1)
    async with home.opened() as volume:
        await put(volume, new_file(volume, b"f"))
    take_away(home, home.disks[0])
    async with home.opened(degraded=True) as volume:
        before = disks.snapshots(volume.metadata)
        new_file(volume, b"g")
        with pytest.raises(StoreUnavailable, match="no disk is there"):
            await snapshots.take(volume)
        assert before and disks.snapshots(volume.metadata) == before


async def test_a_new_disk_gets_the_keys_as_they_are_now(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    world = world_on(home.files, 7)
    recovery = Key(kind=SlotKind.RECOVERY, value=b"r" * 32)
    async with home.opened() as volume:
        keys.remove_slot(world, str(home.path), opened_with=recovery, number=0)
        await drives.add(volume, str(tmp_path / "new"))
        assert home.files.pread(home.files.open(f"{home.path}/header"), 1 << 16, 0) == home.files.pread(
            home.files.open(f"{tmp_path}/new/header"), 1 << 16, 0
        )


def test_a_damaged_slot_is_taken_from_a_disk(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    (tmp_path / "d").mkdir()
    base.format("--disk", tmp_path / "d")
    whole = (base.volume / "header").read_bytes()
    spoilt = bytearray(whole)
    spoilt[4100:4120] = bytes(20)
    (base.volume / "header").write_bytes(spoilt)
    world = real_world()
    unlocked(world, str(base.volume), Key(value=base.key.read_bytes()))
    assert base.run("status", base.volume, "--key-file", base.key).returncode == 0


@pytest.mark.slow  # formats and mounts
@pytest.mark.fuse
def test_a_copied_volume_uses_its_own_packs_and_a_moved_one_opens(tmp_path: Path) -> None:
    first = Mounted(tmp_path)
    try:
        first.format()
        first.mount()
        (first.point / "f").write_bytes(b"the same " * 5000)
        first.seal()
        first.umount()
        shutil.copytree(first.volume, first.base / "copy", ignore=shutil.ignore_patterns("ballast"))
        second = Mounted(first.base)
        second.volume = first.base / "copy"
        second.mount()
        assert second.status()["disks"][0]["path"] == str(second.volume)
        (second.point / "f").unlink()
        second.run("collect", second.point)
        second.umount()
        first.volume.rename(first.base / "moved")
        first.volume = first.base / "moved"
        first.mount()
        assert (first.point / "f").read_bytes() == b"the same " * 5000
    finally:
        first.clean_up()


async def test_a_moved_disk_is_named_anew(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"f", (2, 2))
    old, new = str(home.disks[1]), f"{tmp_path}/elsewhere"
    for path in [path for path in home.files._names if path.startswith(old + "/")]:
        home.files.mkdir(str(Path(new + path[len(old) :]).parent))
        home.files.rename(path, new + path[len(old) :])
    async with home.opened(degraded=True) as volume:
        assert await drives.add(volume, new) == 2
        assert bytes(await reading.read(volume, 2, 0, 1 << 20)) == data
    async with home.opened() as volume:
        assert volume.disks[2].path == new


@pytest.mark.slow  # formats and mounts
@pytest.mark.fuse
def test_a_disk_of_one_mounted_volume_opens_for_no_copy_of_it(tmp_path: Path) -> None:
    first = Mounted(tmp_path)
    (tmp_path / "d").mkdir()
    try:
        first.format("--disk", tmp_path / "d")
        first.mount()
        shutil.copytree(first.volume, tmp_path / "copy", ignore=shutil.ignore_patterns("control.sock", "ballast"))
        done = first.run("status", tmp_path / "copy", "--key-file", first.key, check=False)
        assert done.returncode == 5 and "another volume" in done.stderr, done
    finally:
        first.clean_up()


async def test_disks_come_and_go_one_at_a_time(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=3, copies=2)
    refused: list[str] = []

    async with home.opened() as volume:

        async def remove(path: Path) -> None:
            try:
                await drives.remove(volume, str(path))
            except UsageError as exc:
                refused.append(str(exc))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drives.add, volume, str(tmp_path / "e1"))
            nursery.start_soon(drives.add, volume, str(tmp_path / "e2"))
        assert [row.disk for row in disks.all_(volume.metadata)] == [1, 2, 3, 4, 5]
        async with trio.open_nursery() as nursery:
            for disk in [*home.disks, tmp_path / "e1", tmp_path / "e2"]:
                nursery.start_soon(remove, disk)
        left = disks.all_(volume.metadata)
        assert (len(left), len(refused)) == (2, 2)
        assert not any(row.draining for row in left)


async def test_without_one_of_two_disks_writing_goes_on_with_one_copy(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2, copies=2)
    async with home.opened() as volume:
        await put(volume, new_file(volume, b"f"))
    take_away(home, home.disks[1])
    async with home.opened(degraded=True) as volume:
        await admission.admit(volume, 1 << 20)
        data = await put(volume, new_file(volume, b"g"))
        assert bytes(await reading.read(volume, 3, 0, 1 << 20)) == data
        assert attributes.space(volume).free_blocks > 0


@pytest.mark.slow  # formats and mounts
@pytest.mark.fuse
def test_a_disk_is_locked_from_its_coming_to_its_going(tmp_path: Path) -> None:
    base = Mounted(tmp_path)

    def is_locked(path: Path) -> bool:
        fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    try:
        base.format()
        base.mount()
        base.run("disk", "add", base.point, tmp_path / "d")
        assert is_locked(tmp_path / "d")
        base.run("disk", "remove", base.point, tmp_path / "d")
        assert not is_locked(tmp_path / "d")
    finally:
        base.clean_up()
