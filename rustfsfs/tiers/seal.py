"""What to cut: from the extents of a file to the ranges that become chunks (DESIGN.md §3, Sealing). Pure."""

from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from rustfsfs.content.ranges import Extent, between

OVERLAYS_MAX = 8  # in one chunk; then it is cut anew
DIRTY_SHARE = 4  # a dirty run of a quarter of its chunk is worth a new cut


class Cut(NamedTuple):
    """A mapped range without holes, to be cut as one. `overlay`: it stays a patch in an older chunk for now."""

    start: int
    end: int
    overlay: bool


def plan_cuts(
    extents: Sequence[Extent], chunk_sizes: Mapping[int, int], *, chunk_avg: int, away: Container[int] = ()
) -> list[Cut]:
    """Ranges to cut so that nothing hot is left among `extents` (sorted, a stretch of one file).

    chunk_sizes   plain bytes of every chunk the extents name
    away          those of them that are on no disk here: never taken along, for sealing waits for no network

    A hot run that fills at least a quarter of the chunk it lies in, or the eighth patch in one chunk, takes the whole
    chunk along; a smaller one is cut alone, as an overlay. A short run behind short extents takes them along when
    there are eight, so that a log written line by line does not stay in crumbs.
    """
    wanted: list[Cut] = []
    for first, last in _hot_runs(extents):
        if not wanted or extents[last].end > wanted[-1].end:  # else that chunk is cut anew already
            cut = _plan_run(extents, first, last, chunk_sizes, chunk_avg)
            if any(_is_away(e, away) for e in between(extents, cut.start, cut.end)):
                cut = Cut(extents[first].offset, extents[last].end, overlay=True)
            wanted.append(cut)
    return _without_holes(_merged(wanted), extents)


def plan_recut(
    extents: Sequence[Extent],
    chunk_sizes: Mapping[int, int],
    *,
    chunk_avg: int,
    away: Container[int] = (),
) -> list[Cut]:
    """Ranges where two or more patches or crumbs touch each other: cut anew once the file is quiet.

    away   as for `plan_cuts`
    """
    groups: list[list[Extent]] = []
    for extent in extents:
        if _is_away(extent, away) or not _is_imperfect(extent, chunk_sizes, chunk_avg):
            continue
        if groups and groups[-1][-1].end == extent.offset:
            groups[-1].append(extent)
        else:
            groups.append([extent])
    return [Cut(group[0].offset, group[-1].end, overlay=False) for group in groups if len(group) > 1]


def _is_away(extent: Extent, away: Container[int]) -> bool:
    return not extent.segment and extent.base in away


def _is_imperfect(extent: Extent, chunk_sizes: Mapping[int, int], chunk_avg: int) -> bool:
    return bool(extent.segment) or extent.length < chunk_avg // 4 or extent.length < chunk_sizes[extent.base]


def _hot_runs(extents: Sequence[Extent]) -> list[tuple[int, int]]:
    """Index ranges [first, last] of touching hot extents."""
    runs: list[tuple[int, int]] = []
    for index, extent in enumerate(extents):
        if not extent.segment:
            continue
        if runs and runs[-1][1] == index - 1 and extents[index - 1].end == extent.offset:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


def _plan_run(extents: Sequence[Extent], first: int, last: int, chunk_sizes: Mapping[int, int], chunk_avg: int) -> Cut:
    start, end = extents[first].offset, extents[last].end
    left = extents[first - 1] if first and extents[first - 1].end == start else None
    right = extents[last + 1] if last + 1 < len(extents) and extents[last + 1].offset == end else None
    spans = [_span(side, chunk_sizes) for side in (left, right) if side is not None]
    inside = [span for span in spans if span[0] < end and span[1] > start]  # chunks the run was written into
    if inside:
        low, high = min(span[0] for span in inside), max(span[1] for span in inside)
        patches = [e for e in between(extents, low, high) if _span(e, chunk_sizes) not in inside]
        if sum(e.length for e in patches) * DIRTY_SHARE >= high - low or len(patches) >= OVERLAYS_MAX:
            return Cut(max(min(start, low), extents[0].offset), min(max(end, high), extents[-1].end), overlay=False)
        return Cut(start, end, overlay=True)
    return _plan_append(extents, first, start, end, chunk_avg)


def _plan_append(extents: Sequence[Extent], first: int, start: int, end: int, chunk_avg: int) -> Cut:
    """A run in no older chunk: take the crumbs before it along when the run is long, or the crumbs are many."""
    crumbs, low = 0, start
    for extent in reversed(extents[:first]):
        if extent.end != low or extent.length >= chunk_avg // 4:
            break
        crumbs, low = crumbs + 1, extent.offset
    if crumbs and (end - start >= chunk_avg // 4 or crumbs + 1 >= OVERLAYS_MAX):
        return Cut(low, end, overlay=False)
    return Cut(start, end, overlay=bool(crumbs))


def _span(extent: Extent, chunk_sizes: Mapping[int, int]) -> tuple[int, int]:
    """Where the whole chunk of an extent would lie in the file; a hot extent is only itself."""
    if extent.segment:
        return extent.offset, extent.end
    begin = extent.offset - extent.skip
    return begin, begin + chunk_sizes[extent.base]


def _merged(cuts: Sequence[Cut]) -> list[Cut]:
    merged: list[Cut] = []
    for cut in sorted(cuts):
        if merged and cut.start < merged[-1].end:
            before = merged[-1]
            merged[-1] = Cut(before.start, max(before.end, cut.end), before.overlay and cut.overlay)
        else:
            merged.append(cut)
    return merged


def _without_holes(cuts: Sequence[Cut], extents: Sequence[Extent]) -> list[Cut]:
    """Each cut, as its mapped parts."""
    parts: list[Cut] = []
    for cut in cuts:
        at = -1
        for extent in between(extents, cut.start, cut.end):
            low, high = max(extent.offset, cut.start), min(extent.end, cut.end)
            if low == at:
                parts[-1] = parts[-1]._replace(end=high)
            else:
                parts.append(Cut(low, high, cut.overlay))
            at = high
    return parts
