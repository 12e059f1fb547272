"""The door's limits: they reach the requests, and can be changed while the door is in use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudUnavailable
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import WRITE_DEADLINE_S, Door, Limits, change_limits, open_door
from tests.store.faultbuckets import FailsFirst, FakeTime
from tests.store.held import Held
from tests.store.membucket import MemBucket

LIMITS = Limits(read_deadline_s=30.0, concurrency=1, up_bytes_s=0, down_bytes_s=0)
OTHERS = Limits(read_deadline_s=2.0, concurrency=2, up_bytes_s=100, down_bytes_s=10)
BODY = bytes(1000)


def door_with(bucket: MemBucket | FailsFirst, time: FakeTime, limits: Limits = LIMITS) -> Door:
    return open_door(bucket, Held(), limits=limits, timing=time.timing)


@pytest.mark.parametrize("is_changed", [False, True])
def test_rates_are_kept_each_way(is_changed: bool) -> None:
    time = FakeTime()
    door = door_with(MemBucket(), time, LIMITS if is_changed else OTHERS)
    if is_changed:
        door.writes.put("k0", BODY, placement=Placement.STANDARD)
        change_limits(door, OTHERS)
    for number in (1, 2):
        door.writes.put(f"k{number}", BODY, placement=Placement.STANDARD)
    assert sum(time.slept) == pytest.approx(9.0)
    door.reads.get("k1", 0, 100)
    door.reads.get("k1", 0, 100)
    assert sum(time.slept) == pytest.approx(18.0)


def test_a_shorter_deadline_is_that_of_readers_only() -> None:
    def failing_s(read: bool) -> float:
        time = FakeTime()
        door = door_with(FailsFirst(MemBucket(), *[CloudUnavailable("no network")] * 500), time)
        change_limits(door, OTHERS)
        with pytest.raises(CloudUnavailable):
            (door.reads if read else door.writes).head("k")
        return sum(time.slept)

    assert failing_s(True) <= OTHERS.read_deadline_s < failing_s(False) <= WRITE_DEADLINE_S


class Meeting(MemBucket):
    """HEADs are answered once two are there."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2)

    def head(self, key: str) -> ObjectFacts:
        self.barrier.wait(20)
        return super().head(key)


def test_more_requests_go_at_once_each_way() -> None:
    bucket = Meeting()
    bucket.put("k", BODY, placement=Placement.STANDARD)
    door = door_with(bucket, FakeTime())
    change_limits(door, OTHERS)
    for way in (door.reads, door.writes):
        with ThreadPoolExecutor(2) as pool:
            assert [facts.size_bytes for facts in pool.map(way.head, ["k", "k"])] == [1000, 1000]
