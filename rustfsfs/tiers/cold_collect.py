"""Which packs in the bucket to delete, and which to rewrite: only when it pays. Pure.

Deleting an object before its class's minimum days bills the rest of them, so dead bytes cost nothing more until then,
while what lives of a pack that is rewritten early is paid for twice: waiting is always cheaper. What nothing needs goes
at once; the rest is billed either way. That no retained metadata names it (I5) is for the caller to see to.
"""

import math
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers.packs import Pack, PackKey
from rustfsfs.tiers.prices import DAYS_PER_MONTH, PRICES_2025, Prices, days_left, storage_cost
from rustfsfs.units import GIB, MIB


class ColdCollectPolicy(msgspec.Struct, frozen=True, kw_only=True):
    live_share: float = 0.5  # from there on a pack is not worth the traffic, whatever it saves
    horizon_days: float = 180.0  # how long dead bytes would stay, if nothing more died: a guess, not measured
    get_bytes: int = MIB  # of live frames in a GET on the average; pessimistic, since they are scattered
    pack_bytes: int = 16 * MIB  # of a new pack, which others share
    prices: Prices = PRICES_2025


class Action(Enum):
    DELETE = "delete its object"
    REWRITE = "write what lives of it to a new pack, and delete its object"


class Collection(NamedTuple):
    pack: int
    disk: int
    action: Action
    frees_bytes: int
    gain: float  # in the currency of the prices, until the horizon
    live_share: float  # of its frames

    @property
    def key(self) -> PackKey:
        return self.pack, self.disk

    @property
    def why(self) -> str:
        """For people."""
        if self.action is Action.DELETE:
            return "nothing in it lives"
        return f"{self.live_share:.0%} of it lives, its minimum days are over, and its dead bytes cost more than moving"


def plan_cold_collection(
    packs: Iterable[Pack],
    policy: ColdCollectPolicy,
    *,
    now_s: float,
    moved_bytes_max: int,
    rewritten_to: Placement = Placement.STANDARD,
) -> list[Collection]:
    """Deletions first; then rewrites, those that gain most for each byte moved first.

    moved_bytes_max   live bytes to read and write at the most; 0: only deletions
    rewritten_to      class in which the new packs will lie
    A frozen pack without a local copy is not rewritten: its bytes cannot be read without a restore.
    """
    deletions: list[Collection] = []
    rewrites: list[tuple[float, Collection, int]] = []
    for pack in packs:
        if pack.object is None or not pack.closed:
            continue
        if not pack.live_bytes:
            gain = deletion_gain(pack, policy, now_s=now_s)
            deletions.append(Collection(pack.pack, pack.disk, Action.DELETE, pack.object.size_bytes, gain, 0.0))
        elif _may_be_rewritten(pack, policy, now_s):
            gain = rewriting_gain(pack, policy, rewritten_to=rewritten_to)
            frees_bytes = pack.object.size_bytes - pack.live_bytes
            share = pack.live_bytes / pack.size_bytes
            found = Collection(pack.pack, pack.disk, Action.REWRITE, frees_bytes, gain, share)
            rewrites += [(gain / pack.live_bytes, found, pack.live_bytes)] if gain > 0 else []
    plan = sorted(deletions, key=lambda found: found.key)
    for _worth, found, moved_bytes in sorted(rewrites, key=lambda item: (-item[0], item[1].key)):
        if moved_bytes <= moved_bytes_max:
            moved_bytes_max -= moved_bytes
            plan.append(found)
    return plan


def _may_be_rewritten(pack: Pack, policy: ColdCollectPolicy, now_s: float) -> bool:
    assert pack.object is not None
    if pack.object.placement.freezes and not pack.is_local:
        return False
    if pack.live_bytes >= policy.live_share * pack.size_bytes:
        return False
    return not days_left(now_s - pack.object.uploaded_s, policy.prices.classes[pack.object.placement])


def deletion_gain(pack: Pack, policy: ColdCollectPolicy, *, now_s: float) -> float:
    """What is not paid until the horizon if an object goes now; 0 while its minimum days reach that far."""
    assert pack.object is not None
    prices = policy.prices.classes[pack.object.placement]
    billed_days = min(days_left(now_s - pack.object.uploaded_s, prices), policy.horizon_days)
    return storage_cost(pack.object.size_bytes, policy.horizon_days - billed_days, prices)


def rewriting_gain(pack: Pack, policy: ColdCollectPolicy, *, rewritten_to: Placement) -> float:
    """What is saved until the horizon if a pack past its minimum days is rewritten now; negative: it does not pay.

    Saved is the storage of the whole object. Spent: storage of what lives, as a part of a new pack, which shares its
    minimum size and its PUT with others; reading it, if no local copy is there; the DELETE.
    """
    assert pack.object is not None
    prices = policy.prices
    old, new = prices.classes[pack.object.placement], prices.classes[rewritten_to]
    live_gib = pack.live_bytes / GIB
    stored_days = max(policy.horizon_days, new.days_min)
    spent = live_gib * new.storage_per_gb_month * stored_days / DAYS_PER_MONTH
    spent += (pack.live_bytes / policy.pack_bytes * new.put_per_10k + old.put_per_10k) / 10_000
    if not pack.is_local:
        spent += math.ceil(pack.live_bytes / policy.get_bytes) * old.get_per_10k / 10_000
        spent += live_gib * (old.retrieval_per_gb + prices.egress_per_gb)
    return storage_cost(pack.object.size_bytes, policy.horizon_days, old) - spent
