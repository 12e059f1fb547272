"""Reading on the spot, by workers and ahead: the same bytes, and the same words about damage."""

from pathlib import Path

import pytest
import trio

from rustfsfs.content.codec import PART_SIZE
from rustfsfs.content.ranges import Extent
from rustfsfs.errors import DamagedData
from rustfsfs.meta import inodes
from rustfsfs.store.base import PackStore
from rustfsfs.tasks.readahead import run_readahead
from rustfsfs.units import KIB, MIB, Inode
from rustfsfs.volume import reading, writing
from rustfsfs.volume.volume import Volume
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import NOISE, new_file, new_volume, put, seal

BY_WORKERS_AND_AT_ONCE = pytest.mark.parametrize(
    "caches", [pytest.param(False, id="by workers"), pytest.param(True, id="at once")]
)


def files_that_cache(caches: bool) -> CrashFiles:
    files = CrashFiles()
    files.caches = caches
    return files


def spoil(files: CrashFiles, volume: Volume, chunk: int) -> None:
    """Flip a bit in the middle of a chunk's frame."""
    place = reading.locate(volume, chunk).places[0]
    path = f"{volume.disks[place.disk].path}/packs/{place.pack & 0xFF:02x}/{place.pack:016x}.pack"
    fd = files.open(path, write=True)
    at = place.offset + place.stored_bytes // 2
    files.pwrite(fd, bytes([files.pread(fd, 1, at)[0] ^ 1]), at)
    files.close(fd)


def all_extents(volume: Volume) -> list[Extent]:
    rows = volume.metadata.rows("SELECT offset, length, segment, base, skip, total FROM extents ORDER BY offset")
    return [Extent(*row) for row in rows]


@BY_WORKERS_AND_AT_ONCE
async def test_holes_hot_and_sealed_parts_come_back_in_one_read(tmp_path: Path, caches: bool) -> None:
    async with new_volume(tmp_path, files_that_cache(caches)) as volume:
        inode = new_file(volume, b"f")
        sealed = await put(volume, inode)
        hot = NOISE.randbytes(100_000)
        await writing.write(volume, inode, 50_000, hot[:10])  # in the midst of a chunk
        await writing.write(volume, inode, 300_000, hot)
        await writing.resize(volume, inode, 500_000)
        want = sealed[:50_000] + hot[:10] + sealed[50_010:] + bytes(100_000) + hot + bytes(100_000)
        assert len(want) == 500_000
        for start, end in ((0, 500_000), (49_999, 50_011), (199_999, 300_001), (350_000, 350_001), (450_000, 600_000)):
            volume.cache.clear()
            assert bytes(await reading.read(volume, inode, start, end - start)) == want[start:end]
        assert bytes(await reading.read(volume, inode, 500_000, 10)) == b""


@BY_WORKERS_AND_AT_ONCE
async def test_a_damaged_frame_is_an_error_and_reported_however_it_is_read(tmp_path: Path, caches: bool) -> None:
    files = files_that_cache(caches)
    async with new_volume(tmp_path, files) as volume:
        inode = new_file(volume, b"f")
        data = await put(volume, inode, 15_000)
        volume.cache.clear()
        await reading.read(volume, inode, 0, 10)  # the pack is open now, so that reading at once is tried
        volume.cache.clear()
        (chunk,) = {base for (base,) in volume.metadata.rows("SELECT base FROM extents")}
        spoil(files, volume, chunk)
        for _ in range(2):
            with pytest.raises(DamagedData):
                await reading.read(volume, inode, 100, 10)
        assert list(volume.health.damaged_chunks) == [chunk]
        assert volume.metadata.running.bad_chunks == 1
        await writing.write(volume, inode, 0, data)
        await seal(volume)
        assert bytes(await reading.read(volume, inode, 0, 15_000)) == data


