"""When a cold pack is busy: bytes read from the bucket against what bringing it back costs. Pure.

A pack comes back once as many bytes were read from the bucket as it has: who then stops reading has cost at most twice
what could not be helped. It counts as busy until that has faded to a quarter, so that what came back stays a while.
"""

import math

import msgspec

from rustfsfs.tiers.packs import Busy, Pack


class BusyPolicy(msgspec.Struct, frozen=True, kw_only=True):
    window_s: float = 3600.0  # a count fades to 37 % in this time
    recall_share: float = 1.0  # of a pack's size, read within the window: it comes back
    keep_share: float = 0.25  # at least that: it is not demoted


BUSY = BusyPolicy()


def noted(busy: Busy | None, size_bytes: int, *, now_s: float, policy: BusyPolicy) -> Busy:
    """The count after `size_bytes` more were read from the bucket."""
    return Busy(faded_bytes(busy, now_s=now_s, policy=policy) + size_bytes, max(now_s, busy.at_s if busy else now_s))


def faded_bytes(busy: Busy | None, *, now_s: float, policy: BusyPolicy) -> float:
    """What is left of the count. A clock that went back fades nothing."""
    if busy is None:
        return 0.0
    return busy.bytes * math.exp(min(0.0, (busy.at_s - now_s) / policy.window_s))


def share(pack: Pack, *, now_s: float, policy: BusyPolicy) -> float:
    """Bytes read of late, of a pack's size."""
    return faded_bytes(pack.busy, now_s=now_s, policy=policy) / max(pack.size_bytes, 1)
