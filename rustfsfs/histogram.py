"""How long things took, counted in few classes of plain numbers. A leaf: no clock, no I/O."""

from bisect import bisect_left
from typing import Any

BOUNDS_S = (0.0001, 0.0005, 0.002, 0.01, 0.05, 0.25, 1.0, 10.0)  # the greatest of each class; what took longer is last


class Histogram:
    """Of one kind of thing. `counts` are not cumulated; the whole count is their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, seconds: float) -> None:
        """About 0.3 us."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {"counts": list(self.counts), "sum_s": self.sum_s}


def share_within_s(counts: list[int], share: float) -> float | None:
    """The bound below which this share of the things took; None: some of it took longer than the last, or none did."""
    wanted, seen = share * sum(counts), 0
    for bound, count in zip(BOUNDS_S, counts, strict=False):
        seen += count
        if seen >= wanted and seen:
            return bound
    return None
