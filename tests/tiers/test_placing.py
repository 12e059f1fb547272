"""The class of a pack: as configured, and by age."""

import math

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers.packs import Pack
from rustfsfs.tiers.placing import PlacingPolicy, placement_of, plan_cooling
from rustfsfs.units import MIB
from tests.tiers.cold import DAY_S, NOW_S, pack, stored

BY_AGE = PlacingPolicy(ia_after_s=60 * DAY_S)


def aged(number: int, days: float, placement: Placement = Placement.STANDARD, live_bytes: int = 16 * MIB) -> Pack:
    return pack(number, sealed_s=NOW_S - days * DAY_S, object=stored(placement=placement), live_bytes=live_bytes)


@pytest.mark.parametrize(
    ("days", "policy", "want"),
    [
        pytest.param(999, PlacingPolicy(), Placement.STANDARD, id="by default"),
        pytest.param(0, PlacingPolicy(placement=Placement.IA), Placement.IA, id="IA from the start"),
        pytest.param(59, BY_AGE, Placement.STANDARD, id="not old enough"),
        pytest.param(60, BY_AGE, Placement.IA, id="old as it is uploaded"),
    ],
)
def test_placement_of(days: float, policy: PlacingPolicy, want: Placement) -> None:
    assert placement_of(aged(1, days), policy, now_s=NOW_S) is want


@pytest.mark.parametrize(
    ("found", "want"),
    [
        pytest.param([aged(1, 59)], [], id="not old enough"),
        pytest.param([aged(1, 61), aged(2, 90), aged(3, 70)], [2, 3], id="coldest first, as many as may be"),
        pytest.param([aged(1, 90, Placement.IA)], [], id="it is there already"),
        pytest.param([aged(1, 90, live_bytes=7 * MIB)], [], id="it will be rewritten before 30 days are over"),
        pytest.param([aged(1, 90)._replace(object=None)], [], id="not in the bucket"),
        pytest.param([aged(1, 90)._replace(last_read_s=NOW_S)], [], id="read just now"),
    ],
)
def test_plan_cooling(found: list[Pack], want: list[int]) -> None:
    keys = plan_cooling(found, BY_AGE, now_s=NOW_S, live_share=0.5, count_max=2)
    assert [number for number, _disk in keys] == want


def test_never_is_never() -> None:
    assert PlacingPolicy().ia_after_s == math.inf
    assert plan_cooling([aged(1, 9999)], PlacingPolicy(), now_s=NOW_S, live_share=0.5, count_max=9) == []
