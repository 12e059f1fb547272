"""The whole stack on the test server, whatever the network does: the right bytes or one of our errors, in the end.

The waiting costs no time: the wrappers' clock is the test's.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rustfsfs.bucketfacts import Placement, Versioning
from rustfsfs.errors import (
    CircuitOpen,
    CloudRefused,
    CloudUnavailable,
    DamagedData,
    ObjectMissing,
    RustfsfsError,
)
from rustfsfs.store.address import BucketAddress
from rustfsfs.store.breaker import Breaker, BreakerPolicy, BreakingBucket
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.crc64 import crc64
from rustfsfs.store.credentials import CredentialSource, FileSource
from rustfsfs.store.imds import RamRoleSource
from rustfsfs.store.limiting import Gate, LimitedBucket
from rustfsfs.store.oss import OssBucket, Timeouts
from rustfsfs.store.refreshing import RefreshingBucket
from rustfsfs.store.retrying import RetryingBucket, RetryPolicy
from tests.oss_server import (
    Fault,
    FlipReceived,
    Hang,
    Headers,
    IgnoreRange,
    OssServer,
    Outage,
    Reset,
    Short,
    Stale,
    When,
    denied,
    missing,
    server_error,
    serving,
    throttling,
)
from tests.oss_server.client import bucket_of
from tests.oss_server.ecs import ecs_serving
from tests.oss_server.faults import Effect
from tests.store.faultbuckets import FakeTime
from tests.store.held import Held

BODY = bytes(range(256)) * 4096  # 1 MiB
PATIENT = Timeouts()
SHORT = Timeouts(read_s=0.1)  # of the stack, which tries again when a busy machine takes longer


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OssServer]:
    with serving(tmp_path_factory.mktemp("oss")) as server:
        yield server


@pytest.fixture
def server(shared: OssServer) -> Iterator[OssServer]:
    yield shared
    shared.faults.plan()
    shared.release()
    shared.clock.skew_s = 0.0
    oss_bucket(shared).delete([facts.key for facts in oss_bucket(shared).list("")])


def held(server: OssServer) -> Held:
    return Held(server.key_id, server.secret, token="")


def oss_bucket(
    server: OssServer,
    source: CredentialSource | None = None,
    *,
    bucket: str = "packs",
    region: str = "",
    timeouts: Timeouts = PATIENT,
) -> OssBucket:
    address = BucketAddress(bucket=bucket, prefix="v", endpoint=server.endpoint, region=region or server.region)
    return OssBucket(address, source or held(server), clock_s=lambda: 0.0, timeouts=timeouts)


class Stack:
    """All of it, in the order that `wrapper` names."""

    def __init__(self, server: OssServer, source: CredentialSource | None = None) -> None:
        self.time = FakeTime()
        source = source or held(server)
        self.gate = Gate(16)
        self.breaker = Breaker(policy=BreakerPolicy(failures_max=5), clock_s=self.time.timing.clock_s)
        inner: Bucket = LimitedBucket(oss_bucket(server, source, timeouts=SHORT), gate=self.gate)
        inner = BreakingBucket(RefreshingBucket(inner, source), self.breaker)
        self.bucket = RetryingBucket(inner, policy=RetryPolicy(), timing=self.time.timing)


@pytest.mark.parametrize(
    ("effect", "count"),
    [
        pytest.param(server_error(), 2, id="500"),
        pytest.param(server_error(503), 2, id="503"),
        pytest.param(server_error(executed=True), 1, id="500, and yet it was done"),
        pytest.param(throttling(100), 2, id="throttled"),
        pytest.param(Reset(When.BEFORE), 2, id="reset before"),
        pytest.param(Reset(When.UPLOADING), 2, id="reset within"),
        pytest.param(Reset(When.AFTER), 1, id="the answer is lost"),
        pytest.param(Reset(When.AFTER), 2, id="the next answer as well"),
        pytest.param(Hang(), 2, id="silence"),
        pytest.param(FlipReceived(12345), 2, id="a bit flipped on the way"),
        pytest.param(denied(), 1, id="refused once: the credentials are looked for again"),
    ],
)
def test_a_put_is_done_once_and_right(server: OssServer, effect: Effect, count: int) -> None:
    stack = Stack(server)
    server.faults.plan(Fault(effect=effect, operation="PutObject", count=count))
    facts = stack.bucket.put("packs/1", BODY, placement=Placement.IA)
    assert server.faults.met == [count]
    assert (facts.size_bytes, facts.crc64) == (len(BODY), crc64(BODY))
    assert stack.bucket.get("packs/1", 0, len(BODY)) == BODY
    assert [found.key for found in stack.bucket.list("")] == ["packs/1"]


@pytest.mark.parametrize(
    "effect",
    [
        pytest.param(server_error(), id="500"),
        pytest.param(throttling(100), id="throttled"),
        pytest.param(Reset(When.BEFORE), id="reset before"),
        pytest.param(Reset(When.AFTER), id="reset after"),
        pytest.param(Reset(When.DOWNLOADING), id="reset within"),
        pytest.param(Hang(), id="silence"),
        pytest.param(Short(10), id="short, with a wrong length"),
        pytest.param(Short(10, honest=True), id="short, with its right length"),
        pytest.param(IgnoreRange(), id="the whole object"),
    ],
)
def test_a_get_gives_the_right_bytes_in_the_end(server: OssServer, effect: Effect) -> None:
    stack = Stack(server)
    stack.bucket.put("packs/1", BODY, placement=Placement.IA)
    server.faults.plan(Fault(effect=effect, operation="GetObject", count=2))
    assert stack.bucket.get("packs/1", 1000, 100_000) == BODY[1000:101_000]
    assert server.faults.met == [2]


@pytest.mark.parametrize(
    ("effect", "want"),
    [
        pytest.param(server_error(), CloudUnavailable, id="500"),
        pytest.param(throttling(), CloudUnavailable, id="throttled"),
        pytest.param(Reset(When.DOWNLOADING), CloudUnavailable, id="reset"),
        pytest.param(Short(1, honest=True), DamagedData, id="short"),
        pytest.param(IgnoreRange(), DamagedData, id="the whole object"),
        pytest.param(denied(), CloudRefused, id="refused"),
        pytest.param(missing(), ObjectMissing, id="missing"),
        pytest.param(Stale(), ObjectMissing, id="not there yet"),
    ],
)
def test_for_ever_is_an_error(server: OssServer, effect: Effect, want: type[RustfsfsError]) -> None:
    stack = Stack(server)
    stack.bucket.put("packs/1", BODY, placement=Placement.IA)
    server.faults.plan(Fault(effect=effect, operation="GetObject", count=None))
    with pytest.raises(want):
        stack.bucket.get("packs/1", 0, 1000)
    assert stack.time.now_s <= 30


def test_a_put_of_which_every_answer_is_wrong_is_never_called_done(server: OssServer) -> None:
    server.faults.plan(
        Fault(effect=Headers((("x-oss-hash-crc64ecma", "1"),)), operation="*Object", method="PUT", count=None),
        Fault(effect=Headers((("x-oss-hash-crc64ecma", "1"),)), operation="HeadObject", count=None),
    )
    with pytest.raises(RustfsfsError):
        Stack(server).bucket.put("packs/1", BODY, placement=Placement.IA)


def test_an_outage_of_an_hour(server: OssServer) -> None:
    stack = Stack(server)
    stack.bucket.put("packs/1", BODY, placement=Placement.IA)
    server.begin_outage(Outage.REFUSE)
    try:
        with pytest.raises(CloudUnavailable, match="refused"):
            stack.bucket.get("packs/1", 0, 1)
        while stack.time.now_s < 3600:
            with pytest.raises(CircuitOpen, match="refused"):
                stack.bucket.get("packs/1", 0, 1)
            stack.time.sleep(60)
    finally:
        server.end_outage()
    facts = stack.breaker.facts()
    assert facts.open and facts.failing_for_s is not None and facts.failing_for_s > 3500
    assert facts.failed_count < 100, "an hour, and few attempts"
    stack.time.sleep(120)
    assert stack.bucket.get("packs/1", 0, 1000) == BODY[:1000]
    assert not stack.breaker.facts().open


def test_throttling_makes_it_ask_less_at_once(server: OssServer) -> None:
    stack = Stack(server)
    server.faults.plan(Fault(effect=throttling(2000), count=3))
    stack.bucket.put("k", b"x", placement=Placement.IA)
    assert stack.gate.size == 2 and stack.time.now_s > 6


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(lambda server: oss_bucket(server, Held(secret="wrong")), "access key id", id="an unknown key"),
        pytest.param(
            lambda server: oss_bucket(server, Held(server.key_id, "wrong", "")),
            "access key secret",
            id="a wrong secret",
        ),
        pytest.param(lambda server: oss_bucket(server, region="cn-elsewhere"), "correct --region", id="a wrong region"),
        pytest.param(lambda server: oss_bucket(server, bucket="nobodys"), "does not exist", id="no such bucket"),
        pytest.param(lambda server: oss_bucket(server, bucket="far-away"), "oss-cn-far.aliyuncs.com", id="elsewhere"),
    ],
)
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda bucket: bucket.head("k"), id="head"),
        pytest.param(lambda bucket: bucket.get("k", 0, 1), id="get"),
        pytest.param(lambda bucket: bucket.put("k", b"x", placement=Placement.IA), id="put"),
        pytest.param(lambda bucket: bucket.delete(["k"]), id="delete"),
        pytest.param(lambda bucket: list(bucket.list("")), id="list"),
        pytest.param(lambda bucket: bucket.facts(), id="facts"),
        pytest.param(lambda bucket: bucket.lifecycle(), id="lifecycle"),
    ],
)
def test_what_is_set_up_wrong_is_refused_in_words(
    server: OssServer, broken: Callable[[OssServer], OssBucket], words: str, act: Callable[[OssBucket], object]
) -> None:
    if "far-away" not in server.store.buckets:
        server.create_bucket("far-away", region="cn-far")
    with pytest.raises(CloudRefused, match=words):
        act(broken(server))


@pytest.mark.parametrize("skew_s", [3600.0, -3600.0])
def test_a_wrong_clock(server: OssServer, skew_s: float) -> None:
    bucket = oss_bucket(server)
    true_s = bucket.server_time_s()
    server.clock.skew_s = skew_s
    with pytest.raises(CloudRefused, match="clock"):
        bucket.get("k", 0, 1)
    assert abs(bucket.server_time_s() - true_s - skew_s) < 10


def test_versioning_is_seen(server: OssServer) -> None:
    server.create_bucket("versions")
    bucket = oss_bucket(server, bucket="versions")
    assert bucket.facts().versioning is Versioning.OFF and bucket.facts().placement is Placement.STANDARD
    bucket_of(server, "versions").put_bucket_versioning(_enabled())
    assert bucket.facts().versioning is Versioning.ENABLED
    for body in (b"first", b"other"):
        bucket.put("k", body, placement=Placement.STANDARD)  # which is why it must be seen (OSS.md)
    assert bucket.get("k", 0, 5) == b"other"


def _enabled() -> object:
    from oss2.models import BucketVersioningConfig

    config = BucketVersioningConfig()
    config.status = "Enabled"
    return config


def test_a_role_from_the_instance_to_the_bucket(server: OssServer) -> None:
    with ecs_serving(server) as ecs:
        source = RamRoleSource(now_s=server.clock.wall_s, service=ecs.endpoint)
        stack = Stack(server, source)
        stack.bucket.put("k", b"x", placement=Placement.IA)
        for key_id in [key_id for key_id in server.keys if key_id.startswith("STS.")]:
            del server.keys[key_id]  # revoked before their time
        assert stack.bucket.get("k", 0, 1) == b"x"
    assert ecs.asked.count("PUT /latest/api/token") == 2


def test_a_token_in_a_file_is_renewed(server: OssServer, tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"

    def renew() -> None:
        key = server.issue_key()
        path.touch(0o600)
        path.write_text(
            f'access_key_id = "{key.key_id}"\naccess_key_secret = "{key.secret}"\nsecurity_token = "{key.token}"\n'
        )

    renew()
    stack = Stack(server, FileSource(str(path), now_s=server.clock.wall_s))
    stack.bucket.put("k", b"x", placement=Placement.IA)
    server.clock.skew_s = 600.0
    for key in [key for key in server.keys if key.startswith("STS.")]:
        del server.keys[key]
    with pytest.raises(CloudRefused, match="access key id"):
        stack.bucket.head("k")
    renew()
    assert stack.bucket.get("k", 0, 1) == b"x"
