"""Which packs come back from the bucket whole: pinned ones, and those that turned busy. Pure.

Nothing flaps: a busy pack comes back only where it fits below the low watermark, is busy enough to be left alone by
`plan_demotion` for a while, and is not so old that its age would send it away again.
"""

from collections.abc import Container, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from rustfsfs.tiers import busy
from rustfsfs.tiers.busy import BUSY, BusyPolicy
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.packs import Disk, Pack, PackKey


class Reason(Enum):
    """Why, for people."""

    PINNED = "a pinned tree needs it"
    BUSY = "as much was read from the bucket of late as it holds"


class Recall(NamedTuple):
    pack: int
    disk: int
    reason: Reason
    size_bytes: int

    @property
    def key(self) -> PackKey:
        return self.pack, self.disk


def plan_recall(
    packs: Iterable[Pack],
    disks: Sequence[Disk],
    policy: DemotePolicy,
    *,
    now_s: float,
    room_bytes: int,
    busy_policy: BusyPolicy = BUSY,
    under_way: Container[PackKey] = frozenset(),
) -> list[Recall]:
    """Pinned packs first, up to the high watermark of their disk; then the busiest, up to the low one.

    room_bytes   how many bytes more may be in flight
    under_way    packs that are coming back now; `Disk.growing_bytes` has their bytes
    What lives of a pack whose disk is not among them goes to the one with most room.
    """
    wanted: list[tuple[float, Pack, Reason]] = []
    for pack in packs:
        if pack.is_local or pack.is_away or pack.object is None or not pack.live_bytes or pack.key in under_way:
            continue
        share = busy.share(pack, now_s=now_s, policy=busy_policy)
        if pack.is_pinned:
            wanted.append((share, pack, Reason.PINNED))
        elif share >= busy_policy.recall_share and now_s - pack.heat_s < policy.after_s:
            wanted.append((share, pack, Reason.BUSY))
    wanted.sort(key=lambda item: (item[2] is Reason.BUSY, -item[0], item[1].key))
    return _fitting(wanted, {disk.disk: disk for disk in disks}, policy, room_bytes)


def _fitting(
    wanted: Iterable[tuple[float, Pack, Reason]], disks: dict[int, Disk], policy: DemotePolicy, room_bytes: int
) -> list[Recall]:
    plan: list[Recall] = []
    for _share, pack, reason in wanted:
        mark = policy.high if reason is Reason.PINNED else policy.low
        home = disks.get(pack.disk)
        disk = home or min(disks.values(), key=lambda one: one.above_bytes(mark), default=None)
        assert pack.object is not None
        size_bytes = pack.object.size_bytes if home is not None else pack.live_bytes
        if disk is None or size_bytes > room_bytes or disk.above_bytes(mark) + size_bytes > 0:
            continue
        room_bytes -= size_bytes
        disks[disk.disk] = disk._replace(growing_bytes=disk.growing_bytes + size_bytes)
        plan.append(Recall(pack.pack, pack.disk, reason, size_bytes))
    return plan
