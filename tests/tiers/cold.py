"""Packs and disks drawn for the policies of the cold tier, and what carrying out a plan does to them."""

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers import demote
from rustfsfs.tiers.packs import BucketObject, Busy, Disk, Pack
from rustfsfs.units import MIB

NOW_S = 1_700_000_000.0
HOUR_S, DAY_S = 3600.0, 86400.0
OVERHEAD = 1000  # header and directory of a pack


def pack(number: int, *, disk: int = 1, size_bytes: int = 16 * MIB, **facts: Any) -> Pack:
    """A closed local pack that nothing protects yet, a day old and all alive; `facts` say what is different."""
    facts = {
        "live_bytes": size_bytes,
        "closed": True,
        "is_local": True,
        "object": None,
        "has_holes": False,
        "sealed_s": NOW_S - DAY_S,
    } | facts
    return Pack(pack=number, disk=disk, size_bytes=size_bytes, **facts)


def stored(
    size_bytes: int = 16 * MIB, *, placement: Placement = Placement.STANDARD, age_s: float = HOUR_S
) -> BucketObject:
    return BucketObject(NOW_S - age_s, placement, size_bytes + OVERHEAD)


def busy(share: float, *, ago_s: float = 0.0, size_bytes: int = 16 * MIB) -> Busy:
    return Busy(share * size_bytes, NOW_S - ago_s)


OPEN, FRESH, PUNCHED, PROTECTED, PROTECTED_PUNCHED, COLD, IA, FROZEN, SHORT = range(9)
KINDS = [OPEN, FRESH, FRESH, PUNCHED, PROTECTED, PROTECTED, PROTECTED_PUNCHED, COLD, COLD, IA, FROZEN, SHORT]


def _drawn(
    number: int, kind: int, size: int, dead: int, sealed_days: int, read_days: int, disk: int, share: float
) -> Pack:
    """`dead` bytes; a share below -1 stands for a pinned pack, below 0 for one that was not read from the bucket."""
    placement = {IA: Placement.IA, FROZEN: Placement.ARCHIVE}.get(kind, Placement.STANDARD)
    return Pack(
        pack=number,
        disk=disk,
        size_bytes=size,
        live_bytes=max(0, size - dead),
        closed=kind != OPEN,
        is_local=kind != COLD,
        object=stored(size - (OVERHEAD + 1) * (kind == SHORT), placement=placement) if kind >= PROTECTED else None,
        has_holes=kind in (PUNCHED, PROTECTED_PUNCHED),
        sealed_s=NOW_S - sealed_days * DAY_S,
        last_read_s=NOW_S - read_days * DAY_S if read_days <= sealed_days else None,
        is_pinned=share < -1,
        busy=busy(share, size_bytes=size) if share >= 0 else None,
    )


def packs(count_max: int = 10) -> st.SearchStrategy[list[Pack]]:
    """Sizes are 1 to 20 bytes: the watermarks of disks of 20 to 200 bytes are met often."""
    rows = st.tuples(
        st.sampled_from(KINDS),
        st.integers(1, 20),
        st.integers(-20, 20),
        st.integers(0, 40),
        st.integers(0, 40),
        st.integers(1, 2),
        st.sampled_from([-1.0, -1.0, -2.0, 0.1, 0.9, 2.0]),
    )
    return st.lists(rows, max_size=count_max).map(
        lambda found: [_drawn(number, *row) for number, row in enumerate(found, 1)]
    )


def disks_of(found: Iterable[Pack], total_bytes: int = 100) -> list[Disk]:
    """As full as the local packs make them."""
    used = {1: 0, 2: 0}
    for one in found:
        if one.is_local:
            used[one.disk] += one.freed_bytes
    return [Disk(disk, total_bytes, used_bytes) for disk, used_bytes in used.items()]


def carried_out(found: Sequence[Pack], plan: Iterable[demote.Demotion]) -> list[Pack]:
    """The packs after a plan's steps; a rewritten pack's live frames are a pack of the same age on the same disk."""
    actions = {step.key: step.action for step in plan}
    after = []
    for one in found:
        match actions.get(one.key):
            case None:
                after.append(one)
            case demote.Action.DROP:
                after.append(one._replace(is_local=False, has_holes=False))
            case demote.Action.UPLOAD:
                assert not one.has_holes and one.closed
                after.append(one._replace(object=BucketObject(NOW_S, Placement.STANDARD, one.size_bytes + OVERHEAD)))
            case demote.Action.REWRITE:
                new = one._replace(pack=one.pack + 1000, size_bytes=one.live_bytes, has_holes=False)
                after.append(new)
    return after


POLICY = demote.DemotePolicy(after_s=30 * DAY_S, high=0.9, low=0.6)
