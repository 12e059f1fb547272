"""PURE: have the key ratios become worse than the committed ones?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rustfsfs.bench.figures import Metric, Repeats, median, ratios

SHARE_MIN = 0.8  # of the committed ratio that the best of the repeats must reach
SYSTEM = "rustfsfs"


@dataclass(frozen=True, slots=True)
class Key:
    """A ratio that is watched: a metric's key, and the system it is a ratio to."""

    metric: str
    base: str = "null"

    @property
    def name(self) -> str:
        return f"{self.metric}/{self.base}"


KEYS = (
    Key("create"),
    Key("unlink"),
    Key("rename"),
    Key("read_small_cold"),
    Key("stat_cold"),
    Key("untar"),
    Key("write_together"),
    Key("read_dropped"),
    Key("random_read"),
    Key("random_write"),
    Key("fsync", "disk"),
)


def measured(metrics: Mapping[str, Metric], results: Mapping[str, Repeats]) -> dict[str, list[float]]:
    """By key's name, the ratio of each repeat; an empty list where there is none."""
    return {
        key.name: ratios(
            metrics[key.metric], results[SYSTEM].get(key.metric, []), results[key.base].get(key.metric, [])
        )
        for key in KEYS
    }


def failures(committed: Mapping[str, float], found: Mapping[str, Sequence[float]]) -> list[str]:
    """One sentence for each ratio whose best repeat is below SHARE_MIN of the committed one, or that is missing."""
    said = []
    for name, values in found.items():
        if not values:
            said.append(f"{name} was not measured: it takes root, to drop the caches")
        elif name not in committed:
            said.append(f"{name} has no committed ratio: make bench-quick UPDATE=1 writes one")
        elif max(values) < SHARE_MIN * committed[name]:
            best, least = max(values), SHARE_MIN * committed[name]
            said.append(f"{name} was {best:.2f} at best, below {least:.2f}, {SHARE_MIN:.0%} of {committed[name]:.2f}")
    return said


def to_commit(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The medians, rounded: what the next runs are held against."""
    return {name: round(median(values), 3) for name, values in found.items() if values}
