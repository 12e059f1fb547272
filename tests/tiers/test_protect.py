"""Uploads: oldest first, bounded, what a demotion waits for before all else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.tiers.packs import Pack, PackKey
from rustfsfs.tiers.protect import ProtectPolicy, UploadPlan, plan_uploads
from rustfsfs.units import MIB
from tests.tiers.cold import NOW_S, pack, packs, stored

POLICY = ProtectPolicy(enabled=True, within_s=600.0)
OFF = ProtectPolicy(enabled=False)


def aged(number: int, seconds: float, **facts: Any) -> Pack:
    return pack(number, sealed_s=NOW_S - seconds, **facts)


def numbers(keys: tuple[PackKey, ...]) -> list[int]:
    return [number for number, _disk in keys]


@pytest.mark.parametrize(
    ("found", "upload", "close", "rewrite"),
    [
        pytest.param([aged(1, 5), aged(2, 50)], [2, 1], [], [], id="oldest first"),
        pytest.param([aged(1, 5, object=stored())], [], [], [], id="it is there already"),
        pytest.param([aged(1, 5, is_local=False, object=stored())], [], [], [], id="it is only there"),
        pytest.param([aged(1, 599, closed=False)], [], [], [], id="an open pack has time"),
        pytest.param([aged(1, 600, closed=False), aged(2, 700, closed=False)], [], [2, 1], [], id="until it has none"),
        pytest.param([aged(1, -1e8, closed=False)], [], [1], [], id="nor has one that a wrong clock put far ahead"),
        pytest.param([aged(1, 5, has_holes=True)], [], [], [1], id="holes are never uploaded"),
        pytest.param([aged(1, 5, live_bytes=0)], [], [], [], id="nothing in it lives"),
        pytest.param([aged(n, 100 - n) for n in range(1, 9)], [1, 2, 3, 4], [], [], id="as many as are let in flight"),
    ],
)
def test_plan_uploads(found: list[Pack], upload: list[int], close: list[int], rewrite: list[int]) -> None:
    plan = plan_uploads(found, POLICY, now_s=NOW_S, room_bytes=64 * MIB)
    assert (numbers(plan.upload), numbers(plan.close), numbers(plan.rewrite)) == (upload, close, rewrite)


def test_what_a_demotion_waits_for_goes_first_even_if_nothing_is_to_be_protected() -> None:
    found = [aged(1, 500), aged(2, 10), aged(3, 20)]
    plan = plan_uploads(found, POLICY, now_s=NOW_S, room_bytes=64 * MIB, first=[(2, 1), (3, 1)])
    assert numbers(plan.upload) == [2, 3, 1]
    plan = plan_uploads(found, OFF, now_s=NOW_S, room_bytes=64 * MIB, first=[(2, 1), (3, 1)])
    assert numbers(plan.upload) == [2, 3]


def test_off_means_that_nothing_is_closed_uploaded_or_rewritten() -> None:
    found = [aged(1, 1e6), aged(2, 1e6, closed=False), aged(3, 1e6, has_holes=True)]
    assert plan_uploads(found, OFF, now_s=NOW_S, room_bytes=64 * MIB) == UploadPlan((), (), (), 0, None)


def test_a_large_pack_waits_for_room_and_is_not_overtaken_for_ever() -> None:
    found = [aged(1, 100, size_bytes=32 * MIB), aged(2, 50)]
    plan = plan_uploads(found, POLICY, now_s=NOW_S, room_bytes=20 * MIB)
    assert plan.upload == ()
    assert (plan.backlog_bytes, plan.backlog_since_s) == (48 * MIB, NOW_S - 100)


@given(packs(), st.integers(0, 120), st.booleans(), st.sets(st.integers(1, 12)))
def test_the_bound_holds_and_each_pack_is_in_one_list_at_most(
    found: list[Pack], room: int, enabled: bool, flying: set[int]
) -> None:
    under_way = {one.key for one in found if one.pack in flying}
    policy = ProtectPolicy(enabled=enabled, within_s=86400.0)
    plan = plan_uploads(found, policy, now_s=NOW_S, room_bytes=room, under_way=under_way)
    by_key = {one.key: one for one in found}
    named = [*plan.upload, *plan.close, *plan.rewrite]
    assert len(named) == len(set(named)) and not under_way & set(named)
    assert sum(by_key[key].size_bytes for key in plan.upload) <= room
    for key in plan.upload:
        one = by_key[key]
        assert one.is_local and one.closed and one.object is None and not one.has_holes and one.live_bytes
    assert all(not by_key[key].closed for key in plan.close)


@given(packs())
def test_with_room_for_everything_all_that_lives_is_dealt_with(found: list[Pack]) -> None:
    plan = plan_uploads(found, ProtectPolicy(within_s=0.0), now_s=NOW_S, room_bytes=10**9)
    lives_here_only = {one.key for one in found if one.is_local and one.object is None and one.live_bytes}
    assert {*plan.upload, *plan.close, *plan.rewrite} == lives_here_only
