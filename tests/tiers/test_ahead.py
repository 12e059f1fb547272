"""Reading ahead: only for who reads in order, never past the end, never the same twice, never too far."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.tiers.ahead import SLACK, STEADY, WINDOW_MAX, WINDOW_MIN, Range, Reader, plan_ahead
from rustfsfs.units import KIB, MIB

SIZE = 100 * MIB


def read_in_order(start: int, step: int, count: int, size: int = SIZE) -> list[Range]:
    reader, found = None, []
    for at in range(start, start + count * step, step):
        reader, wanted = plan_ahead(reader, at, min(at + step, size), size=size)
        found += [wanted] if wanted else []
    return found


@pytest.mark.parametrize(
    ("start", "end", "size", "want"),
    [
        pytest.param(0, MIB, SIZE, Range(MIB, 3 * MIB), id="the beginning, as whoever reads all of it does"),
        pytest.param(0, 128 * KIB, SIZE, None, id="a little of the beginning"),
        pytest.param(5 * MIB, 6 * MIB, SIZE, None, id="somewhere"),
        pytest.param(0, MIB, 2 * MIB, Range(MIB, 2 * MIB), id="up to the end"),
        pytest.param(0, MIB, MIB, None, id="all of it"),
    ],
)
def test_a_first_read(start: int, end: int, size: int, want: Range | None) -> None:
    assert plan_ahead(None, start, end, size=size)[1] == want


def test_who_reads_in_order_is_believed_after_a_while_and_the_window_grows() -> None:
    found = read_in_order(10 * MIB, 128 * KIB, 200)
    assert found[0].start == 10 * MIB + 3 * 128 * KIB, "the first read is a jump; two more make STEADY"
    assert found[0].end - found[0].start == WINDOW_MIN
    assert max(wanted.end - wanted.start for wanted in found) <= WINDOW_MAX
    assert found[-1].end - (10 * MIB + 200 * 128 * KIB) > WINDOW_MAX // 2


def test_requests_that_overtake_each_other_are_still_in_order() -> None:
    reader, wanted = plan_ahead(None, 0, MIB, size=SIZE)
    reader, _wanted = plan_ahead(reader, 2 * MIB, 3 * MIB, size=SIZE)
    reader, wanted = plan_ahead(reader, MIB, 2 * MIB, size=SIZE)
    assert reader.at == 3 * MIB and reader.steady == 3 * MIB
    assert wanted is None or wanted.start >= 3 * MIB


def test_who_jumps_begins_anew() -> None:
    reader, _wanted = plan_ahead(Reader(at=50 * MIB, steady=50 * MIB, ahead=58 * MIB), 10 * MIB, 11 * MIB, size=SIZE)
    assert reader == Reader(at=11 * MIB)


def test_random_reads_ask_for_nothing() -> None:
    reader: Reader | None = None
    for number in range(1000):
        at = number * 7_654_321 % (SIZE // MIB) * MIB + MIB
        if reader is not None and abs(at - reader.at) <= SLACK:
            continue
        reader, wanted = plan_ahead(reader, at, at + 64 * KIB, size=SIZE)
        assert wanted is None


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 16)), min_size=1),
    st.integers(1, 40 * MIB),
    st.sampled_from([MIB, WINDOW_MAX]),
)
def test_what_is_asked_for_lies_ahead_and_within_the_file(
    reads: list[tuple[int, int]], size: int, window_max: int
) -> None:
    reader: Reader | None = None
    for start_in_64k, length_in_64k in reads:
        start = start_in_64k * 64 * KIB
        end = min(start + length_in_64k * 64 * KIB, size)
        if end <= start:
            continue
        before = reader
        reader, wanted = plan_ahead(reader, start, end, size=size, window_max=window_max)
        assert reader.at >= end
        if wanted is None:
            continue
        assert reader.at <= wanted.start < wanted.end <= min(reader.at + window_max, size)
        assert reader.steady >= STEADY and reader.ahead == wanted.end
        if before is not None and abs(start - before.at) <= SLACK:
            assert wanted.start >= before.ahead, "asked for already"
