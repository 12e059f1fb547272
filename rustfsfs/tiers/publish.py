"""How long after one copy of the metadata the bucket gets the next."""

SOON_S = 60.0
SHARE = 20  # a steady mover makes copies for a twentieth of the time at most: a large database takes minutes


def pause_s(*, interval_s: float, went_cold: bool, took_s: float) -> float:
    """Between two copies, if anything changed.

    interval_s   as the settings say; never longer
    went_cold    packs have no local copy any more, and the newest copy does not know it, or not their names
    took_s       the newest copy took so long; 0: not known
    """
    return min(interval_s, max(SOON_S, took_s * SHARE)) if went_cold else interval_s
