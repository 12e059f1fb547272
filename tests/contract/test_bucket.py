"""One contract for the fake bucket and for OSS (the test server): what is proved with one holds with the other."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import DamagedData, ObjectExists, ObjectFrozen, ObjectMissing
from rustfsfs.store.address import BucketAddress
from rustfsfs.store.breaker import Breaker, BreakerPolicy, BreakingBucket
from rustfsfs.store.bucket import Bucket, Restore
from rustfsfs.store.counting import CountingBucket, Requests
from rustfsfs.store.crc64 import crc64
from rustfsfs.store.limiting import Bandwidth, Gate, LimitedBucket
from rustfsfs.store.oss import OssBucket
from rustfsfs.store.refreshing import RefreshingBucket
from rustfsfs.store.retrying import RetryingBucket, RetryPolicy
from tests.oss_server import Clock, OssServer, serving
from tests.store.faultbuckets import FakeTime
from tests.store.held import Held
from tests.store.membucket import MemBucket

LATER_S = 3600.0  # enough for an Archive object's restore


def oss_bucket(server: OssServer, *, bucket: str = "packs", prefix: str = "some/volume") -> OssBucket:
    address = BucketAddress(bucket=bucket, prefix=prefix, endpoint=server.endpoint, region=server.region)
    return OssBucket(address, Held(server.key_id, server.secret, token=""), clock_s=time.monotonic)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OssServer]:
    with serving(tmp_path_factory.mktemp("oss"), clock=Clock()) as server:
        yield server


class Place:
    """A bucket with nothing in it, and how to let time pass there."""

    def __init__(self, bucket: Bucket, advance: Callable[[float], object]) -> None:
        self.bucket = bucket
        self.advance = advance


def fake(server: OssServer, prefix: str) -> Place:
    time = FakeTime(1_800_000_000.0)
    return Place(MemBucket(now_s=time.timing.clock_s), time.sleep)


def oss(server: OssServer, prefix: str) -> Place:
    return Place(oss_bucket(server, prefix=prefix), server.clock.advance)


def wrapped(server: OssServer, prefix: str) -> Place:
    """Every wrapper, in the order that `wrapper` names."""
    inner, time = fake(server, prefix), FakeTime()
    bandwidth = Bandwidth(1e12, timing=time.timing)
    limited = LimitedBucket(CountingBucket(inner.bucket, Requests()), gate=Gate(4), up=bandwidth, down=bandwidth)
    breaker = Breaker(policy=BreakerPolicy(), clock_s=time.timing.clock_s)
    breaking = BreakingBucket(RefreshingBucket(limited, Held()), breaker)
    return Place(RetryingBucket(breaking, policy=RetryPolicy(), timing=time.timing), inner.advance)


@pytest.fixture(params=[fake, oss, wrapped])
def place(request: pytest.FixtureRequest, server: OssServer, tmp_path: Path) -> Place:
    make: Callable[[OssServer, str], Place] = request.param
    return make(server, f"some/{tmp_path.name}")


@pytest.fixture
def bucket(place: Place) -> Bucket:
    return place.bucket


BODY = bytes(range(256)) * 1000


def test_what_is_put_is_read(bucket: Bucket) -> None:
    facts = bucket.put("packs/ab/one", BODY, placement=Placement.IA)
    assert (facts.key, facts.size_bytes, facts.crc64) == ("packs/ab/one", len(BODY), crc64(BODY))
    assert facts.placement is Placement.IA and facts.readable
    assert bucket.get("packs/ab/one", 0, len(BODY)) == BODY
    found = bucket.head("packs/ab/one")
    assert (found.key, found.size_bytes, found.crc64, found.placement, found.restore) == (
        (facts.key, facts.size_bytes, facts.crc64, facts.placement, Restore.NONE)
    )
    assert abs(found.modified_s - facts.modified_s) < 86400


@pytest.mark.parametrize("body", [b"", b"x", memoryview(BODY)[3:70000]], ids=["nothing", "a byte", "a view"])
def test_bodies(bucket: Bucket, body: bytes | memoryview) -> None:
    facts = bucket.put("k", body, placement=Placement.STANDARD)
    assert (facts.size_bytes, facts.crc64) == (len(body), crc64(body))
    assert bucket.get("k", 0, len(body)) == bytes(body)


def test_a_put_overwrites_nothing(bucket: Bucket) -> None:
    bucket.put("k", b"first", placement=Placement.STANDARD)
    with pytest.raises(ObjectExists):
        bucket.put("k", b"other", placement=Placement.STANDARD)
    assert bucket.get("k", 0, 5) == b"first"


def test_a_replacement_does(bucket: Bucket) -> None:
    bucket.replace("head", b"first")
    assert bucket.replace("head", b"second").crc64 == crc64(b"second")
    assert bucket.get("head", 0, 6) == b"second"
    assert bucket.head("head").placement is Placement.STANDARD


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        pytest.param(0, 1, id="the first byte"),
        pytest.param(len(BODY) - 1, 1, id="the last byte"),
        pytest.param(100, 0, id="nothing"),
        pytest.param(len(BODY), 0, id="nothing at the end"),
        pytest.param(255, 70_000, id="within"),
    ],
)
def test_ranges(bucket: Bucket, offset: int, size: int) -> None:
    bucket.put("k", BODY, placement=Placement.STANDARD)
    assert bucket.get("k", offset, size) == BODY[offset : offset + size]


@pytest.mark.parametrize(
    ("offset", "size"), [pytest.param(9, 2, id="over the end"), pytest.param(10, 1, id="behind it")]
)
def test_a_range_that_is_not_there_is_damage(bucket: Bucket, offset: int, size: int) -> None:
    bucket.put("k", b"0123456789", placement=Placement.STANDARD)
    with pytest.raises(DamagedData):
        bucket.get("k", offset, size)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(lambda bucket: bucket.get("gone", 0, 1), id="get"),
        pytest.param(lambda bucket: bucket.head("gone"), id="head"),
        pytest.param(lambda bucket: bucket.restore("gone", days=1), id="restore"),
        pytest.param(lambda bucket: bucket.reclass("gone", placement=Placement.IA), id="reclass"),
    ],
)
def test_a_missing_object(bucket: Bucket, action: Callable[[Bucket], object]) -> None:
    bucket.put("gone-not-quite", b"", placement=Placement.STANDARD)
    with pytest.raises(ObjectMissing, match="gone"):
        action(bucket)


def test_deleting_twice_is_fine(bucket: Bucket) -> None:
    for key in ("a", "b", "c"):
        bucket.put(key, b"", placement=Placement.STANDARD)
    bucket.delete(["a", "c", "never-there"])
    bucket.delete(["a"])
    bucket.delete([])
    assert [facts.key for facts in bucket.list("")] == ["b"]


def test_lists_are_by_key(bucket: Bucket) -> None:
    for key in ("p/b", "p/a", "p/a/z", "p-", "q", "P"):
        bucket.put(key, key.encode(), placement=Placement.IA)
    found = list(bucket.list("p/"))
    assert [(facts.key, facts.size_bytes, facts.placement) for facts in found] == [
        ("p/a", 3, Placement.IA),
        ("p/a/z", 5, Placement.IA),
        ("p/b", 3, Placement.IA),
    ]
    assert [facts.key for facts in bucket.list("")] == ["P", "p-", "p/a", "p/a/z", "p/b", "q"]
    assert [facts.key for facts in bucket.list("p", after="p/a")] == ["p/a/z", "p/b"]
    assert list(bucket.list("x")) == []


def test_a_frozen_object_is_read_after_its_restore(place: Place) -> None:
    bucket = place.bucket
    bucket.put("k", b"ice", placement=Placement.ARCHIVE)
    assert not bucket.head("k").readable
    with pytest.raises(ObjectFrozen):
        bucket.get("k", 0, 3)
    assert bucket.restore("k", days=1) is Restore.RUNNING
    assert bucket.restore("k", days=1) is Restore.RUNNING
    assert bucket.head("k").restore is Restore.RUNNING
    place.advance(LATER_S)
    assert bucket.head("k").restore is Restore.READY
    assert bucket.restore("k", days=1) is Restore.READY
    assert bucket.get("k", 0, 3) == b"ice"


def test_nothing_thaws_what_is_not_frozen(bucket: Bucket) -> None:
    bucket.put("k", b"", placement=Placement.IA)
    assert bucket.restore("k", days=1) is Restore.NONE


def test_another_class_changes_the_class_and_its_time_and_nothing_else(place: Place) -> None:
    bucket = place.bucket
    bucket.put("packs/ab/one", BODY, placement=Placement.STANDARD)
    was = bucket.head("packs/ab/one")
    place.advance(LATER_S)
    facts = bucket.reclass("packs/ab/one", placement=Placement.IA)
    assert (facts.key, facts.size_bytes, facts.crc64, facts.placement) == (was.key, len(BODY), was.crc64, Placement.IA)
    assert LATER_S - 2 <= facts.modified_s - was.modified_s <= LATER_S + 60
    assert bucket.head("packs/ab/one") == facts
    assert bucket.get("packs/ab/one", 0, len(BODY)) == BODY
    assert bucket.reclass("packs/ab/one", placement=Placement.STANDARD).placement is Placement.STANDARD


def test_nothing_happens_to_an_object_that_is_of_the_class_already(place: Place) -> None:
    place.bucket.put("k", b"cold", placement=Placement.IA)
    before = place.bucket.head("k")
    place.advance(LATER_S)
    assert place.bucket.reclass("k", placement=Placement.IA) == before == place.bucket.head("k")


def test_a_frozen_object_changes_its_class_after_its_restore(place: Place) -> None:
    bucket = place.bucket
    bucket.put("k", b"ice", placement=Placement.ARCHIVE)
    with pytest.raises(ObjectFrozen):
        bucket.reclass("k", placement=Placement.STANDARD)
    assert bucket.head("k").placement is Placement.ARCHIVE
    bucket.restore("k", days=1)
    place.advance(LATER_S)
    facts = bucket.reclass("k", placement=Placement.STANDARD)
    assert (facts.placement, facts.restore) == (Placement.STANDARD, Restore.NONE)
    assert bucket.get("k", 0, 3) == b"ice"


def test_of_several_puts_at_once_one_wins(bucket: Bucket) -> None:
    outcomes: list[bool] = []

    def put(body: bytes) -> None:
        try:
            bucket.put("k", body, placement=Placement.STANDARD)
            outcomes.append(True)
        except ObjectExists:
            outcomes.append(False)

    threads = [threading.Thread(target=put, args=(bytes([n]),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]


def test_its_name_is_an_address(bucket: Bucket) -> None:
    assert bucket.name.startswith("oss://")


@pytest.mark.slow  # a thousand PUTs over HTTP: 2.4 s
def test_many_objects_come_in_pages(bucket: Bucket) -> None:
    keys = [f"{number:04}" for number in range(1001)]  # one more than a page, and than a batch delete
    for key in keys:
        bucket.put(key, b"", placement=Placement.STANDARD)
    assert [facts.key for facts in bucket.list("")] == keys
    bucket.delete(keys)
    assert list(bucket.list("")) == []