async def test_what_takes_long_to_decompress_is_for_a_worker(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await writing.write(volume, inode, 0, b"text " * 40_000)
        await seal(volume)
        (extent, *_more) = sorted(all_extents(volume), key=lambda one: -one.length)
        await reading.read(volume, inode, 0, 10)
        volume.cache.clear()
        assert reading.open_at_once(volume, extent, inflated_max=10 * KIB) is None
        assert reading.open_at_once(volume, extent, inflated_max=MIB) is not None


async def test_a_disk_that_went_is_for_a_worker_to_meet(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await put(volume, inode, 15_000)
        (extent,) = all_extents(volume)
        await reading.read(volume, inode, 0, 10)
        volume.cache.clear()
        gone: dict[int, PackStore] = dict(volume.disks)
        volume.disks.clear()
        assert reading.open_at_once(volume, extent) is None
        volume.disks.update(gone)
        assert reading.open_at_once(volume, extent) is not None
        assert reading.open_at_once(volume, extent._replace(base=999)) is None
        await trio.lowlevel.checkpoint()


async def test_who_reads_in_order_finds_the_next_chunks_decoded(tmp_path: Path) -> None:
    async with new_volume(tmp_path, files_that_cache(False)) as volume:
        inode = new_file(volume, b"f")
        data = NOISE.randbytes(2 * MIB).hex().encode()  # it can be compressed: what is stored raw is not read ahead
        for start in range(0, len(data), MIB):
            await writing.write(volume, inode, start, data[start : start + MIB])
        await seal(volume)
        volume.cache.clear()
        sql = "SELECT base FROM extents WHERE offset BETWEEN ? AND ?"
        ahead = [base for (base,) in volume.metadata.rows(sql, (MIB, 3 * MIB - 1))]
        async with trio.open_nursery() as nursery:
            await nursery.start(run_readahead, volume)
            assert bytes(await reading.read(volume, inode, 0, MIB)) == data[:MIB]
            with trio.fail_after(10):
                while not all(chunk in volume.cache for chunk in ahead):
                    await trio.sleep(0.001)
            for start in range(MIB, len(data), MIB):
                assert bytes(await reading.read(volume, inode, start, MIB)) == data[start : start + MIB]
            nursery.cancel_scope.cancel()
        assert not volume.pins.packs


async def test_damage_met_ahead_is_left_to_who_asks(tmp_path: Path) -> None:
    files = files_that_cache(False)
    async with new_volume(tmp_path, files) as volume:
        inode = new_file(volume, b"f")
        data = NOISE.randbytes(100_000).hex().encode()
        await writing.write(volume, inode, 0, data)
        await seal(volume)
        volume.cache.clear()
        rows = volume.metadata.rows("SELECT offset, base FROM extents ORDER BY offset")
        offset, bad = rows[1]
        spoil(files, volume, bad)
        await reading.load_ahead(volume, inode, 0, 200_000, trio.CapacityLimiter(1))
        assert bad not in volume.cache and all(chunk in volume.cache for _offset, chunk in rows if chunk != bad)
        assert not volume.health.damaged_chunks and not volume.pins.packs
        with pytest.raises(DamagedData):
            await reading.read(volume, inode, offset, 10)
        assert list(volume.health.damaged_chunks) == [bad]
        assert bytes(await reading.read(volume, inode, 0, offset)) == data[:offset]


async def test_noise_is_not_read_ahead_and_what_is_read_whole_stays_out_of_the_cache(tmp_path: Path) -> None:
    async with new_volume(tmp_path, files_that_cache(True)) as volume:
        inode = new_file(volume, b"f")
        data = await put(volume, inode, 200_000)
        volume.cache.clear()
        await reading.read(volume, inode, 0, 200_000)
        volume.cache.clear()
        await reading.load_ahead(volume, inode, 0, 200_000, trio.CapacityLimiter(1))
        assert volume.ahead.readers[Inode(inode)].ahead == 200_000 + reading.RAW_STRETCH, "it is not looked soon again"
        assert len(volume.cache) == 0
        await reading.read(volume, inode, 0, 10)  # the first look opens the pack's file
        volume.cache.clear()
        assert bytes(await reading.read(volume, inode, 0, 200_000)) == data
        assert len(volume.cache) == 0
        assert bytes(await reading.read(volume, inode, 1, 200_000)) == data[1:]
        assert len(volume.cache) == 1, "a part of the first chunk is still to be read"


async def test_of_a_large_chunk_only_the_part_that_is_read_is_decompressed_and_kept(tmp_path: Path) -> None:
    async with new_volume(tmp_path, files_that_cache(True)) as volume:
        inode = new_file(volume, b"f")
        data = b"the same line again and again\n" * 40_000
        await writing.write(volume, inode, 0, data[:MIB])
        await writing.write(volume, inode, MIB, data[MIB:])
        await seal(volume)
        await reading.read(volume, inode, 0, 10)
        extent = max(all_extents(volume), key=lambda one: one.length)
        assert extent.length >= 2 * PART_SIZE and extent.skip == 0
        volume.cache.clear()
        for at in (0, 4096, PART_SIZE, 2 * PART_SIZE - 4096, extent.length - 4096):
            found = await reading.read(volume, inode, extent.offset + at, 4096)
            assert bytes(found) == data[extent.offset + at :][:4096]
            assert (extent.base, at // PART_SIZE) in volume.cache and extent.base not in volume.cache
        hits = volume.cache.hits
        await reading.read(volume, inode, extent.offset + PART_SIZE + 5, 4096)
        assert volume.cache.hits == hits + 1
        at = extent.offset + PART_SIZE - 10  # over an edge: the whole chunk
        assert bytes(await reading.read(volume, inode, at, 20)) == data[at : at + 20]
        assert extent.base in volume.cache


async def test_a_file_that_went_is_not_read_ahead(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        await reading.load_ahead(volume, 12345, 0, MIB, trio.CapacityLimiter(1))
        assert len(volume.cache) == 0


async def test_no_more_readers_are_remembered_than_that(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        row = inodes.get(volume.metadata, new_file(volume, b"f"))
        for inode in range(reading.READERS_KNOWN + 100):
            reading.note_reader(volume, row._replace(inode=Inode(inode), size_bytes=9 * MIB), 0, MIB)
        assert len(volume.ahead.readers) == reading.READERS_KNOWN
        assert len(volume.ahead.wanted) == volume.ahead.wanted.maxlen
