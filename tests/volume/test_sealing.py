"""Sealing: what is hot becomes chunks, whatever its shape, in bounded steps, and reads the same."""

import errno
import random
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from rustfsfs import ops
from rustfsfs.errors import NoSpace
from rustfsfs.meta import apply
from rustfsfs.units import ROOT
from rustfsfs.volume import collecting, commands, names, reading, recording, sealing, windows, writing
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import InMemory, new_volume

FILE = stat.S_IFREG | 0o644


def new_file(volume: Volume, name: bytes) -> int:
    return names.create(volume, ROOT, name, mode=FILE, uid=0, gid=0).inode


async def nothing_more(_sealed: int) -> None:
    return


async def seal(volume: Volume) -> None:
    await commands.seal(volume, {}, collecting.no_progress)


@pytest.fixture
def seals(monkeypatch: pytest.MonkeyPatch) -> list[ops.Seal]:
    """Every Seal op that is recorded."""
    seen: list[ops.Seal] = []

    def noted(volume: Volume, op: ops.AnyOp) -> None:
        if isinstance(op, ops.Seal):
            seen.append(op)
        recording.record(volume, op)

    monkeypatch.setattr(sealing, "record", noted)
    return seen


@pytest.mark.parametrize("stride", [1, 2, 700])
async def test_a_file_of_crumbs_is_sealed_in_bounded_steps(tmp_path: Path, stride: int, seals: list[ops.Seal]) -> None:
    """More extents within one neighbourhood than a window takes: touching, with holes, and spread over many chunks."""
    count = 3 * windows.WINDOW_ROWS_MAX + 7
    async with new_volume(tmp_path) as volume:
        inode, expected = new_file(volume, b"f"), bytearray(stride * count)
        for number in range(count):
            await writing.write(volume, inode, number * stride, bytes([1 + number % 255]))
            expected[number * stride] = 1 + number % 255
        await seal(volume)
        assert volume.metadata.running.hot_bytes == 0
        assert bytes(await reading.read(volume, inode, 0, 1 << 22)) == bytes(expected[: (count - 1) * stride + 1])
        sizes = [sum(len(part.sources) for part in op.ranges) for op in seals]
        assert sum(sizes) >= count
        assert max(sizes) <= sealing.OP_SOURCES_MAX


async def test_patches_all_over_a_sealed_file(tmp_path: Path, seals: list[ops.Seal]) -> None:
    """Every second byte of sealed chunks written anew, one by one: planned in linear time, cut anew, the same bytes."""
    draw = random.Random(5)
    async with new_volume(tmp_path) as volume:
        inode, expected = new_file(volume, b"f"), bytearray(draw.randbytes(400_000))
        await writing.write(volume, inode, 0, bytes(expected))
        await seal(volume)
        for at in range(100_000, 108_000, 2):
            await writing.write(volume, inode, at, b"x")
            expected[at] = ord("x")
        await seal(volume)
        assert volume.metadata.running.hot_bytes == 0
        assert bytes(await reading.read(volume, inode, 0, 1 << 22)) == bytes(expected)


