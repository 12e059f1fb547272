"""Each request that is sent is counted once, by kind, class and outcome."""

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudRefused, CloudThrottled, CloudUnavailable, ObjectMissing, RustfsfsError
from rustfsfs.store.bucket import PAGE_KEYS_MAX, Bucket
from rustfsfs.store.cold import Limits, open_door
from rustfsfs.store.counting import CountingBucket, Request, Requests
from tests.store.faultbuckets import FailsFirst, FakeTime
from tests.store.held import Held
from tests.store.membucket import MemBucket


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def inner() -> MemBucket:
    return MemBucket(now_s=FakeTime(1_800_000_000.0).timing.clock_s)


@pytest.fixture
def bucket(inner: MemBucket, requests: Requests) -> Bucket:
    return CountingBucket(inner, requests)


def test_each_kind_is_counted_with_its_class(bucket: Bucket, requests: Requests) -> None:
    bucket.put("packs/a", b"1", placement=Placement.IA)
    bucket.put("packs/b", b"1", placement=Placement.ARCHIVE)
    bucket.replace("meta/x", b"2")
    bucket.get("packs/a", 0, 1)
    bucket.get("packs/a", 0, 1)
    bucket.head("packs/a")
    bucket.reclass("packs/a", placement=Placement.STANDARD)
    bucket.restore("packs/b", days=1)
    bucket.delete(["packs/a", "packs/b"])
    assert requests.counts() == {
        Request("put", "IA", "answered"): 1,
        Request("put", "Archive", "answered"): 1,
        Request("replace", "Standard", "answered"): 1,
        Request("get", "", "answered"): 2,
        Request("head", "", "answered"): 1,
        Request("reclass", "Standard", "answered"): 1,
        Request("restore", "", "answered"): 1,
        Request("delete", "", "answered"): 1,
    }


def test_each_page_of_a_list_is_one(inner: MemBucket, bucket: Bucket, requests: Requests) -> None:
    for number in range(PAGE_KEYS_MAX + 1):
        inner.put(f"k{number:05}", b"", placement=Placement.STANDARD)
    next(bucket.list("k"))
    assert sum(requests.counts().values()) == 1
    assert len(list(bucket.list("k"))) == PAGE_KEYS_MAX + 1
    assert sum(requests.counts().values()) == 3


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(ObjectMissing("not there"), "answered", id="no such object is an answer"),
        pytest.param(CloudThrottled("slower"), "throttled", id="slower"),
        pytest.param(CloudUnavailable("no answer"), "failed", id="no answer"),
        pytest.param(CloudRefused("no"), "refused", id="refused"),
    ],
)
def test_the_outcome_is_told(inner: MemBucket, requests: Requests, error: RustfsfsError, outcome: str) -> None:
    bucket = CountingBucket(FailsFirst(inner, error), requests)
    with pytest.raises(type(error)):
        bucket.head("k")
    assert requests.counts() == {Request("head", "", outcome): 1}


def test_behind_a_door_each_attempt_counts(inner: MemBucket) -> None:
    inner.put("k", b"x", placement=Placement.STANDARD)
    limits = Limits(read_deadline_s=60, concurrency=1, up_bytes_s=0, down_bytes_s=0)
    failing = FailsFirst(inner, *(CloudUnavailable("no answer") for _ in range(2)))
    door = open_door(failing, Held(), limits=limits, timing=FakeTime().timing)
    assert door.reads.get("k", 0, 1) == b"x"
    door.writes.head("k")
    assert door.requests.counts() == {
        Request("get", "", "failed"): 2,
        Request("get", "", "answered"): 1,
        Request("head", "", "answered"): 1,
    }
