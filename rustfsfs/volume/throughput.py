"""How many bytes a second went by lately."""

from collections import deque
from dataclasses import dataclass, field

SLOT_S, SLOTS = 5.0, 12  # of the last minute: a pack of 16 MiB is counted at its end, and should not look like a burst


@dataclass(slots=True)
class Throughput:
    """Times are trio's clock."""

    _sums: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SLOTS))  # (slot no., bytes), newest last

    def add(self, size_bytes: int, *, now_s: float) -> None:
        slot_no, before = int(now_s // SLOT_S), 0
        if self._sums and self._sums[-1][0] == slot_no:
            before = self._sums.pop()[1]
        self._sums.append((slot_no, before + size_bytes))

    def bytes_s(self, *, now_s: float) -> float:
        """The mean of the last minute, or since it began, if that was in it; 0 when nothing went by."""
        oldest_no = int(now_s // SLOT_S) - SLOTS + 1
        recent = [one for one in self._sums if one[0] >= oldest_no]
        if not recent:
            return 0.0
        return sum(size for _no, size in recent) / max(SLOT_S, now_s - recent[0][0] * SLOT_S)
