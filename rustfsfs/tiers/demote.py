"""Which local copies to drop, and what to upload so that it can be dropped. Pure; `tiers.protect` orders the uploads.

One round: what can be dropped is dropped, what has no copy in the bucket is uploaded. The next round drops that, if it
is still needed. After two rounds nothing is left to do, after a few if packs with holes have to be rewritten first.
"""

import math
from collections.abc import Container, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from rustfsfs.tiers import busy
from rustfsfs.tiers.busy import BUSY, BusyPolicy
from rustfsfs.tiers.packs import Disk, Pack, PackKey


class DemotePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """low < high: `config` refuses anything else."""

    after_s: float = math.inf  # since the last read; inf: not by age
    high: float = 0.9  # share of a disk's space in use, above which local copies are dropped
    low: float = 0.8  # down to this one


class Action(Enum):
    DROP = "drop its local copy"
    UPLOAD = "upload it"
    REWRITE = "write what lives of it to a new pack: it has holes, and is not uploaded as it is"


class Reason(Enum):
    """Why, for people."""

    ASKED = "it was asked for"
    AGE = "it was not read for as long as demote.after says"
    FULL = "its disk is above demote.high, and goes down to demote.low, coldest first"
    FILLING = "its disk is above demote.low, and this is among the coldest: then it can go at once when it has to"


class Kept(Enum):
    """Why a pack's local copy stays whatever the disk says, for people."""

    ABSENT = "it has no local copy"
    OPEN = "it still takes frames"
    PINNED = "a pinned tree needs it"
    BUSY = "it was read from the bucket much of late"
    DEAD = "nothing in it lives: the collector removes it"
    FROZEN = "its copy in the bucket is frozen, and could not be read at once"
    UNPROVED = "its copy in the bucket is shorter than it is"


class Demotion(NamedTuple):
    pack: int
    disk: int
    action: Action
    reason: Reason
    frees_bytes: int  # at the least; once it is dropped

    @property
    def key(self) -> PackKey:
        return self.pack, self.disk


def kept(pack: Pack, *, now_s: float, busy_policy: BusyPolicy, is_asked: bool = False) -> Kept | None:
    """Why this pack is not demoted, or None. Who asks for a demotion gets it for busy packs too."""
    if not pack.is_local:
        return Kept.ABSENT
    if not pack.closed:
        return Kept.OPEN
    if pack.is_pinned:
        return Kept.PINNED
    if not pack.live_bytes:
        return Kept.DEAD
    if pack.object is not None and not pack.is_proved:
        return Kept.UNPROVED
    if pack.object is not None and pack.object.placement.freezes:
        return Kept.FROZEN
    if not is_asked and busy.share(pack, now_s=now_s, policy=busy_policy) >= busy_policy.keep_share:
        return Kept.BUSY
    return None


def plan_demotion(
    packs: Iterable[Pack],
    disks: Sequence[Disk],
    policy: DemotePolicy,
    *,
    now_s: float,
    busy_policy: BusyPolicy = BUSY,
    asked: Container[PackKey] = frozenset(),
) -> list[Demotion]:
    """Steps for each disk, coldest pack first; packs of other disks (missing ones) are left alone.

    packs   all of them, or the coldest of each disk: then the plan is the beginning of the whole one (200 000 packs
            take a second, which is for a worker thread)
    asked   packs to demote whatever their age
    Keeps: only closed packs with a proved copy in the bucket are dropped (I7), and none that is pinned. A disk above
    `policy.high` is at or below `policy.low` afterwards, or all its packs that can be dropped now are.
    """
    assert policy.low < policy.high, policy
    candidates: dict[int, list[Pack]] = {disk.disk: [] for disk in disks}
    for pack in packs:
        if (
            pack.disk in candidates
            and kept(pack, now_s=now_s, busy_policy=busy_policy, is_asked=pack.key in asked) is None
        ):
            candidates[pack.disk].append(pack)
    plan: list[Demotion] = []
    for disk in disks:
        coldest_first = sorted(candidates[disk.disk], key=lambda pack: (pack.heat_s, pack.pack))
        plan += _plan_disk(coldest_first, disk, policy, now_s, asked)
    return plan


def _plan_disk(
    coldest_first: Sequence[Pack], disk: Disk, policy: DemotePolicy, now_s: float, asked: Container[PackKey]
) -> list[Demotion]:
    """Uploads among the coldest packs that make up what is too much; drops, wherever they are, until it is gone."""
    too_much_bytes = disk.above_bytes(policy.low)
    is_full = disk.above_bytes(policy.high) > 0
    plan: list[Demotion] = []
    planned_bytes = dropped_bytes = 0  # planned: the coldest, dropped or not; they are what should go
    for pack in coldest_first:
        reason = _due(pack, policy, now_s, asked)
        if pack.is_proved and (reason is not None or (is_full and dropped_bytes < too_much_bytes)):
            plan.append(_step(pack, Action.DROP, reason or Reason.FULL))
            dropped_bytes += pack.freed_bytes
        elif not pack.is_proved and (reason is not None or planned_bytes < too_much_bytes):
            action = Action.REWRITE if pack.has_holes else Action.UPLOAD
            plan.append(_step(pack, action, reason or (Reason.FULL if is_full else Reason.FILLING)))
        planned_bytes += pack.freed_bytes
    return plan


def _due(pack: Pack, policy: DemotePolicy, now_s: float, asked: Container[PackKey]) -> Reason | None:
    if pack.key in asked:
        return Reason.ASKED
    return Reason.AGE if now_s - pack.heat_s >= policy.after_s else None


def _step(pack: Pack, action: Action, reason: Reason) -> Demotion:
    return Demotion(pack.pack, pack.disk, action, reason, pack.freed_bytes)
