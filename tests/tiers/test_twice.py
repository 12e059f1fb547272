"""Packs with the same chunks: the bucket gets each chunk once, and knows of which packs it has all."""

from collections.abc import Container

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.tiers import twice
from rustfsfs.tiers.demote import Action, DemotePolicy, plan_demotion
from rustfsfs.tiers.packs import BucketObject, Disk, Pack, PackKey
from rustfsfs.tiers.protect import ProtectPolicy, plan_uploads
from tests.tiers.cold import DAY_S, NOW_S, pack, stored

A, B, C = (1, 1), (2, 2), (3, 2)


def of(key: PackKey, *others: set[PackKey], thing: BucketObject | None = None) -> Pack:
    return pack(key[0], disk=key[1], others=tuple(tuple(sorted(group)) for group in others), object=thing)


@pytest.mark.parametrize(
    ("found", "there", "want"),
    [
        pytest.param(of(A, {B}), {B}, True, id="its double is there"),
        pytest.param(of(A, {B}), {C}, False, id="another is"),
        pytest.param(of(A, {B}, {C}), {B}, False, id="half of it is"),
        pytest.param(of(A, {B}, {C}), {B, C}, True, id="both halves are"),
        pytest.param(of(A, {B, C}), {C}, True, id="one of two doubles is"),
        pytest.param(of(A, {B}, set()), {B}, False, id="a chunk lies nowhere else"),
        pytest.param(pack(1), {B}, False, id="nobody looked"),
    ],
)
def test_is_covered(found: Pack, there: Container[PackKey], want: bool) -> None:
    assert twice.is_covered(found, there) is want


@pytest.mark.parametrize(
    ("double", "lost", "want"),
    [
        pytest.param(stored(), set(), True, id="the bucket has it"),
        pytest.param(None, set(), False, id="it has not"),
        pytest.param(stored(), {B}, False, id="it has lost it"),
        pytest.param(stored(placement=Placement.ARCHIVE), set(), False, id="it is frozen"),
        pytest.param(stored(1), set(), False, id="it is too short"),
    ],
)
def test_covered(double: BucketObject | None, lost: set[PackKey], want: bool) -> None:
    first, second = twice.covered([of(A, {B}), of(B, {A}, thing=double)], lost=lost)
    assert (first.is_elsewhere, first.is_proved, second.is_elsewhere) == (want, want, False)


def test_of_doubles_the_first_in_order_is_uploaded_and_the_other_is_no_backlog() -> None:
    found = [of(B, {A})._replace(sealed_s=NOW_S - 9), of(A, {B})._replace(sealed_s=NOW_S - 5)]
    plan = plan_uploads(found, ProtectPolicy(), now_s=NOW_S, room_bytes=1 << 40)
    assert (plan.upload, plan.backlog_bytes) == ((B,), found[0].size_bytes)
    plan = plan_uploads(found, ProtectPolicy(), now_s=NOW_S, room_bytes=1 << 40, first=[A])
    assert plan.upload == (A,)
    plan = plan_uploads(found, ProtectPolicy(), now_s=NOW_S, room_bytes=1 << 40, under_way={B})
    assert plan.upload == (A,), "one that cannot be uploaded stands for nobody"


def test_a_double_of_what_the_bucket_has_is_dropped_and_not_uploaded() -> None:
    found = twice.covered([of(A, {B}), of(B, {A}, thing=stored())], lost=())
    policy = DemotePolicy(after_s=DAY_S / 2)
    steps = plan_demotion(found, [Disk(1, 1 << 40, 1), Disk(2, 1 << 40, 1)], policy, now_s=NOW_S)
    assert {(step.key, step.action) for step in steps} == {(A, Action.DROP), (B, Action.DROP)}
    assert plan_uploads(found, ProtectPolicy(), now_s=NOW_S, room_bytes=1 << 40).upload == ()


CHUNKS = st.lists(st.frozensets(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=12)


@given(lies=CHUNKS, there=st.frozensets(st.integers(1, 6)))
def test_whatever_lies_where_each_chunk_gets_there_and_what_is_left_out_is_covered(
    lies: list[frozenset[int]], there: frozenset[int]
) -> None:
    """`lies`: of each chunk, the packs that have it."""
    numbers = sorted(frozenset().union(*lies))
    found = [
        of(
            (number, 1),
            *({(other, 1) for other in chunk - {number}} for chunk in lies if number in chunk),
            thing=stored() if number in there else None,
        )
        for number in numbers
    ]
    found = twice.covered(found, lost=())
    chosen = {one.pack for one in twice.needed(one for one in found if one.object is None)} | there
    assert all(chunk & chosen for chunk in lies)
    for one in found:
        assert one.pack in chosen or all((chunk - {one.pack}) & chosen for chunk in lies if one.pack in chunk)
