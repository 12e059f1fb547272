"""When the guard fails, and what it says."""

import json

import pytest

from rustfsfs.bench import guard
from rustfsfs.bench.__main__ import GUARDED, RATIOS
from rustfsfs.bench.workloads import chosen, metrics_of

COMMITTED = {"create/null": 1.5}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        pytest.param([1.5, 1.4, 1.6], None, id="as it was"),
        pytest.param([0.5, 1.21, 0.7], None, id="the best counts"),
        pytest.param([1.201], None, id="just above the share"),
        pytest.param([1.19, 0.9, 1.0], "create/null was 1.19 at best, below 1.20, 80% of 1.50", id="worse"),
        pytest.param([], "was not measured", id="not measured"),
    ],
)
def test_failures(values: list[float], says: str | None) -> None:
    said = guard.failures(COMMITTED, {"create/null": values})
    assert len(said) == (says is not None)
    assert all(says in sentence for sentence in said if says)


def test_a_ratio_that_nobody_committed_is_a_failure() -> None:
    (said,) = guard.failures({}, {"create/null": [1.0]})
    assert "UPDATE=1" in said


def test_what_is_committed_now_passes_now() -> None:
    found = {"create/null": [1.0, 1.2345, 1.4], "rename/null": []}
    assert guard.to_commit(found) == {"create/null": 1.234}
    assert guard.failures(guard.to_commit(found), {"create/null": found["create/null"]}) == []


def test_measured_takes_the_base_that_its_key_names() -> None:
    ours = {key.metric: [2.0, 4.0] for key in guard.KEYS}
    ones, twos = ({key.metric: [value, value] for key in guard.KEYS} for value in (1.0, 2.0))
    metrics = {metric.key: metric for metric in metrics_of(chosen([]))}
    found = guard.measured(metrics, {"rustfsfs": ours, "null": ones, "disk": twos})
    assert found["create/null"] == [2.0, 4.0]
    assert found["fsync/disk"] == [1.0, 0.5]  # lower is better


def test_every_key_is_measured_and_committed() -> None:
    """The guarded workloads yield all the keys, and the file in the package has a ratio for each."""
    yielded = {metric.key for metric in metrics_of(chosen(GUARDED))}
    assert {key.metric for key in guard.KEYS} <= yielded
    assert set(json.loads(RATIOS.read_text())) == {key.name for key in guard.KEYS}
