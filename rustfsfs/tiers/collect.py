"""Which packs to rewrite or drop. Pure."""

from collections.abc import Iterable
from typing import NamedTuple


class PackFacts(NamedTuple):
    pack: int
    disk: int
    size_bytes: int  # of its frames
    live_bytes: int


def plan_collection(packs: Iterable[PackFacts], *, live_share: float) -> list[tuple[int, int]]:
    """(pack, disk) of packs whose live share is under `live_share`: emptiest first, since they give most for least."""
    worth = [pack for pack in packs if pack.live_bytes < live_share * pack.size_bytes or not pack.size_bytes]
    ordered = sorted(worth, key=lambda p: (p.live_bytes / max(p.size_bytes, 1), p.pack, p.disk))
    return [(pack.pack, pack.disk) for pack in ordered]
