"""Sealing: what is hot becomes chunks, whatever its shape, in bounded steps, and reads the same."""

import random
import stat
from pathlib import Path

import pytest

from rustfsfs import ops
from rustfsfs.meta import apply
from rustfsfs.units import ROOT
from rustfsfs.volume import collecting, commands, names, reading, recording, sealing, writing
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import new_volume

FILE = stat.S_IFREG | 0o644


def new_file(volume: Volume, name: bytes) -> int:
    return names.create(volume, ROOT, name, mode=FILE, uid=0, gid=0).inode


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
    count = 3 * sealing.WINDOW_ROWS_MAX + 7
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


async def test_a_dead_fork_is_not_sealed(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        for number in range(apply.EXTENTS_PER_OP + 1):
            await writing.write(volume, inode, number * 2, b"x")
        names.unlink(volume, ROOT, b"f")
        recording.record(volume, ops.Release(inodes=[inode]))
        dead = volume.metadata.rows("SELECT fork FROM dead_forks")
        assert sealing.plan_fork(volume, dead[0][0], 0) == ([], None)


async def test_a_file_of_crumbs_reads_whole_in_slices(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        data = random.Random(5).randbytes(4 * reading.EXTENTS_AT_ONCE - 1)
        for at in range(0, len(data), 3):
            await writing.write(volume, inode, at, data[at : at + 2])
        want = bytes(byte if at % 3 < 2 else 0 for at, byte in enumerate(data))
        for offset, size in ((0, len(want)), (1, 700), (len(want) - 5, 100)):
            assert bytes(await reading.read(volume, inode, offset, size)) == want[offset : offset + size]
