"""What to cut: tables for the known shapes, properties for all."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.content.ranges import Extent, between
from rustfsfs.tiers.seal import Cut, plan_cuts, plan_recut

AVG = 256  # a toy chunk, so that tables can be read
COLD = 99  # a chunk in the bucket only


def hot(offset: int, length: int) -> Extent:
    return Extent(offset, length, 7, 5000 + offset, 0, length)


def sealed(offset: int, length: int, chunk: int, skip: int = 0) -> Extent:
    return Extent(offset, length, 0, chunk, skip, 0)


@pytest.mark.parametrize(
    ("extents", "sizes", "want"),
    [
        pytest.param([], {}, [], id="nothing"),
        pytest.param([hot(0, 10)], {}, [Cut(0, 10, False)], id="a small file"),
        pytest.param([hot(0, 300), hot(300, 300)], {}, [Cut(0, 600, False)], id="touching writes are one range"),
        pytest.param([hot(0, 100), hot(200, 100)], {}, [Cut(0, 100, False), Cut(200, 300, False)], id="a hole parts"),
        pytest.param([sealed(0, 256, 1), hot(256, 20)], {1: 256}, [Cut(256, 276, False)], id="an append"),
        pytest.param(
            [sealed(0, 100, 1), hot(100, 8), sealed(108, 148, 1, 108)],
            {1: 256},
            [Cut(100, 108, True)],
            id="a small patch is an overlay",
        ),
        pytest.param(
            [sealed(0, 100, 1), hot(100, 64), sealed(164, 92, 1, 164)],
            {1: 256},
            [Cut(0, 256, False)],
            id="a quarter of the chunk takes the chunk along",
        ),
        pytest.param(
            [sealed(0, 256, 1), sealed(256, 10, 2), hot(266, 90)],
            {1: 256, 2: 10},
            [Cut(256, 356, False)],
            id="a long run takes the crumb before it along",
        ),
        pytest.param(
            [sealed(0, 256, 1), sealed(256, 10, 2), hot(266, 9)],
            {1: 256, 2: 10},
            [Cut(266, 275, True)],
            id="a short run behind a crumb is an overlay",
        ),
        pytest.param(
            [sealed(0, 100, COLD), hot(100, 64), sealed(164, 92, COLD, 164)],
            {COLD: 256},
            [Cut(100, 164, True)],
            id="a quarter of a cold chunk is an overlay",
        ),
        pytest.param(
            [sealed(0, 10, COLD), sealed(10, 10, 2), hot(20, 90)],
            {COLD: 10, 2: 10},
            [Cut(20, 110, True)],
            id="a long run leaves crumbs alone where one is cold",
        ),
    ],
)
def test_plan_cuts(extents: list[Extent], sizes: dict[int, int], want: list[Cut]) -> None:
    assert plan_cuts(extents, sizes, chunk_avg=AVG, away={COLD}) == want


def test_the_eighth_patch_takes_the_chunk_along() -> None:
    extents, at = [], 0
    for number in range(8):
        extents += [sealed(at, 30, 1, at), hot(at + 30, 1) if number == 7 else sealed(at + 30, 1, 10 + number)]
        at += 31
    extents.append(sealed(at, 256 - at, 1, at))
    sizes = {1: 256} | {10 + number: 1 for number in range(8)}
    assert plan_cuts(extents, sizes, chunk_avg=AVG) == [Cut(0, 256, False)]


def test_eight_crumbs_of_a_log_become_one_range() -> None:
    extents = [sealed(number * 10, 10, 1 + number) for number in range(7)] + [hot(70, 10)]
    assert plan_cuts(extents, {1 + n: 10 for n in range(7)}, chunk_avg=AVG) == [Cut(0, 80, False)]


def test_recut_joins_what_touches_and_leaves_whole_chunks_alone() -> None:
    extents = [sealed(0, 256, 1), sealed(256, 100, 2), sealed(356, 8, 3), sealed(364, 92, 2, 108), sealed(456, 256, 4)]
    assert plan_recut(extents, {1: 256, 2: 200, 3: 8, 4: 256}, chunk_avg=AVG) == [Cut(256, 456, False)]


@st.composite
def stretches(draw: st.DrawFn) -> tuple[list[Extent], dict[int, int]]:
    extents: list[Extent] = []
    sizes: dict[int, int] = {}
    at = 0
    for number in range(draw(st.integers(0, 12))):
        at += draw(st.sampled_from([0, 0, 0, 5]))
        length = draw(st.integers(1, 300))
        if draw(st.booleans()):
            extents.append(hot(at, length))
        else:
            skip, rest = draw(st.integers(0, 50)), draw(st.integers(0, 50))
            sizes[number] = skip + length + rest
            extents.append(sealed(at, length, number, skip))
        at += length
    return extents, sizes


@given(stretches(), st.sets(st.integers(0, 12)))
def test_every_hot_byte_is_in_one_cut_no_cut_has_a_hole_or_anything_away(
    drawn: tuple[list[Extent], dict[int, int]], away: set[int]
) -> None:
    extents, sizes = drawn
    cuts = plan_cuts(extents, sizes, chunk_avg=AVG, away=away)
    assert cuts == sorted(cuts)
    assert all(left.end <= right.start for left, right in itertools.pairwise(cuts))
    mapped = {at for extent in extents for at in range(extent.offset, extent.end)}
    covered = {at for cut in cuts for at in range(cut.start, cut.end)}
    assert covered <= mapped
    assert {at for e in extents if e.segment for at in range(e.offset, e.end)} <= covered
    assert covered.isdisjoint(at for e in extents if not e.segment and e.base in away for at in range(e.offset, e.end))


@given(stretches(), st.sets(st.integers(0, 12)))
def test_recut_takes_nothing_away_along(drawn: tuple[list[Extent], dict[int, int]], away: set[int]) -> None:
    extents, sizes = drawn
    free = plan_recut(extents, sizes, chunk_avg=AVG)
    assert plan_recut(extents, sizes, chunk_avg=AVG, away=set()) == free
    for cut in plan_recut(extents, sizes, chunk_avg=AVG, away=away):
        taken = list(between(extents, cut.start, cut.end))
        assert len(taken) > 1
        assert not any(not e.segment and e.base in away for e in taken)
        assert any(one.start <= cut.start and cut.end <= one.end for one in free)


@given(stretches(), st.integers(0, 1000), st.integers(1, 500))
def test_between_finds_what_has_a_byte_in_the_range(
    drawn: tuple[list[Extent], dict[int, int]], start: int, length: int
) -> None:
    extents, end = drawn[0], start + length
    assert list(between(extents, start, end)) == [e for e in extents if e.offset < end and e.end > start]
