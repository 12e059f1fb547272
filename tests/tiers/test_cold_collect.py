"""Collecting in the bucket: only what pays, and never before the minimum days are over."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers.cold_collect import (
    Action,
    ColdCollectPolicy,
    Collection,
    deletion_gain,
    plan_cold_collection,
    rewriting_gain,
)
from rustfsfs.tiers.packs import Pack
from rustfsfs.tiers.prices import PRICES_2025, ClassPrices, Prices, days_left, storage_cost
from rustfsfs.units import GIB, KIB, MIB
from tests.tiers.cold import DAY_S, NOW_S, pack, stored

POLICY = ColdCollectPolicy()
IA = PRICES_2025.classes[Placement.IA]


def cold(number: int, live_share: float, *, days: float = 1, placement: Placement = Placement.IA, **facts: Any) -> Pack:
    live_bytes = int(live_share * 16 * MIB)
    there = stored(placement=placement, age_s=days * DAY_S)
    known: dict[str, Any] = {"is_local": False, "live_bytes": live_bytes, "object": there}
    return pack(number, **(known | facts))


def plan(found: list[Pack], *, moved_bytes_max: int = GIB, policy: ColdCollectPolicy = POLICY) -> list[Collection]:
    return plan_cold_collection(found, policy, now_s=NOW_S, moved_bytes_max=moved_bytes_max)


@pytest.mark.parametrize(
    ("found", "want"),
    [
        pytest.param(cold(1, 0.0), Action.DELETE, id="nothing lives: the rest is billed either way"),
        pytest.param(cold(1, 0.0, placement=Placement.DEEP), Action.DELETE, id="nothing lives, and it is frozen"),
        pytest.param(cold(1, 0.1, days=29), None, id="IA before its 30 days"),
        pytest.param(cold(1, 0.1, days=30), Action.REWRITE, id="IA after them"),
        pytest.param(cold(1, 0.1, placement=Placement.STANDARD), Action.REWRITE, id="Standard has no minimum"),
        pytest.param(cold(1, 0.5, days=90), None, id="half of it lives"),
        pytest.param(cold(1, 0.1, days=90, placement=Placement.ARCHIVE), None, id="frozen, and only there"),
        pytest.param(
            cold(1, 0.1, days=59, placement=Placement.ARCHIVE, is_local=True), None, id="Archive before its 60 days"
        ),
        pytest.param(
            cold(1, 0.1, days=60, placement=Placement.ARCHIVE, is_local=True), Action.REWRITE, id="a local copy is read"
        ),
        pytest.param(cold(1, 0.1, object=None), None, id="not there"),
    ],
)
def test_what_is_done_with_a_pack(found: Pack, want: Action | None) -> None:
    assert [step.action for step in plan([found])] == ([want] if want else [])


def test_deletions_come_first_then_what_gains_most_for_each_byte_moved_within_the_bound() -> None:
    found = [cold(1, 0.4, days=40), cold(2, 0.1, days=40), cold(3, 0.0), cold(4, 0.2, days=40)]
    assert [step.pack for step in plan(found)] == [3, 2, 4, 1]
    assert [step.pack for step in plan(found, moved_bytes_max=7 * MIB)] == [3, 2, 4]
    assert [step.pack for step in plan(found, moved_bytes_max=0)] == [3]


def test_dear_traffic_makes_rewriting_not_pay() -> None:
    """Of 1 GiB that is 45 % alive, half a year of Standard saves 0.12 * 6 * 0.55 = 0.40; 0.45 GiB have to be read."""
    found = [cold(1, 0.45, placement=Placement.STANDARD)]
    assert plan(found) != []
    dear = msgspec.structs.replace(PRICES_2025, egress_per_gb=1.0)
    assert plan(found, policy=msgspec.structs.replace(POLICY, prices=dear)) == []
    assert plan([found[0]._replace(is_local=True)], policy=msgspec.structs.replace(POLICY, prices=dear)) != []


def test_prices_by_hand() -> None:
    assert storage_cost(GIB, 30, IA) == pytest.approx(0.08)
    assert storage_cost(32 * KIB, 30, IA) / (32 * KIB / GIB) == pytest.approx(0.16), "OSS.md: dearer than Standard"
    assert days_left(29 * DAY_S, IA) == 1 and days_left(31 * DAY_S, IA) == 0 and days_left(-5.0, IA) == 30
    size = 16 * MIB + 1000
    one = cold(1, 0.25, days=40)
    requests = (0.25 * 0.01 + 0.1 + 4 * 0.1) / 10_000  # a quarter of a PUT, a DELETE, four GETs
    spent = 4 * MIB / GIB * (0.12 * 6 + 0.0325) + requests
    gain = rewriting_gain(one, POLICY, rewritten_to=Placement.STANDARD)
    assert gain == pytest.approx(size / GIB * 0.08 * 6 - spent)
    short = msgspec.structs.replace(POLICY, horizon_days=10.0)
    spent = 4 * MIB / GIB * (0.08 + 0.0325) + (0.25 * 0.1 + 0.1 + 4 * 0.1) / 10_000
    gain = rewriting_gain(one, short, rewritten_to=Placement.IA)
    assert gain == pytest.approx(size / GIB * 0.08 / 3 - spent), "a new pack in IA is billed for 30 days at the least"
    assert deletion_gain(cold(1, 0.0, days=10), POLICY, now_s=NOW_S) == pytest.approx(size / GIB * 0.08 * 160 / 30)


class_prices = st.builds(
    ClassPrices,
    storage_per_gb_month=st.floats(0.001, 1),
    put_per_10k=st.floats(0, 10),
    get_per_10k=st.floats(0, 10),
    retrieval_per_gb=st.floats(0, 1),
    days_min=st.sampled_from([0.0, 30.0, 60.0]),
)
all_prices = st.builds(
    lambda standard, ia, egress: Prices(
        currency="X", classes={Placement.STANDARD: standard, Placement.IA: ia}, egress_per_gb=egress
    ),
    class_prices,
    class_prices,
    st.floats(0, 1),
)


@given(all_prices, st.floats(0, 1), st.floats(0, 100), st.sampled_from([Placement.STANDARD, Placement.IA]))
def test_whatever_the_prices_a_plan_gains_and_waits_for_the_minimum_days(
    prices: Prices, live_share: float, days: float, placement: Placement
) -> None:
    policy = ColdCollectPolicy(prices=prices)
    one = cold(1, live_share, days=days, placement=placement)
    for step in plan([one], policy=policy):
        assert step.gain >= 0 and step.frees_bytes > 0
        if step.action is Action.REWRITE:
            assert step.gain > 0 and days >= prices.classes[placement].days_min
            assert one.live_bytes < policy.live_share * one.size_bytes


@given(all_prices, st.integers(1, 8 * MIB), st.integers(1, 8 * MIB))
def test_the_more_is_dead_the_more_a_rewrite_gains(prices: Prices, one: int, other: int) -> None:
    less, more = sorted([one, other])
    policy = ColdCollectPolicy(prices=prices)
    gains = [
        rewriting_gain(pack(1, is_local=False, live_bytes=live, object=stored()), policy, rewritten_to=Placement.IA)
        for live in (less, more)
    ]
    assert gains[0] >= gains[1]
