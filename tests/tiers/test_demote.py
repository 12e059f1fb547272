"""Demotion: what goes, what stays, and that a plan that was carried out leaves nothing to do."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers.busy import BUSY
from rustfsfs.tiers.demote import Action, DemotePolicy, Demotion, Kept, Reason, kept, plan_demotion
from rustfsfs.tiers.packs import Disk, Pack, PackKey
from rustfsfs.units import MIB
from tests.tiers.cold import DAY_S, HOUR_S, NOW_S, POLICY, busy, carried_out, disks_of, pack, packs, stored

EMPTY, FILLING, FULL = Disk(1, 1000 * MIB, 0), Disk(1, 100 * MIB, 70 * MIB), Disk(1, 100 * MIB, 92 * MIB)
BY_SPACE = DemotePolicy(after_s=math.inf, high=0.9, low=0.6)


def plan(found: list[Pack], *disks: Disk, policy: DemotePolicy = POLICY) -> list[Demotion]:
    return plan_demotion(found, disks, policy, now_s=NOW_S)


def old(number: int, days: float, *, proved: bool = True, **facts: Any) -> Pack:
    return pack(number, last_read_s=NOW_S - days * DAY_S, sealed_s=0.0, object=stored() if proved else None, **facts)


@pytest.mark.parametrize(
    ("facts", "want"),
    [
        pytest.param({}, None, id="nothing speaks against it"),
        pytest.param({"is_local": False, "object": stored()}, Kept.ABSENT, id="not here"),
        pytest.param({"closed": False}, Kept.OPEN, id="open"),
        pytest.param({"is_pinned": True}, Kept.PINNED, id="pinned"),
        pytest.param({"busy": busy(1.0)}, Kept.BUSY, id="busy"),
        pytest.param({"busy": busy(1.0, ago_s=HOUR_S)}, Kept.BUSY, id="busy an hour ago"),
        pytest.param({"busy": busy(1.0, ago_s=2 * HOUR_S)}, None, id="busy two hours ago"),
        pytest.param({"live_bytes": 0}, Kept.DEAD, id="the collector's"),
        pytest.param({"object": stored(placement=Placement.IA)}, None, id="in IA"),
        pytest.param({"object": stored(placement=Placement.COLD_ARCHIVE)}, Kept.FROZEN, id="frozen"),
        pytest.param({"object": stored(15 * MIB)}, Kept.UNPROVED, id="a shorter object"),
    ],
)
def test_what_keeps_a_pack(facts: dict[str, Any], want: Kept | None) -> None:
    assert kept(pack(1, **facts), now_s=NOW_S, busy_policy=BUSY) is want


@pytest.mark.parametrize(
    ("found", "disk", "want"),
    [
        pytest.param([old(1, 29)], EMPTY, [], id="not old enough"),
        pytest.param([old(1, 30)], EMPTY, [(1, Action.DROP, Reason.AGE)], id="old enough"),
        pytest.param([old(1, 30, proved=False)], EMPTY, [(1, Action.UPLOAD, Reason.AGE)], id="uploaded first"),
        pytest.param(
            [old(1, 30, proved=False, has_holes=True)], EMPTY, [(1, Action.REWRITE, Reason.AGE)], id="not as it is"
        ),
        pytest.param(
            [old(1, 30, has_holes=True)], EMPTY, [(1, Action.DROP, Reason.AGE)], id="uploaded before the holes"
        ),
        pytest.param(
            [pack(1, sealed_s=NOW_S - 31 * DAY_S, object=stored())],
            EMPTY,
            [(1, Action.DROP, Reason.AGE)],
            id="never read: it counts from its sealing",
        ),
        pytest.param([old(1, 1), old(2, 2)], FILLING, [], id="below the high watermark nothing is dropped"),
        pytest.param(
            [old(1, 1, proved=False), old(2, 2, proved=False)],
            FILLING,
            [(2, Action.UPLOAD, Reason.FILLING)],
            id="but what would have to go is uploaded",
        ),
        pytest.param(
            [old(1, 1), old(2, 5), old(3, 3)],
            FULL,
            [(2, Action.DROP, Reason.FULL), (3, Action.DROP, Reason.FULL)],
            id="above it, the coldest go until the low one is reached",
        ),
        pytest.param(
            [old(1, 9, proved=False), old(2, 2), old(3, 3), old(4, 1)],
            FULL,
            [(1, Action.UPLOAD, Reason.FULL), (3, Action.DROP, Reason.FULL), (2, Action.DROP, Reason.FULL)],
            id="a colder one that cannot go yet is uploaded, and others go now",
        ),
        pytest.param(
            [old(1, 40), old(2, 2), old(3, 3)],
            FULL,
            [(1, Action.DROP, Reason.AGE), (3, Action.DROP, Reason.FULL)],
            id="what goes for its age counts",
        ),
        pytest.param(
            [old(1, 1), old(2, 2), old(3, 3), old(4, 9, has_holes=True, live_bytes=MIB)],
            FULL,
            [(4, Action.DROP, Reason.FULL), (3, Action.DROP, Reason.FULL), (2, Action.DROP, Reason.FULL)],
            id="one with holes gives back what is left of it",
        ),
        pytest.param([old(1, 40)._replace(disk=2)], FULL, [], id="a missing disk is left alone"),
        pytest.param(
            [old(1, 1)],
            Disk(1, 100 * MIB, 80 * MIB, growing_bytes=16 * MIB),
            [(1, Action.DROP, Reason.FULL)],
            id="what is on its way counts as there",
        ),
    ],
)
def test_plan_demotion(found: list[Pack], disk: Disk, want: list[tuple[int, Action, Reason]]) -> None:
    assert [(step.pack, step.action, step.reason) for step in plan(found, disk)] == want


def test_what_is_asked_for_goes_whatever_its_age_but_not_what_is_pinned() -> None:
    found = [
        pack(1, object=stored()),
        pack(2),
        pack(3, is_pinned=True),
        pack(4, object=stored(), busy=busy(2.0)),
        pack(5),
    ]
    asked = {one.key for one in found[:4]}
    steps = plan_demotion(found, [EMPTY], BY_SPACE, now_s=NOW_S, asked=asked)
    assert {step.pack: step.action for step in steps} == {1: Action.DROP, 2: Action.UPLOAD, 4: Action.DROP}
    assert {step.reason for step in steps} == {Reason.ASKED}


@given(packs())
def test_nothing_pinned_busy_open_or_unproved_is_ever_dropped(found: list[Pack]) -> None:
    dropped = {step.key for step in plan(found, *disks_of(found)) if step.action is Action.DROP}
    for one in found:
        if one.key in dropped:
            assert one.is_local and one.closed and not one.is_pinned and one.object is not None
            assert one.object.size_bytes >= one.size_bytes and not one.object.placement.freezes


@given(packs(), st.integers(20, 200))
def test_a_full_disk_is_at_the_low_watermark_afterwards_or_nothing_more_can_go(found: list[Pack], total: int) -> None:
    before = disks_of(found, total)
    after = carried_out(found, plan(found, *before))
    for disk, left in zip(before, disks_of(after, total), strict=True):
        if disk.above_bytes(POLICY.high) > 0:
            evictable = [
                one
                for one in after
                if one.disk == disk.disk and kept(one, now_s=NOW_S, busy_policy=BUSY) is None and one.is_proved
                if one in found  # what was uploaded just now goes in the next round
            ]
            assert left.above_bytes(POLICY.low) <= 0 or not evictable


@given(packs(), st.integers(20, 200))
def test_carried_out_a_few_times_nothing_is_left_to_do(found: list[Pack], total: int) -> None:
    rounds = 0
    rounds_max = 3 * len(found) if any(one.has_holes for one in found) else 2  # new packs come last among equally old
    while steps := plan(found, *disks_of(found, total)):
        rounds += 1
        assert rounds <= rounds_max
        found = carried_out(found, steps)


@given(packs(), st.integers(20, 200))
def test_when_all_is_in_the_bucket_one_round_is_enough(found: list[Pack], total: int) -> None:
    found = [one._replace(object=stored(one.size_bytes)) for one in found]
    after = carried_out(found, plan(found, *disks_of(found, total)))
    assert plan(after, *disks_of(after, total)) == []


@given(packs(), st.integers(20, 200))
def test_no_more_is_dropped_than_needed_and_the_coldest_first(found: list[Pack], total: int) -> None:
    disks = disks_of(found, total)
    by_key: dict[PackKey, Pack] = {one.key: one for one in found}
    steps = [step for step in plan_demotion(found, disks, BY_SPACE, now_s=NOW_S) if step.action is Action.DROP]
    for disk in disks:
        freed = [step.frees_bytes for step in steps if step.disk == disk.disk]
        assert not freed or sum(freed[:-1]) < disk.above_bytes(BY_SPACE.low)
        heats = [by_key[step.key].heat_s for step in steps if step.disk == disk.disk]
        assert heats == sorted(heats)


@given(packs(), st.integers(20, 200), st.integers(0, 10))
def test_of_the_coldest_packs_alone_the_plan_is_the_beginning_of_the_whole_plan(
    found: list[Pack], total: int, count: int
) -> None:
    disks = disks_of(found, total)
    found = sorted((one for one in found if one.disk == 1), key=lambda one: (one.heat_s, one.pack))
    whole = plan(found, *disks)
    assert plan(found[:count], *disks) == [step for step in whole if step.key in {one.key for one in found[:count]}]


def test_every_reason_is_a_sentence_for_people() -> None:
    for reason in [*Reason, *Kept]:
        assert len(reason.value.split()) > 3 and reason.value == reason.value.strip(" .")
