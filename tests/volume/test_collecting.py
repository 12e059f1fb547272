"""What a retained snapshot names stays (I5), and goes when the snapshot does."""

import errno
from pathlib import Path

import pytest
import trio

from rustfsfs.errors import StoreError
from rustfsfs.meta import chunks, disks
from rustfsfs.volume import collecting, epochs, reading, sealing, snapshots, windows, writing
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import NOISE, InMemory, new_file, new_volume, put, seal


def packs(volume: Volume) -> set[int]:
    return {int(pack) for disk in volume.disks.values() for pack in disk.packs()}


async def test_packs_outlive_their_rows_as_long_as_a_snapshot_names_them(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await put(volume, inode)
        await snapshots.take(volume)
        named = packs(volume)
        data = await put(volume, inode)
        for _ in range(3):
            await collecting.collect(volume, live_share=0.9)
            assert named <= packs(volume)
        running = volume.metadata.running
        assert running.dead_bytes == running.doomed_bytes > 0, "the rows are gone; only the files wait"
        await snapshots.take(volume)
        await collecting.collect(volume, live_share=0.9)
        assert named <= packs(volume), "the older of the two snapshots still names them"
        await snapshots.take(volume)
        await collecting.collect(volume, live_share=0.9)
        assert not named & packs(volume)
        assert len(disks.snapshots(volume.metadata)) == snapshots.KEPT
        assert bytes(await reading.read(volume, inode, 0, 1 << 20)) == data


async def test_only_the_dead_leave_the_cache(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        for _ in range(2):
            data = await put(volume, inode)
            assert bytes(await reading.read(volume, inode, 0, 1 << 20)) == data
            await collecting.bury(volume)
            numbers = {chunk for (chunk,) in volume.metadata.rows("SELECT chunk FROM chunks")}
            assert len(volume.cache) == len(numbers) > 0
            assert all(volume.cache.get(number) is not None for number in numbers)


async def nothing_more(_sealed_bytes: int) -> None:
    return


async def test_appends_that_fail_again_and_again_leave_nothing_behind(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        inode = new_file(volume, b"f")
        data = NOISE.randbytes(500_000)
        await writing.write(volume, inode, 0, data)
        await epochs.commit(volume)
        before = len(home.files._fds)
        for _ in range(10):
            home.files.failing["pwrite"] = [None, None, errno.EIO]  # the header and a frame, then no more
            with pytest.raises(StoreError):
                await sealing.seal_forks(
                    volume, windows.hot_forks(volume), is_busy=lambda _fork: False, after_batch=nothing_more
                )
            await volume.gate.opened()
        assert (packs(volume), chunks.packs(volume.metadata)) == (set(), [])
        assert len(home.files._fds) == before
        await seal(volume)
        assert bytes(await reading.read(volume, inode, 0, 1 << 20)) == data


async def test_a_pack_keeps_what_rows_name_when_a_later_append_fails(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        first, second = new_file(volume, b"first"), new_file(volume, b"second")
        data = NOISE.randbytes(200_000)
        await writing.write(volume, first, 0, data)
        await sealing.seal_forks(
            volume, windows.hot_forks(volume), is_busy=lambda _fork: False, after_batch=nothing_more
        )
        await writing.write(volume, second, 0, NOISE.randbytes(200_000))
        home.files.failing["pwrite"] = [errno.EIO]
        with pytest.raises(StoreError):
            await sealing.seal_forks(
                volume, windows.hot_forks(volume), is_busy=lambda _fork: False, after_batch=nothing_more
            )
        volume.cache.remove(1)
        assert bytes(await reading.read(volume, first, 0, 1 << 20)) == data
        (row,) = chunks.packs(volume.metadata)
        assert volume.disks[1].pack_size(row.pack) == row.end_bytes


async def test_a_pack_that_was_deleted_before_a_crash_is_not_waited_for(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        inode = new_file(volume, b"f")
        await put(volume, inode)
        await put(volume, inode)
        await collecting.bury(volume)
        await collecting._drop_empty(volume)
        await epochs.commit(volume)
        ((pack, disk, _seq),) = chunks.doomed(volume.metadata)
        volume.disks[disk].delete(pack)
        await collecting.delete_doomed(volume)
        assert chunks.doomed(volume.metadata) == []


async def test_who_finds_the_disk_full_waits_for_the_collection_under_way(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        await volume.collect_lock.acquire()
        ended: list[str] = []

        async def ask(name: str, after_s: float) -> None:
            await trio.sleep(after_s)
            await collecting.make_room(volume)
            ended.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "first", 0)
            nursery.start_soon(ask, "second", 0.01)
            await trio.sleep(0.05)
            assert ended == []
            volume.collect_lock.release()
        assert sorted(ended) == ["first", "second"]
