"""Packs that are left alone: for which reason, and for how long."""

from rustfsfs.volume.leftalone import AGAIN_S, LeftAlone, Why

ONE, TWO = (1, 0), (2, 0)


def test_a_pack_is_left_alone_for_its_reason_until_its_time_has_come() -> None:
    alone = LeftAlone()
    alone.leave(ONE, Why.UNMOVED, "no room", now_s=10.0)
    alone.leave(ONE, Why.LOST, "it is gone", now_s=10.0)
    alone.leave(TWO, Why.UNREADABLE, "2 frames", now_s=10.0)
    assert alone.packs(Why.UNMOVED, now_s=10.0) == {ONE: "no room"}
    assert alone.packs(Why.LOST, Why.UNREADABLE, now_s=10.0) == {ONE: "it is gone", TWO: "2 frames"}
    assert alone.counts(now_s=10.0) == {Why.UNMOVED: 1, Why.LOST: 1, Why.UNREADABLE: 1}
    assert alone.packs(Why.UNMOVED, now_s=10.0 + AGAIN_S[Why.UNMOVED]) == {}
    assert alone.counts(now_s=1e12) == {Why.LOST: 1}, "what is lost is for a sweep to find"
    alone.forget(Why.LOST)
    assert alone.counts(now_s=10.0) == {}, "and nothing is kept of what is over"


def test_how_many_there_are_is_known_without_a_look_at_each() -> None:
    alone = LeftAlone()
    for _ in range(2):
        alone.leave(ONE, Why.UNMOVED, "no room", now_s=10.0)
    alone.leave(TWO, Why.UNMOVED, "no room", now_s=20.0)
    alone.leave(TWO, Why.LOST, "it is gone", now_s=10.0)
    assert {why: count for why, count in alone.known.items() if count} == {Why.UNMOVED: 2, Why.LOST: 1}
    alone.counts(now_s=10.0 + AGAIN_S[Why.UNMOVED])
    alone.forget(Why.LOST)
    assert {why: count for why, count in alone.known.items() if count} == {Why.UNMOVED: 1}
