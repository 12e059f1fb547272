"""When to try again, and that nothing is done twice or called done when it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import (
    CircuitOpen,
    CloudRefused,
    CloudThrottled,
    CloudUnavailable,
    DamagedData,
    ObjectExists,
    ObjectFrozen,
    ObjectMissing,
    RustfsfsError,
)
from rustfsfs.store.retrying import RetryingBucket, RetryPolicy, plan_retry
from tests.store.faultbuckets import FailsFirst, FakeTime, LosesAnswers
from tests.store.membucket import MemBucket

POLICY = RetryPolicy(first_delay_s=1.0, delay_s_max=10.0, deadline_s=100.0)
DOWN, BAD = CloudUnavailable("down"), DamagedData("flipped")


def retrying(inner: FailsFirst | LosesAnswers, time: FakeTime | None = None) -> RetryingBucket:
    return RetryingBucket(inner, policy=POLICY, timing=(time or FakeTime()).timing)


@pytest.mark.parametrize(
    ("error", "attempt_no", "elapsed_s", "want"),
    [
        pytest.param(DOWN, 1, 0.0, 1.0, id="the first delay"),
        pytest.param(DOWN, 3, 0.0, 4.0, id="twice as long each time"),
        pytest.param(DOWN, 5000, 0.0, 10.0, id="up to a limit"),
        pytest.param(DOWN, 1, 98.9, 1.0, id="just before the deadline"),
        pytest.param(DOWN, 1, 99.0, None, id="it would be at the deadline"),
        pytest.param(CloudThrottled("slow", delay_s=7.0), 1, 0.0, 8.0, id="as long as the bucket says, and more"),
        pytest.param(CloudThrottled("slow"), 1, 0.0, 1.0, id="throttled without a delay"),
        pytest.param(CloudThrottled("slow", delay_s=100.0), 1, 0.0, None, id="the bucket wants longer than we have"),
        pytest.param(CircuitOpen("open"), 1, 0.0, None, id="the breaker is open"),
        pytest.param(BAD, 2, 0.0, 2.0, id="damaged twice"),
        pytest.param(BAD, 3, 0.0, None, id="damaged three times"),
        pytest.param(CloudRefused("no"), 1, 0.0, None, id="refused"),
        pytest.param(ObjectMissing("gone"), 1, 0.0, None, id="missing"),
        pytest.param(ObjectFrozen("ice"), 1, 0.0, None, id="frozen"),
    ],
)
def test_plan_retry(error: RustfsfsError, attempt_no: int, elapsed_s: float, want: float | None) -> None:
    assert plan_retry(error, policy=POLICY, attempt_no=attempt_no, elapsed_s=elapsed_s, jitter=1.0) == want


@given(attempt_no=st.integers(1, 10_000), jitter=st.floats(0, 1), elapsed_s=st.floats(0, 200))
def test_a_delay_is_within_its_bounds(attempt_no: int, jitter: float, elapsed_s: float) -> None:
    delay_s = plan_retry(DOWN, policy=POLICY, attempt_no=attempt_no, elapsed_s=elapsed_s, jitter=jitter)
    if delay_s is None:
        assert elapsed_s + POLICY.delay_s_max >= POLICY.deadline_s
    else:
        assert 0 <= delay_s <= POLICY.delay_s_max and elapsed_s + delay_s < POLICY.deadline_s


def test_what_fails_for_a_while_succeeds() -> None:
    time, inner = FakeTime(), FailsFirst(MemBucket(), DOWN, BAD, CloudThrottled("slow", delay_s=3.0))
    assert retrying(inner, time).put("k", b"x", placement=Placement.IA).size_bytes == 1
    assert time.slept == [1.0, 2.0, 7.0]
    assert inner.requests_count == 4


def test_delays_are_drawn_by_lot() -> None:
    time, inner = FakeTime(jitter=0.25), FailsFirst(MemBucket(), DOWN, DOWN)
    retrying(inner, time).delete(["k"])
    assert time.slept == [0.25, 0.5]


def test_it_gives_up_at_the_deadline_with_the_last_error() -> None:
    time, inner = FakeTime(), FailsFirst(MemBucket(), *[CloudUnavailable(f"no. {n}") for n in range(99)])
    with pytest.raises(CloudUnavailable, match=f"no. {12}"):
        retrying(inner, time).head("k")
    assert 90 <= time.now_s < 100


def test_a_missing_object_is_not_looked_for_twice() -> None:
    inner = FailsFirst(MemBucket())
    with pytest.raises(ObjectMissing):
        retrying(inner).head("k")
    assert inner.requests_count == 1


def test_a_put_whose_answer_was_lost_is_done() -> None:
    memory = MemBucket()
    facts = retrying(LosesAnswers(memory, 1)).put("k", b"ours", placement=Placement.IA)
    assert facts == memory.head("k")
    assert memory.get("k", 0, 4) == b"ours"


def test_also_when_the_answer_to_the_question_is_lost() -> None:
    memory = MemBucket()

    class LosesHeads(LosesAnswers):
        def put(self, key: str, body: bytes | memoryview, *, placement: Placement):  # type: ignore[no-untyped-def]
            if key in memory.objects:  # only the first answer to a PUT, and those to HEAD
                return self._inner.put(key, body, placement=placement)
            return super().put(key, body, placement=placement)

    assert retrying(LosesHeads(memory, 3)).put("k", b"ours", placement=Placement.IA) == memory.head("k")


@pytest.mark.parametrize("there", [b"same size", b"other sizes"], ids=["another CRC", "another size"])
def test_anothers_object_is_not_taken_for_ours(there: bytes) -> None:
    memory = MemBucket()
    memory.put("k", there, placement=Placement.IA)
    with pytest.raises(ObjectExists):
        retrying(FailsFirst(memory, DOWN)).put("k", b"our bytes", placement=Placement.IA)
    assert memory.get("k", 0, len(there)) == there


def test_an_object_that_was_there_before_is_an_error_at_once() -> None:
    memory = MemBucket()
    memory.put("k", b"ours", placement=Placement.IA)
    inner = FailsFirst(memory)
    with pytest.raises(ObjectExists):
        retrying(inner).put("k", b"ours", placement=Placement.IA)
    assert inner.requests_count == 1


def test_a_list_goes_on_behind_the_page_that_was_read() -> None:
    memory = MemBucket()
    for number in range(2500):
        memory.put(f"{number:06}", b"", placement=Placement.IA)
    inner = FailsFirst(memory)
    found = retrying(inner).list("")
    keys = [next(found).key for _ in range(1000)]
    inner.errors += [DOWN, DOWN]
    keys += [facts.key for facts in found]
    assert keys == sorted(memory.objects)
    assert inner.requests_count == 3 + 2


def test_a_batch_delete_is_a_request_per_thousand() -> None:
    memory = MemBucket()
    inner = FailsFirst(memory, DOWN)
    for number in range(1500):
        memory.put(f"{number}", b"", placement=Placement.IA)
    retrying(inner).delete(list(memory.objects))
    assert memory.objects == {} and inner.requests_count == 3
