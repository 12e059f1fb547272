"""Small policies: where a frame goes, which packs are rewritten, how long a writer waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.tiers.backpressure import WAIT_S_MAX, write_delay_s
from rustfsfs.tiers.collect import PackFacts, plan_collection
from rustfsfs.tiers.pace import EPOCH_PAGES, EPOCH_ROWS_MAX, EPOCH_ROWS_MIN, epoch_rows
from rustfsfs.tiers.place import choose_disks
from rustfsfs.units import MIB


@pytest.mark.parametrize(
    ("free", "copies", "current", "want"),
    [
        pytest.param({1: 100}, 1, frozenset(), (1,), id="the only disk"),
        pytest.param({1: 100, 2: 200}, 1, frozenset(), (2,), id="the emptiest"),
        pytest.param({1: 100, 2: 200}, 1, frozenset({1}), (1,), id="an open pack goes on"),
        pytest.param({1: 100, 2: 200, 3: 50}, 2, frozenset(), (2, 1), id="two copies, two disks"),
        pytest.param({1: 9}, 1, frozenset({1}), (), id="no room"),
        pytest.param({}, 1, frozenset(), (), id="no disk"),
    ],
)
def test_choose_disks(free: dict[int, int], copies: int, current: frozenset[int], want: tuple[int, ...]) -> None:
    assert choose_disks(free, copies=copies, need_bytes=10, current=current) == want


@pytest.mark.parametrize(
    ("packs", "share", "want"),
    [
        pytest.param([PackFacts(1, 1, 100, 100)], 0.5, [], id="full of life"),
        pytest.param([PackFacts(1, 1, 100, 50)], 0.5, [], id="just enough"),
        pytest.param([PackFacts(1, 1, 100, 49)], 0.5, [(1, 1)], id="just too little"),
        pytest.param([PackFacts(1, 1, 0, 0)], 0.5, [(1, 1)], id="nothing in it"),
        pytest.param([PackFacts(1, 1, 100, 40), PackFacts(2, 1, 100, 0)], 0.5, [(2, 1), (1, 1)], id="emptiest first"),
    ],
)
def test_plan_collection(packs: list[PackFacts], share: float, want: list[tuple[int, int]]) -> None:
    assert plan_collection(packs, live_share=share) == want


@given(st.integers(0, 2000), st.integers(0, MIB))
def test_no_wait_below_60_percent_and_never_more_than_a_second(used: int, size: int) -> None:
    delay = write_delay_s(journal_bytes=used, limit_bytes=1000, size_bytes=size)
    assert 0 <= delay <= WAIT_S_MAX
    assert (delay > 0) == (used > 600)


@given(st.integers(601, 999), st.integers(1, MIB))
def test_the_fuller_the_journal_the_longer_the_wait(used: int, size: int) -> None:
    less = write_delay_s(journal_bytes=used, limit_bytes=1000, size_bytes=size)
    assert less < write_delay_s(journal_bytes=used + 1, limit_bytes=1000, size_bytes=size)


@pytest.mark.parametrize(
    ("before", "rows", "pages", "want"),
    [
        pytest.param(1000, 1000, EPOCH_PAGES, 1000, id="as many pages as there should be"),
        pytest.param(1000, 1000, 5 * EPOCH_PAGES, EPOCH_ROWS_MIN, id="never too few rows"),
        pytest.param(1000, 1000, 1, EPOCH_ROWS_MAX, id="never too many"),
        pytest.param(1000, 1000, 2 * EPOCH_PAGES, 500, id="two pages each"),
        pytest.param(700, 10, 20, 700, id="an idle epoch says nothing"),
    ],
)
def test_epoch_rows(before: int, rows: int, pages: int, want: int) -> None:
    assert epoch_rows(before, rows=rows, pages=pages) == want
