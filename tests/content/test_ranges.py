"""Extents as values: each function against a byte-by-byte model."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.content.ranges import Extent, clip, join, replace_unchanged, without, zero_runs_removed

SPAN = 40  # bytes of the little files these properties draw


def bytes_of(extents: list[Extent]) -> list[tuple[int, int, int] | None]:
    """What each byte of a file is: (segment, base, position in the data), or None in a hole."""
    found: list[tuple[int, int, int] | None] = [None] * SPAN
    for extent in extents:
        for at in range(extent.length):
            assert found[extent.offset + at] is None, "two extents overlap"
            found[extent.offset + at] = (extent.segment, extent.base, extent.skip + at)
    return found


@st.composite
def files(draw: st.DrawFn) -> list[Extent]:
    extents, at = [], 0
    while at < SPAN:
        length = draw(st.integers(1, 9))
        if draw(st.booleans()) and at + length <= SPAN:
            segment = draw(st.integers(0, 2))
            extents.append(Extent(at, length, segment, draw(st.integers(1, 2)), draw(st.integers(0, 5)), 0))
        at += length
    return extents


@given(extents=files(), start=st.integers(0, SPAN), length=st.integers(0, SPAN))
def test_without_leaves_every_other_byte_as_it_was(extents: list[Extent], start: int, length: int) -> None:
    end = min(SPAN, start + length)
    if start >= end:
        return
    want = bytes_of(extents)
    want[start:end] = [None] * (end - start)
    assert bytes_of(without(extents, start, end)) == want


@given(extents=files())
def test_join_changes_no_byte_and_leaves_nothing_to_join(extents: list[Extent]) -> None:
    joined = join(extents)
    assert bytes_of(joined) == bytes_of(extents)
    assert join(joined) == joined
    for left, right in itertools.pairwise(joined):
        continues = left.end == right.offset and left.skip + left.length == right.skip
        assert not (continues and left[2:4] == right[2:4] and left.total == right.total)


@given(current=files(), sources=files())
def test_replace_unchanged_replaces_exactly_the_bytes_that_still_lie_there(
    current: list[Extent], sources: list[Extent]
) -> None:
    replacement = Extent(0, SPAN, 0, 99, 0, 0)
    result = bytes_of(replace_unchanged(current, sources, replacement))
    then, now = bytes_of(sources), bytes_of(current)
    for at in range(SPAN):
        unchanged = now[at] is not None and now[at] == then[at]
        assert result[at] == ((0, 99, at) if unchanged else now[at]), at


@pytest.mark.parametrize(
    ("start", "end", "want"),
    [
        pytest.param(0, 100, Extent(10, 20, 1, 5, 3, 50), id="all of it"),
        pytest.param(15, 100, Extent(15, 15, 1, 5, 8, 50), id="its end"),
        pytest.param(0, 12, Extent(10, 2, 1, 5, 3, 50), id="its beginning"),
        pytest.param(14, 16, Extent(14, 2, 1, 5, 7, 50), id="its middle"),
    ],
)
def test_clip(start: int, end: int, want: Extent) -> None:
    assert clip(Extent(10, 20, 1, 5, 3, 50), start, end) == want


@given(
    data=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 40)), max_size=12).map(
        lambda runs: b"".join(bytes([value]) * count for value, count in runs)
    ),
    offset=st.integers(0, 50),
)
def test_zero_runs_leave_out_only_zeros(data: bytes, offset: int) -> None:
    rebuilt = bytearray(len(data))
    for skip, length in zero_runs_removed(memoryview(data), offset, grain=16):
        assert length > 0
        rebuilt[skip : skip + length] = data[skip : skip + length]
    assert rebuilt == data


@pytest.mark.parametrize(
    ("data", "offset", "want"),
    [
        pytest.param(b"", 0, [], id="nothing"),
        pytest.param(bytes(64), 0, [], id="all zeros"),
        pytest.param(b"a" * 64, 0, [(0, 64)], id="no zeros are one run"),
        pytest.param(b"a" * 16 + bytes(16) + b"b" * 16, 0, [(0, 16), (32, 16)], id="a grain of zeros"),
        pytest.param(b"a" * 8 + bytes(16) + b"b" * 8, 8, [(0, 8), (24, 8)], id="grains are those of the file"),
        pytest.param(b"a" + bytes(15), 0, [(0, 16)], id="zeros within a grain stay"),
    ],
)
def test_zero_runs(data: bytes, offset: int, want: list[tuple[int, int]]) -> None:
    assert zero_runs_removed(memoryview(data), offset, grain=16) == want
