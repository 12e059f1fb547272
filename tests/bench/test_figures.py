"""Medians, spreads and ratios."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bench.figures import Better, Metric, median_ratio, noise, percentile, ratio, ratios, spread

SPEED = Metric("speed", "a speed", "MB/s")
TIME = Metric("time", "a time", "ms", Better.LOWER)
positive = st.floats(min_value=1e-6, max_value=1e9)


@pytest.mark.parametrize(
    ("share", "want"),
    [
        pytest.param(0.99, 99, id="the 99th of 100"),
        pytest.param(0.5, 50, id="the lower middle"),
        pytest.param(1.0, 100, id="the greatest"),
        pytest.param(0.001, 1, id="the least"),
    ],
)
def test_percentile(share: float, want: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == want


@given(values=st.lists(positive, min_size=1), share=st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        pytest.param([5.0], 0, id="a single one"),
        pytest.param([10.0, 8.0, 12.0], 0.4, id="four tenths"),
        pytest.param([0.0, 0.0], 0, id="nothing"),
    ],
)
def test_spread(values: list[float], want: float) -> None:
    assert spread(values) == pytest.approx(want)


@given(value=positive, base=positive)
def test_twice_as_good_is_two_whichever_way_is_better(value: float, base: float) -> None:
    up, down = ratio(SPEED, value, base), ratio(TIME, value, base)
    assert up is not None and down is not None
    assert up * down == pytest.approx(1)
    assert (up > 1) == (value > base)


def test_a_ratio_to_nothing_is_none() -> None:
    assert ratio(SPEED, 1.0, 0.0) is None and ratio(TIME, 0.0, 1.0) is None


def test_ratios_compare_what_was_measured_in_turn() -> None:
    """The machine was twice as slow in the second repeat, for both: the ratio is the same."""
    assert ratios(SPEED, [100.0, 50.0, 100.0], [200.0, 100.0]) == [0.5, 0.5]
    assert median_ratio(SPEED, [100.0, 50.0], [200.0, 100.0]) == 0.5
    assert median_ratio(SPEED, [], [1.0]) is None


def test_noise_is_the_median_of_what_was_repeated() -> None:
    assert noise({"a": {"speed": [9.0, 10.0, 11.0], "once": [1.0]}, "b": {"speed": [5.0, 10.0, 15.0]}}) == 0.6
    assert noise({"a": {"speed": [1.0]}}) is None
