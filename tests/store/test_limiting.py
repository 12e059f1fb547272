"""Limits: bytes over time, and requests at once."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudThrottled, CloudUnavailable, ObjectMissing
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import Limits, open_door
from rustfsfs.store.limiting import Bandwidth, Gate, LimitedBucket, TokenBucket, Window, grown, shrunk, take
from tests.store.faultbuckets import FailsFirst, FakeTime
from tests.store.held import Held
from tests.store.membucket import MemBucket

BODY = bytes(1000)


@given(
    rate=st.floats(1, 1e9),
    requests=st.lists(st.tuples(st.integers(1, 1 << 24), st.floats(0, 1000)), min_size=1, max_size=30),
)
def test_no_more_than_the_rate_the_burst_and_one_body(rate: float, requests: list[tuple[int, float]]) -> None:
    bucket = TokenBucket(rate_bytes_s=rate, burst_bytes=rate, tokens=rate, at_s=0.0)
    now_s, before = 0.0, 0
    for size, pause_s in requests:
        now_s += pause_s
        bucket, wait_s = take(bucket, size, now_s=now_s)
        now_s += wait_s
        assert before <= (rate * now_s + rate) * (1 + 1e-9) + 1
        before += size


def test_bytes_are_paid_for_by_the_next() -> None:
    time = FakeTime()
    bandwidth = Bandwidth(100.0, timing=time.timing)
    for size in (1000, 100, 100):
        bandwidth.take(size)
    assert time.slept == pytest.approx([9.0, 1.0])


def test_an_idle_hour_saves_up_a_second() -> None:
    time = FakeTime()
    bandwidth = Bandwidth(100.0, timing=time.timing)
    time.sleep(3600.0)
    bandwidth.take(200)
    bandwidth.take(1)
    assert time.slept[1:] == pytest.approx([1.0])


def test_each_way_has_its_own() -> None:
    time, memory = FakeTime(), MemBucket()
    up, down = Bandwidth(100.0, timing=time.timing), Bandwidth(1000.0, timing=time.timing)
    bucket = LimitedBucket(memory, gate=Gate(4), up=up, down=down)
    bucket.put("k", BODY, placement=Placement.IA)
    bucket.get("k", 0, 1000)
    assert time.slept == []
    bucket.get("k", 0, 1)
    bucket.head("k")
    assert time.slept == []
    bucket.replace("other", b"x")
    assert time.slept == pytest.approx([9.0])


def test_who_gives_way_takes_when_all_else_is_paid_for() -> None:
    time = FakeTime()
    bandwidth = Bandwidth(100.0, timing=time.timing)
    bandwidth.take(1000)
    bandwidth.take_last(400)
    assert time.slept == pytest.approx([9.0])
    bandwidth.take(1)
    assert time.slept == pytest.approx([9.0, 4.0]), "and is waited for like any other, once it has"
    bandwidth.take_last(0)
    assert len(time.slept) == 2


def test_the_ways_of_a_door_do_not_wait_for_one_another() -> None:
    class Stuck(MemBucket):
        def __init__(self) -> None:
            super().__init__()
            self.go, self.inside = threading.Event(), threading.Semaphore(0)

        def head(self, key: str) -> ObjectFacts:
            self.inside.release()
            assert self.go.wait(20)
            return super().head(key)

    bucket = Stuck()
    bucket.put("k", BODY, placement=Placement.IA)
    limits = Limits(read_deadline_s=30.0, concurrency=1, up_bytes_s=0, down_bytes_s=0)
    door = open_door(bucket, Held(), limits=limits, timing=FakeTime().timing)
    threads = [threading.Thread(target=way.head, args=("k",)) for way in (door.uploads, door.reads, door.writes)]
    try:
        for thread in threads:
            thread.start()
            assert bucket.inside.acquire(timeout=20), "each way has a place of its own"
        assert door.front.get("k", 0, 10) == BODY[:10]
    finally:
        bucket.go.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("passed_bytes", "owed_s"),
    [
        pytest.param(0, 0.0, id="nothing went over the line"),
        pytest.param(600, 5.0, id="a part did"),
        pytest.param(None, 9.0, id="nobody knows"),
    ],
)
def test_a_request_that_fails_pays_for_what_has_passed(passed_bytes: int | None, owed_s: float) -> None:
    time, memory, error = FakeTime(), MemBucket(), CloudUnavailable("cut")
    memory.put("k", BODY, placement=Placement.IA)
    error.passed_bytes = passed_bytes
    bandwidth = Bandwidth(100.0, timing=time.timing)
    bucket = LimitedBucket(FailsFirst(memory, error), gate=Gate(1), down=bandwidth)
    with pytest.raises(CloudUnavailable):
        bucket.get("k", 0, 1000)
    bucket.get("k", 0, 1)
    assert sum(time.slept) == pytest.approx(owed_s)


def test_what_is_given_back_saves_up_no_more_than_an_idle_while() -> None:
    time = FakeTime()
    bandwidth = Bandwidth(100.0, timing=time.timing)
    bandwidth.give_back(10_000)
    bandwidth.take(200)
    bandwidth.take(1)
    assert time.slept == pytest.approx([1.0])


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 64))
def test_a_window_stays_within_its_bounds(throttled: list[bool], size_max: int) -> None:
    window = Window(size=float(size_max), size_max=size_max)
    for slow in throttled:
        window = shrunk(window, shrinks_seen=window.shrinks) if slow else grown(window)
        assert 1 <= window.size <= size_max


def test_a_full_window_of_answers_adds_one_place() -> None:
    window = Window(size=4.0, size_max=32)
    for _ in range(5):
        window = grown(window)
    assert 5.0 <= window.size < 5.2


def test_requests_throttled_together_halve_it_once() -> None:
    window = Window(size=16.0, size_max=32)
    for _ in range(16):
        window = shrunk(window, shrinks_seen=0)
    assert window.size == 8.0


def test_a_bucket_that_asks_for_less_gets_less() -> None:
    gate = Gate(16)
    inner = FailsFirst(MemBucket(), *[CloudThrottled("slow")] * 2, *[CloudUnavailable("down")] * 9)
    bucket = LimitedBucket(inner, gate=gate)
    for want in (8, *[4] * 10):
        with pytest.raises(CloudUnavailable):
            bucket.head("k")
        assert gate.size == want
    inner._inner.put("k", b"", placement=Placement.IA)
    for _ in range(200):
        bucket.head("k")
    assert gate.size == 16


def test_what_is_not_there_frees_its_place() -> None:
    bucket = LimitedBucket(MemBucket(), gate=Gate(1))
    for _ in range(3):
        with pytest.raises(ObjectMissing):
            bucket.head("k")


def test_never_more_at_once_than_there_are_places() -> None:
    gate, inside, most, lock = Gate(3), [0], [0], threading.Lock()
    start = threading.Barrier(3)  # three are inside together, or this never ends

    def work() -> None:
        with gate.place():
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            start.wait(10)
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [3]
