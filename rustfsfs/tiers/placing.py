"""In which class of the bucket a pack lies: as it is uploaded, and later by age. Pure. Metadata is always Standard."""

import math
from collections.abc import Iterable

import msgspec

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers.packs import Pack, PackKey


class PlacingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    placement: Placement = Placement.STANDARD  # or IA
    ia_after_s: float = math.inf  # since the last read; inf: not by age


def placement_of(pack: Pack, policy: PlacingPolicy, *, now_s: float) -> Placement:
    """The class to upload a pack in."""
    return Placement.IA if now_s - pack.heat_s >= policy.ia_after_s else policy.placement


def plan_cooling(
    packs: Iterable[Pack], policy: PlacingPolicy, *, now_s: float, live_share: float, count_max: int
) -> list[PackKey]:
    """Packs of the bucket to change from Standard to IA, coldest first.

    live_share   of a pack at the least: what is less alive would be rewritten before IA's minimum days are over
    A pack changes once: nothing brings it back to Standard but being rewritten.
    """
    cold = [
        pack
        for pack in packs
        if pack.object is not None
        and pack.object.placement is Placement.STANDARD
        and pack.live_bytes >= max(live_share * pack.size_bytes, 1)
        and now_s - pack.heat_s >= policy.ia_after_s
    ]
    return [pack.key for pack in sorted(cold, key=lambda pack: (pack.heat_s, pack.key))[:count_max]]
