"""Limits: bytes over time, and requests at once."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudThrottled, CloudUnavailable, ObjectMissing
from rustfsfs.store.limiting import Bandwidth, Gate, LimitedBucket, TokenBucket, Window, grown, resized, shrunk, take
from tests.store.faultbuckets import FailsFirst, FakeTime
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


def test_a_new_rate_is_that_of_what_is_owed_too() -> None:
    time = FakeTime()
    bandwidth = Bandwidth(100.0, timing=time.timing)
    bandwidth.take(1100)
    bandwidth.change(1000.0)
    bandwidth.take(1)
    assert time.slept == pytest.approx([1.0])
    bandwidth.change(0.0)
    bandwidth.take(1 << 40)
    assert (bandwidth.rate_bytes_s, len(time.slept)) == (0.0, 1)
    bandwidth.change(100.0)
    bandwidth.take(100)
    assert len(time.slept) == 1, "a second's worth is saved up"
    bandwidth.take(100)
    bandwidth.take(1)
    assert time.slept[1:] == pytest.approx([1.0])


@pytest.mark.parametrize(("rate", "slept_s"), [(1e6, [10.0, 0.009]), (0.0, [10.0])], ids=["a higher one", "none"])
def test_who_sleeps_sees_a_new_rate_within_ten_seconds(rate: float, slept_s: list[float]) -> None:
    time = FakeTime()

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        bandwidth.change(rate)

    bandwidth = Bandwidth(100.0, timing=replace(time.timing, sleep=sleep))
    bandwidth.take(10_100)
    bandwidth.take(1)
    assert time.slept == pytest.approx(slept_s)


@pytest.mark.parametrize(
    ("window", "size_max", "want"),
    [
        pytest.param(Window(size=16.0, size_max=16), 4, 4.0, id="fewer"),
        pytest.param(Window(size=16.0, size_max=16), 32, 32.0, id="more"),
        pytest.param(Window(size=3.0, size_max=16, shrinks=1), 32, 3.0, id="more, but it was asked to slow down"),
        pytest.param(Window(size=3.0, size_max=16, shrinks=1), 2, 2.0, id="fewer than it was slowed down to"),
    ],
)
def test_a_window_has_another_maximum(window: Window, size_max: int, want: float) -> None:
    found = resized(window, size_max)
    assert (found.size, found.size_max, found.shrinks) == (want, size_max, window.shrinks)


def test_who_waits_at_a_gate_comes_in_when_it_becomes_wider() -> None:
    gate, inside = Gate(1), threading.Event()

    def enter() -> None:
        with gate.place():
            inside.set()

    with gate.place():
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not inside.wait(0.05)
        gate.resize(2)
        assert inside.wait(20)
    waiting.join()
