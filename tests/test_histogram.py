"""Classes of durations, and what counting one costs a request."""

import pytest

from rustfsfs.histogram import BOUNDS_S, Histogram, share_within_s
from rustfsfs.volume.counters import Counters
from rustfsfs.world import elapsed_s

REQUESTS, ROUNDS = 2000, 30


def of(*seconds: float) -> Histogram:
    found = Histogram()
    for one in seconds:
        found.note(one)
    return found


@pytest.mark.parametrize(
    ("seconds", "index"),
    [
        pytest.param(0.0, 0, id="nothing"),
        pytest.param(BOUNDS_S[0], 0, id="a bound is in its class"),
        pytest.param(BOUNDS_S[0] * 1.01, 1, id="above it in the next"),
        pytest.param(BOUNDS_S[-1], len(BOUNDS_S) - 1, id="the last bound"),
        pytest.param(BOUNDS_S[-1] + 1, len(BOUNDS_S), id="longer than all"),
    ],
)
def test_each_duration_is_in_one_class(seconds: float, index: int) -> None:
    found = of(seconds)
    assert found.counts[index] == found.count == 1 and found.sum_s == seconds


@pytest.mark.parametrize(
    ("seconds", "share", "want"),
    [
        pytest.param([], 0.99, None, id="none"),
        pytest.param([0.001], 0.99, 0.002, id="one"),
        pytest.param([0.00005] * 99 + [0.2], 0.99, BOUNDS_S[0], id="99 of 100"),
        pytest.param([0.00005] * 98 + [0.2] * 2, 0.99, 0.25, id="98 of 100"),
        pytest.param([60.0], 0.99, None, id="longer than all"),
    ],
)
def test_the_share_that_took_no_longer(seconds: list[float], share: float, want: float | None) -> None:
    assert share_within_s(of(*seconds).counts, share) == want


def test_counting_a_request_takes_at_most_a_microsecond() -> None:
    """What `fuse.ops.answering` does for each request; the best of many rounds, since others use this machine."""
    counters, best_s = Counters(), 1.0
    for _ in range(ROUNDS):
        begun_s = elapsed_s()
        for _ in range(REQUESTS):
            started_s = elapsed_s()
            counters.operations["lookup"].note(elapsed_s() - started_s)
        best_s = min(best_s, (elapsed_s() - begun_s) / REQUESTS)
    assert best_s <= 1e-6
