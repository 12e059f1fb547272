"""How long a writer waits when the journal fills (DESIGN.md §2, Backpressure)."""

from rustfsfs.units import MIB

SLOW_FROM = 0.60  # share of the journal's limit
FULL = 1.0
WAIT_S_MAX = 1.0  # of one wait
WAIT_S_PER_MIB = 0.1  # at the limit: 10 MB/s for one writer, well under what the sealer drains


def share(journal_bytes: int, limit_bytes: int) -> float:
    return journal_bytes / limit_bytes


def write_delay_s(*, journal_bytes: int, limit_bytes: int, size_bytes: int) -> float:
    """How long a write of `size_bytes` is held back: nothing below 60 %, more with the square of what is above.

    Small at first, so that writers settle where the sealer keeps up instead of swinging.
    """
    above = (share(journal_bytes, limit_bytes) - SLOW_FROM) / (FULL - SLOW_FROM)
    if above <= 0:
        return 0.0
    return float(min(WAIT_S_MAX, min(above, 1.0) ** 2 * WAIT_S_PER_MIB * max(size_bytes, 4096) / MIB))
