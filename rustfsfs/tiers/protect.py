"""Which packs to upload now, and which open ones to close for it. Pure.

Sealed packs go to the bucket within `protect.within`, oldest first; what a demotion waits for goes before them.
"""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

import msgspec

from rustfsfs.tiers import twice
from rustfsfs.tiers.packs import Pack, PackKey


class ProtectPolicy(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = True  # off: only what is demoted is uploaded
    within_s: float = 900.0  # an open pack whose first frame is older is closed, and then uploaded


class UploadPlan(NamedTuple):
    upload: tuple[PackKey, ...]  # in this order
    close: tuple[PackKey, ...]  # oldest first
    rewrite: tuple[PackKey, ...]  # they have holes: what lives of them has to go to a new pack first
    backlog_bytes: int  # of all that is to be uploaded, whether there is room for it now or not
    backlog_since_s: float | None  # since when the oldest of it waits; None: there is none


def plan_uploads(
    packs: Iterable[Pack],
    policy: ProtectPolicy,
    *,
    now_s: float,
    room_bytes: int,
    first: Sequence[PackKey] = (),
    under_way: Container[PackKey] = frozenset(),
) -> UploadPlan:
    """What to do now.

    room_bytes   how many bytes more may be in flight; whoever is next in order waits for room, nobody overtakes
    first        what `plan_demotion` wants uploaded; of packs with the same chunks, one of them
    under_way    packs that are being uploaded now
    """
    waiting, close, rewrite = _sorted_out(packs, policy, now_s, under_way, {key: at for at, key in enumerate(first)})
    upload: list[PackKey] = []
    for pack in waiting:
        if pack.size_bytes > room_bytes:
            break
        room_bytes -= pack.size_bytes
        upload.append(pack.key)
    return UploadPlan(
        tuple(upload),
        tuple(pack.key for pack in close),
        tuple(pack.key for pack in rewrite),
        sum(pack.size_bytes for pack in waiting),
        min((pack.sealed_s for pack in waiting), default=None),
    )


def _sorted_out(
    packs: Iterable[Pack],
    policy: ProtectPolicy,
    now_s: float,
    under_way: Container[PackKey],
    ranks: dict[PackKey, int],
) -> tuple[list[Pack], list[Pack], list[Pack]]:
    """(to upload, to close, to rewrite); each in its order."""
    waiting: list[Pack] = []
    close: list[Pack] = []
    rewrite: list[Pack] = []
    for pack in packs:
        if not pack.is_local or pack.object is not None or not pack.live_bytes or pack.key in under_way:
            continue
        if not pack.closed:
            if policy.enabled and abs(now_s - pack.sealed_s) >= policy.within_s:  # the clock may have been set back
                close.append(pack)
        elif pack.has_holes:
            if policy.enabled and not pack.is_elsewhere:
                rewrite.append(pack)
        elif not pack.is_elsewhere and (policy.enabled or pack.key in ranks):
            waiting.append(pack)
    last = len(ranks)
    waiting.sort(key=lambda pack: (ranks.get(pack.key, last), pack.sealed_s, pack.key))
    for group in (close, rewrite):
        group.sort(key=lambda pack: (pack.sealed_s, pack.key))
    return twice.needed(waiting), close, rewrite
