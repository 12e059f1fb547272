"""Extents as values, and the arithmetic on them. Pure; SQL is in `meta.extents`, bytes are elsewhere."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple


class Extent(NamedTuple):
    """A file range and where its bytes are. No extent is longer than 1 MiB (the largest write and chunk).

    Hot: `segment` > 0, `base` is the position of the first piece of the write's data, `total` that data's size.
    In a chunk: `segment` 0, `base` is the chunk number, `total` 0.
    `skip` bytes into the data or the chunk, this extent begins.
    """

    offset: int
    length: int
    segment: int
    base: int
    skip: int
    total: int

    @property
    def end(self) -> int:
        return self.offset + self.length


def clip(extent: Extent, start: int, end: int) -> Extent:
    """The part of an extent inside [start, end); they must overlap."""
    first, last = max(extent.offset, start), min(extent.offset + extent.length, end)
    assert first < last, (extent, start, end)
    skip = extent.skip + first - extent.offset
    return Extent(first, last - first, extent.segment, extent.base, skip, extent.total)


def between(extents: Sequence[Extent], start: int, end: int) -> Sequence[Extent]:
    """Those of sorted extents that have a byte in [start, end)."""
    first = max(0, bisect_right(extents, start, key=attrgetter("offset")) - 1)
    if first < len(extents) and extents[first].end <= start:
        first += 1
    return extents[first : bisect_left(extents, end, key=attrgetter("offset"))]


def without(extents: Iterable[Extent], start: int, end: int) -> list[Extent]:
    """What is left of sorted extents when [start, end) is cut out."""
    kept: list[Extent] = []
    for extent in extents:
        if extent.offset < start:
            kept.append(clip(extent, extent.offset, min(start, extent.end)))
        if extent.end > end:
            kept.append(clip(extent, max(end, extent.offset), extent.end))
    return kept


def same_bytes(extent: Extent, segment: int, base: int, skip: int, offset: int) -> bool:
    """Does `extent` hold the bytes that lay, at file `offset`, at (segment, base, skip)?"""
    return extent.segment == segment and extent.base == base and extent.skip - extent.offset == skip - offset


def join(extents: Iterable[Extent]) -> list[Extent]:
    """Neighbours that continue each other in one chunk or write become one extent."""
    joined: list[Extent] = []
    for extent in extents:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.end == extent.offset
            and (last.segment, last.base, last.total) == (extent.segment, extent.base, extent.total)
            and last.skip + last.length == extent.skip
        ):
            joined[-1] = last._replace(length=last.length + extent.length)
        else:
            joined.append(extent)
    return joined


def replace_unchanged(current: Sequence[Extent], sources: Sequence[Extent], replacement: Extent) -> list[Extent]:
    """`current`, with `replacement` wherever the bytes of `sources` still lie.

    current, sources   sorted, within [replacement.offset, replacement.end)
    returns            sorted, joined; ranges that changed since (overwritten, cut off) stay as they are
    """
    result: list[Extent] = []
    at = 0
    for extent in current:
        position = extent.offset
        while at < len(sources) and sources[at].end <= position:
            at += 1
        look = at
        while position < extent.end:
            while look < len(sources) and sources[look].end <= position:
                look += 1
            if look == len(sources) or sources[look].offset >= extent.end:
                result.append(clip(extent, position, extent.end))
                break
            source = sources[look]
            if source.offset > position:
                result.append(clip(extent, position, source.offset))
                position = source.offset
            end = min(source.end, extent.end)
            unchanged = same_bytes(extent, source.segment, source.base, source.skip, source.offset)
            result.append(clip(replacement if unchanged else extent, position, end))
            position = end
    return join(result)


def zero_runs_removed(data: memoryview, offset: int, *, grain: int) -> list[tuple[int, int]]:
    """Runs [(skip, length), ...] of `data` that are not all zeros, cut at file offsets that are multiples of `grain`.

    `join` of all runs and the zeros between them is the data; an all-zero write has no run.
    """
    size = len(data)
    runs: list[tuple[int, int]] = []
    skip = 0
    while skip < size:
        length = min(size - skip, grain - (offset + skip) % grain)
        if data[skip] or data[skip + length - 1] or data[skip : skip + length] != ZEROS[:length]:
            if runs and sum(runs[-1]) == skip:
                runs[-1] = (runs[-1][0], runs[-1][1] + length)
            else:
                runs.append((skip, length))
        skip += length
    return runs


ZEROS = memoryview(bytes(1 << 20))  # as long as the largest write
