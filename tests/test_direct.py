"""What is written past the page cache is what was to be written, whatever its size and place, and on any disk."""

import fcntl
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs import direct
from rustfsfs.direct import AT_ONCE, BLOCK, PastCache, steps
from rustfsfs.units import MIB

NOISE = random.Random(3).randbytes(11 * MIB)


@given(offset=st.integers(0, 1 << 40), size=st.integers(0, 1 << 26))
def test_whole_blocks_lie_between_a_head_and_a_tail(offset: int, size: int) -> None:
    at = offset
    for length, is_whole in steps(offset, size):
        assert 0 < length <= AT_ONCE
        assert is_whole == (at % BLOCK == 0 and length % BLOCK == 0)
        at += length
    assert at == offset + size


@pytest.mark.parametrize(
    ("offset", "sizes"),
    [
        pytest.param(0, [3 * MIB], id="whole blocks"),
        pytest.param(96, [3 * MIB], id="a head and a tail"),
        pytest.param(96, [700_000] * 15, id="parts over the edge of the memory"),
        pytest.param(5000, [100] * 20_000, id="small parts"),
        pytest.param(8192, [AT_ONCE, 1, AT_ONCE - 1], id="exactly the memory twice"),
        pytest.param(4000, [50, 200], id="little: not past the cache"),
        pytest.param(0, [], id="nothing"),
    ],
)
def test_parts_lie_one_behind_the_other(tmp_path: Path, offset: int, sizes: list[int]) -> None:
    parts = [memoryview(NOISE)[index : index + size] for index, size in enumerate(sizes)]
    assert written(tmp_path, parts, offset) == b"".join(parts)


@pytest.mark.parametrize("block", [1, 16, 100])
def test_a_disk_that_wants_another_alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(direct, "BLOCK", block)
    assert written(tmp_path, [NOISE[:5_000_001]], 3) == NOISE[:5_000_001]


@given(before=st.integers(0, 3 * BLOCK), sizes=st.lists(st.integers(0, 20_000), max_size=20))
def test_appends_of_any_size(before: int, sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        patch.setattr(direct, "AT_ONCE", 2 * BLOCK)
        patch.setattr(direct, "SIZE_MIN", 0)
        parts = [NOISE[size : 2 * size] for size in sizes]
        assert written(Path(folder), parts, before) == b"".join(parts)


def written(folder: Path, parts: list[bytes] | list[memoryview], offset: int) -> bytes:
    """What a file holds at `offset`, behind what it held, when the parts were written there in two appends."""
    fd = os.open(folder / "f", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        before, half, disk = NOISE[-offset:] if offset else b"", len(parts) // 2, PastCache()
        os.pwrite(fd, before, 0)
        done = disk.pwrite(fd, parts[:half], offset)
        assert done == sum(map(len, parts[:half]))
        assert disk.pwrite(fd, parts[half:], offset + done) == sum(map(len, parts[half:]))
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT
        os.fdatasync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        held = os.pread(fd, offset + 12 * MIB, 0)
        assert held[:offset] == before
        return held[offset:]
    finally:
        os.close(fd)