BATCH = 400_000  # bytes, in the tests below: a megabyte is several batches
AVERAGE = 65536  # bytes of a chunk there


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many batches were compressed at the same time, each time one began."""
    monkeypatch.setattr(windows, "BATCH_BYTES_MAX", BATCH)
    seen: list[int] = []
    at_once = 0
    make_frames = sealing.make_frames

    def counted(volume: Volume, pieces: Sequence[sealing.Piece], buffer: sealing.Buffer) -> None:
        nonlocal at_once
        at_once += 1
        seen.append(at_once)
        time.sleep(0.02)
        make_frames(volume, pieces, buffer)
        at_once -= 1

    monkeypatch.setattr(sealing, "make_frames", counted)
    return seen


@pytest.mark.parametrize("is_busy", [False, True])
async def test_batches_on_their_way_at_once(tmp_path: Path, small_batches: list[int], is_busy: bool) -> None:
    """Several while nobody else needs the machine, else one; the bytes are the same, and a chunk is stored once."""
    noise = random.Random(5).randbytes(1_500_000)
    twice = noise + noise[:900_000]  # the second time while the first is on its way
    async with new_volume(tmp_path) as volume:
        inodes = [new_file(volume, b"long"), new_file(volume, b"other")]
        for inode in inodes:
            await writing.write(volume, inode, 0, twice)
        if is_busy:
            volume.activity.last_request_s = trio.current_time() + 1000
        await seal(volume)
        assert (max(small_batches) == 1) == is_busy
        assert volume.metadata.running.hot_bytes == 0
        assert volume.metadata.running.dead_bytes == 0
        assert stored_bytes(volume) < len(noise) * 1.2 + AVERAGE * 4
        for inode in inodes:
            assert bytes(await reading.read(volume, inode, 0, len(twice))) == twice


async def test_a_long_patch_that_ends_in_an_older_chunk_is_stored_once(
    tmp_path: Path, small_batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window behind a batch that is on its way begins where that ended, also if the run is no chunk of its own."""
    monkeypatch.setattr(windows, "NEIGHBOURHOOD", 100_000)
    draw = random.Random(5)
    older, newer = draw.randbytes(1_500_000), draw.randbytes(1_000_000)
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await writing.write(volume, inode, 0, older)
        await seal(volume)
        begins = volume.metadata.rows("SELECT offset FROM extents WHERE offset > ? ORDER BY offset", (len(newer),))
        newer += draw.randbytes(begins[0][0] + 1000 - len(newer))  # so little of a chunk is not worth a new cut of it
        for at in range(0, len(newer), 10_000):
            await writing.write(volume, inode, at, newer[at : at + 10_000])
        before_bytes = stored_bytes(volume)
        await seal(volume)
        assert len(small_batches) > 4
        assert stored_bytes(volume) - before_bytes < len(newer) * 1.02
        assert bytes(await reading.read(volume, inode, 0, 1 << 22)) == newer + older[len(newer) :]


def stored_bytes(volume: Volume) -> int:
    return sum(disk.pack_size(pack) for disk in volume.disks.values() for pack in disk.packs())


async def test_a_disk_that_fills_between_two_batches(tmp_path: Path, small_batches: list[int]) -> None:
    """What was recorded stays sealed, the rest stays hot, and the error comes alone, not in a group."""
    noise = random.Random(5).randbytes(2_000_000)
    kept = InMemory(tmp_path)
    async with kept.opened() as volume:
        inode = new_file(volume, b"f")
        await writing.write(volume, inode, 0, noise)
        kept.files.failing["pwrite"] = [None, None, None, None, None, None, None, None, None, errno.ENOSPC]
        with pytest.raises(NoSpace):
            await sealing.seal_forks(
                volume, windows.hot_forks(volume), is_busy=lambda _fork: False, after_batch=nothing_more
            )
        assert 0 < volume.metadata.running.hot_bytes < len(noise)
        assert bytes(await reading.read(volume, inode, 0, len(noise))) == noise
        await seal(volume)
        assert volume.metadata.running.hot_bytes == 0
        assert bytes(await reading.read(volume, inode, 0, len(noise))) == noise


async def test_sealing_ends_although_somebody_goes_on_writing(tmp_path: Path) -> None:
    """All that was hot at the call is sealed; what came since may stay."""
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await writing.write(volume, inode, 0, random.Random(5).randbytes(300_000))

        async def write_on() -> None:
            for number in range(1_000_000):
                await volume.gate.opened()
                await writing.write(volume, new_file(volume, b"%d" % number), 0, b"%d" % number * 500)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_on)
            with trio.fail_after(10):
                await seal(volume)
            nursery.cancel_scope.cancel()
        fork = volume.metadata.rows("SELECT fork FROM inodes WHERE inode = ?", (inode,))[0][0]
        assert volume.metadata.rows("SELECT 1 FROM extents WHERE fork = ? AND segment > 0", (fork,)) == []


async def test_a_dead_fork_is_not_sealed(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        for number in range(apply.EXTENTS_PER_OP + 1):
            await writing.write(volume, inode, number * 2, b"x")
        names.unlink(volume, ROOT, b"f")
        recording.record(volume, ops.Release(inodes=[inode]))
        dead = volume.metadata.rows("SELECT fork FROM dead_forks")
        assert windows.plan_fork(volume, dead[0][0], 0) == ([], None)


async def test_a_file_of_crumbs_reads_whole_in_slices(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        data = random.Random(5).randbytes(4 * reading.EXTENTS_AT_ONCE - 1)
        for at in range(0, len(data), 3):
            await writing.write(volume, inode, at, data[at : at + 2])
        want = bytes(byte if at % 3 < 2 else 0 for at, byte in enumerate(data))
        for offset, size in ((0, len(want)), (1, 700), (len(want) - 5, 100)):
            assert bytes(await reading.read(volume, inode, offset, size)) == want[offset : offset + size]
