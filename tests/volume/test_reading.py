"""Reading on the spot, by workers and ahead: the same bytes, and the same words about damage."""

from pathlib import Path

import pytest
import trio

from rustfsfs.errors import DamagedData
from rustfsfs.store.base import PackStore
from rustfsfs.units import KIB, MIB
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
        (number, _count), *_more = volume.metadata.rows(
            "SELECT chunk, plain_bytes FROM chunks ORDER BY plain_bytes DESC"
        )
        await reading.read(volume, inode, 0, 10)
        volume.cache.clear()
        assert reading.open_at_once(volume, number, inflated_max=10 * KIB) is None
        assert reading.open_at_once(volume, number, inflated_max=MIB) is not None


async def test_a_disk_that_went_is_for_a_worker_to_meet(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await put(volume, inode, 15_000)
        (chunk,) = {base for (base,) in volume.metadata.rows("SELECT base FROM extents")}
        await reading.read(volume, inode, 0, 10)
        volume.cache.clear()
        gone: dict[int, PackStore] = dict(volume.disks)
        volume.disks.clear()
        assert reading.open_at_once(volume, chunk) is None
        volume.disks.update(gone)
        assert reading.open_at_once(volume, chunk) is not None
        assert reading.open_at_once(volume, 999) is None
        await trio.lowlevel.checkpoint()
