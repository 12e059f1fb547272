"""PURE: what a figure is, and what is made of several: medians, spreads, ratios."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

Measured = Iterable[tuple[str, float]]  # a metric's key and its value, as a workload yields them
Repeats = dict[str, list[float]]  # metric's key -> one value a repeat, in order


class Better(Enum):
    """Which way a figure gets better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. `key` names it in JSON and in the guard's ratios, and is never changed."""

    key: str
    title: str
    unit: str
    better: Better = Better.HIGHER


def median(values: Sequence[float]) -> float:
    assert values
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed: `percentile(range(1, 101), 0.99) == 99`."""
    assert values and 0 < share <= 1
    return sorted(values)[math.ceil(share * len(values)) - 1]


def spread(values: Sequence[float]) -> float:
    """How far the repeats lie apart, as a share of their median: 0 for a single one."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def ratio(metric: Metric, value: float, base: float) -> float | None:
    """How many times as good as `base`: above 1 is better, whichever way figures get better. None: there is none."""
    above, below = (value, base) if metric.better is Better.HIGHER else (base, value)
    return above / below if below > 0 else None


def ratios(metric: Metric, values: Sequence[float], bases: Sequence[float]) -> list[float]:
    """Repeat by repeat: what was measured in turn is compared, so that a slow minute of the machine hits both."""
    found = (ratio(metric, value, base) for value, base in zip(values, bases, strict=False))
    return [each for each in found if each is not None]


def median_ratio(metric: Metric, values: Sequence[float], bases: Sequence[float]) -> float | None:
    found = ratios(metric, values, bases)
    return median(found) if found else None


def noise(results: Mapping[str, Repeats]) -> float | None:
    """The median of all spreads of all systems; None if nothing was repeated."""
    found = [spread(values) for repeats in results.values() for values in repeats.values() if len(values) > 1]
    return median(found) if found else None
