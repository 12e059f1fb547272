"""Coming back: busy enough, room enough, and never to and fro."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.tiers import busy as counting
from rustfsfs.tiers.busy import BUSY
from rustfsfs.tiers.demote import Action, DemotePolicy, plan_demotion
from rustfsfs.tiers.packs import Busy, Disk, Pack
from rustfsfs.tiers.recall import Reason, Recall, plan_recall
from rustfsfs.units import MIB
from tests.tiers.cold import DAY_S, HOUR_S, NOW_S, POLICY, busy, carried_out, disks_of, pack, packs, stored

EMPTY = Disk(1, 1000 * MIB, 0)


def plan(found: list[Pack], *disks: Disk, policy: DemotePolicy = POLICY, room_bytes: int = 10**9) -> list[Recall]:
    return plan_recall(found, disks, policy, now_s=NOW_S, room_bytes=room_bytes)


def cold(number: int, share: float, *, ago_s: float = 0.0, **facts: Any) -> Pack:
    return pack(number, is_local=False, object=stored(), busy=busy(share, ago_s=ago_s), **facts)


@pytest.mark.parametrize(
    ("found", "disk", "want"),
    [
        pytest.param([cold(1, 0.99)], EMPTY, [], id="not busy enough"),
        pytest.param([cold(1, 1.0)], EMPTY, [(1, Reason.BUSY)], id="as much as it holds"),
        pytest.param([cold(1, 1.0, ago_s=HOUR_S)], EMPTY, [], id="an hour ago"),
        pytest.param([cold(1, 1.5), cold(2, 2.5)], EMPTY, [(2, Reason.BUSY), (1, Reason.BUSY)], id="the busiest first"),
        pytest.param([cold(1, 9.0, live_bytes=0)], EMPTY, [], id="nothing in it lives"),
        pytest.param([cold(1, 9.0)._replace(is_local=True)], EMPTY, [], id="it is here"),
        pytest.param([cold(1, 9.0)._replace(disk=2)], EMPTY, [(1, Reason.BUSY)], id="its disk is gone: to another one"),
        pytest.param([cold(1, 9.0)._replace(disk=2)], Disk(1, 100 * MIB, 45 * MIB), [], id="which has no room either"),
        pytest.param([cold(1, 9.0)._replace(disk=2, is_away=True)], EMPTY, [], id="its disk is missing, and has it"),
        pytest.param([cold(1, 9.0)], Disk(1, 100 * MIB, 43 * MIB), [(1, Reason.BUSY)], id="it just fits"),
        pytest.param(
            [cold(1, 9.0), cold(2, 9.0)], Disk(1, 100 * MIB, 40 * MIB), [(1, Reason.BUSY)], id="there is room for one"
        ),
        pytest.param([cold(1, 1.0, sealed_s=0.0)], EMPTY, [(1, Reason.BUSY)], id="old, but wanted just now"),
        pytest.param([cold(1, 9.0)], Disk(1, 100 * MIB, 44 * MIB), [], id="it does not fit below the low watermark"),
        pytest.param(
            [cold(1, 9.0)], Disk(1, 100 * MIB, 40 * MIB, growing_bytes=16 * MIB), [], id="another one is coming already"
        ),
        pytest.param(
            [cold(1, 9.0), cold(2, 0.0, is_pinned=True)],
            Disk(1, 100 * MIB, 70 * MIB),
            [(2, Reason.PINNED)],
            id="a pinned one has room up to the high one",
        ),
    ],
)
def test_plan_recall(found: list[Pack], disk: Disk, want: list[tuple[int, Reason]]) -> None:
    assert [(step.pack, step.reason) for step in plan(found, disk)] == want


def test_no_more_than_may_be_in_flight_and_nothing_twice() -> None:
    found = [cold(number, 2.0) for number in range(1, 9)]
    assert len(plan(found, EMPTY, room_bytes=50 * MIB)) == 3
    again = plan_recall(found, [EMPTY], POLICY, now_s=NOW_S, room_bytes=10**9, under_way={(1, 1)})
    assert [step.pack for step in again] == [2, 3, 4, 5, 6, 7, 8]


def test_what_would_be_sent_away_again_for_its_age_stays_where_it_is() -> None:
    assert plan([cold(1, 9.0, ago_s=700.0)], EMPTY, policy=DemotePolicy(after_s=600.0)) == []


def brought_back(found: list[Pack], steps: list[Recall]) -> list[Pack]:
    keys = {step.key for step in steps}
    return [one._replace(is_local=True) if one.key in keys else one for one in found]


@given(packs(), st.integers(20, 200))
def test_what_came_back_does_not_go_and_what_went_does_not_come_back(found: list[Pack], total: int) -> None:
    back = plan(found, *disks_of(found, total))
    after = brought_back(found, back)
    going = plan_demotion(after, disks_of(after, total), POLICY, now_s=NOW_S)
    assert not {step.key for step in going if step.action is Action.DROP} & {step.key for step in back}
    gone = [step for step in going if step.action is Action.DROP]
    returning = plan(carried_out(after, going), *disks_of(carried_out(after, going), total))
    assert not {step.key for step in returning} & {step.key for step in gone}


@given(packs(), st.integers(20, 200))
def test_recalls_alone_never_make_a_disk_full(found: list[Pack], total: int) -> None:
    before = disks_of(found, total)
    after = disks_of(brought_back(found, plan(found, *before)), total)
    for disk, left in zip(before, after, strict=True):
        assert left.used_bytes == disk.used_bytes or left.above_bytes(POLICY.high) <= 0


@given(st.lists(st.tuples(st.integers(1, 16 * MIB), st.floats(0, 2 * HOUR_S)), min_size=1, max_size=40))
def test_bringing_back_never_costs_more_than_was_read(reads: list[tuple[int, float]]) -> None:
    """Whoever reads in the most awkward way: recalled and dropped at once, again and again."""
    count: Busy | None = None
    now_s, read_bytes, recalled_bytes, size = NOW_S, 0, 0, 16 * MIB
    for size_bytes, pause_s in reads:
        now_s += pause_s
        count = counting.noted(count, size_bytes, now_s=now_s, policy=BUSY)
        read_bytes += size_bytes
        one = pack(1, is_local=False, object=stored(), busy=count)
        if plan_recall([one], [EMPTY], DemotePolicy(), now_s=now_s, room_bytes=10**9):
            recalled_bytes, count = recalled_bytes + size, None
    assert recalled_bytes <= read_bytes


@given(st.floats(0, 1e9), st.floats(-DAY_S, 30 * DAY_S))
def test_a_count_only_fades(bytes_: float, later_s: float) -> None:
    count = Busy(bytes_, NOW_S)
    faded = counting.faded_bytes(count, now_s=NOW_S + later_s, policy=BUSY)
    assert 0 <= faded <= bytes_
    assert counting.noted(count, 5, now_s=NOW_S + later_s, policy=BUSY).at_s >= NOW_S
