"""The script of faults: which requests it meets (pure), and what each fault is to oss2."""

import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import oss2
import pytest
import requests

from tests.oss_server import (
    Delay,
    Fault,
    FlipReceived,
    FlipSent,
    Hang,
    Headers,
    IgnoreRange,
    Kind,
    Operation,
    OssServer,
    Outage,
    Reset,
    Short,
    Slow,
    Stale,
    Swap,
    When,
    denied,
    missing,
    server_error,
    throttling,
)
from tests.oss_server.client import bucket_of, refused
from tests.oss_server.faults import Faults

BODY = bytes(range(256)) * 4096  # 1 MiB: more than the sockets' buffers of a connection that is cut


def effects(faults: Faults, operation: Operation = Operation.GET_OBJECT, key: str = "packs/1") -> int:
    return len(faults.effects_of(operation, method="GET", bucket="b", key=key))


@pytest.mark.parametrize(
    ("fault", "met"),
    [
        pytest.param(Fault(effect=Delay(1)), [1, 0, 0, 0], id="once"),
        pytest.param(Fault(effect=Delay(1), skip=1, count=2), [0, 1, 1, 0], id="the second and third"),
        pytest.param(Fault(effect=Delay(1), count=None), [1, 1, 1, 1], id="for ever"),
        pytest.param(Fault(effect=Delay(1), operation="Put*", count=None), [0, 0, 0, 0], id="another operation"),
        pytest.param(Fault(effect=Delay(1), key="meta/*", count=None), [0, 0, 0, 0], id="another key"),
        pytest.param(Fault(effect=Delay(1), key="packs/*", operation="GetObject"), [1, 0, 0, 0], id="these"),
        pytest.param(Fault(effect=Delay(1), share=0.0, count=None), [0, 0, 0, 0], id="none of them"),
    ],
)
def test_which_requests_are_met(fault: Fault, met: list[int]) -> None:
    faults = Faults()
    faults.plan(fault)
    assert [effects(faults) for _ in met] == met
    assert faults.met == [sum(met)]


def test_a_share_is_the_same_each_time() -> None:
    faults, runs = Faults(seed=7), []
    for _ in range(2):
        faults.plan(Fault(effect=Delay(1), share=0.3, count=None))
        runs.append([effects(faults) for _ in range(1000)])
    assert runs[0] == runs[1] and 250 < sum(runs[0]) < 350


def test_faults_add_up() -> None:
    faults = Faults()
    faults.plan(Fault(effect=Delay(1)), Fault(effect=Delay(2)))
    assert [effects(faults), effects(faults)] == [2, 0]


@pytest.fixture
def bucket(oss: OssServer) -> Any:
    found = bucket_of(oss, enable_crc=False, connect_timeout=(5, 5))
    found.put_object("key", BODY)
    return found


@pytest.mark.parametrize(
    ("effect", "told"),
    [
        pytest.param(server_error(), (500, "InternalError"), id="500"),
        pytest.param(server_error(502), (502, "BadGateway"), id="502"),
        pytest.param(server_error(503), (503, "ServiceUnavailable"), id="503"),
        pytest.param(denied(), (403, "AccessDenied"), id="denied"),
        pytest.param(missing(), (404, "NoSuchKey"), id="missing"),
    ],
)
def test_refusals(oss: OssServer, bucket: Any, effect: Any, told: tuple[int, str]) -> None:
    for call in (bucket.get_object, bucket.head_object, lambda key: bucket.put_object(key, b"other")):
        oss.faults.plan(Fault(effect=effect))
        assert refused(lambda call=call: call("key")) == told  # type: ignore[misc]
    assert bucket.get_object("key").read() == BODY


def test_an_error_may_hide_that_it_was_done(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=server_error(executed=True)))
    assert refused(lambda: bucket.put_object("key", b"other")) == (500, "InternalError")
    assert bucket.get_object("key").read() == b"other"


def test_throttling_says_how_long(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=throttling(1500)))
    with pytest.raises(oss2.exceptions.ServerError) as told:
        bucket.get_object("key")
    assert (told.value.status, told.value.headers["x-oss-qos-delay-time"]) == (503, "1500")


@pytest.mark.parametrize(
    ("when", "is_done"),
    [
        pytest.param(When.BEFORE, False, id="before"),
        pytest.param(When.UPLOADING, False, id="in the middle"),
        pytest.param(When.AFTER, True, id="after"),
    ],
)
def test_resets_of_a_put(oss: OssServer, bucket: Any, when: When, is_done: bool) -> None:
    oss.faults.plan(Fault(effect=Reset(when)))
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.put_object("new", BODY)
    assert bucket.object_exists("new") == is_done
    assert list((oss.folder / "packs" / "incoming").iterdir()) == []


def got(bucket: Any, **more: Any) -> bytes:
    """As our store reads: in one large step, and length unchecked."""
    return bytes(bucket.get_object("key", **more).read(len(BODY) + 1))


BREAKS = (oss2.exceptions.RequestError, oss2.exceptions.InconsistentError)


def breaks(call: Callable[[], Any]) -> bool:
    """Whether oss2, or what is below it, notices by itself."""
    try:
        call()
    except (requests.RequestException, *BREAKS):
        return True
    return False


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER, When.DOWNLOADING])
def test_resets_of_a_get(oss: OssServer, bucket: Any, when: When) -> None:
    oss.faults.plan(Fault(effect=Reset(when)))
    assert breaks(lambda: got(bucket))
    assert got(bucket) == BODY


def test_a_short_body_with_its_own_length_passes_for_whole(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=Short(10, honest=True)))
    assert got(bucket) == BODY[:-10]


def test_a_short_body_with_the_right_length_is_a_break(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=Short(10)))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        got(bucket)
    assert got(bucket) == BODY


@pytest.mark.parametrize("bit", [0, 12345, -1])
def test_a_flipped_bit_on_the_way_down(oss: OssServer, bucket: Any, bit: int) -> None:
    oss.faults.plan(Fault(effect=FlipSent(bit)))
    spoilt = int.from_bytes(got(bucket, byte_range=(0, 9999)), "little")
    assert spoilt ^ int.from_bytes(BODY[:10000], "little") == 1 << bit % 80000
    assert got(bucket) == BODY


@pytest.mark.parametrize("bit", [0, 8 * 300_000 + 3, -1])
def test_a_flipped_bit_on_the_way_up_shows_in_the_crc(oss: OssServer, bucket: Any, bit: int) -> None:
    right = bucket.head_object("key").server_crc
    oss.faults.plan(Fault(effect=FlipReceived(bit)))
    assert bucket.put_object("new", BODY).crc != right
    spoilt = int.from_bytes(bucket.get_object("new").read(), "little")
    assert spoilt ^ int.from_bytes(BODY, "little") == 1 << bit % (8 * len(BODY))
    oss.faults.plan(Fault(effect=FlipReceived(bit)))
    headers = {"Content-MD5": oss2.utils.content_md5(BODY)}
    assert refused(lambda: bucket.put_object("new", BODY, headers=headers)) == (400, "InvalidDigest")


def test_a_stale_read_finds_what_was_before(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=Stale(), count=None))
    assert refused(lambda: bucket.get_object("key")) == (404, "NoSuchKey")
    bucket.put_object("key", b"new")
    assert got(bucket) == BODY
    oss.faults.plan()
    assert got(bucket) == b"new"


def test_a_swapped_object(oss: OssServer, bucket: Any) -> None:
    bucket.put_object("other", b"other")
    oss.faults.plan(Fault(effect=Swap("other"), key="key"))
    assert got(bucket) == b"other"
    assert got(bucket) == BODY


def test_a_range_that_is_ignored(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=IgnoreRange()))
    found = bucket.get_object("key", byte_range=(0, 9))
    assert (found.status, found.read(len(BODY))) == (200, BODY)


def test_headers_that_are_wrong(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=Headers((("x-oss-hash-crc64ecma", None), ("ETag", '"0"')))))
    head = bucket.head_object("key")
    assert (head.server_crc, head.etag) == (None, "0")


def test_what_hangs_is_let_go(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=Hang()))
    noticed: list[bool] = []
    thread = threading.Thread(target=lambda: noticed.append(breaks(lambda: got(bucket))))
    thread.start()
    while not oss.counts.requests(Kind.GET):
        pass
    assert noticed == []
    oss.release()
    thread.join()
    assert noticed == [True]


@pytest.mark.parametrize("executed", [False, True])
def test_what_hangs_was_executed_or_not(oss: OssServer, executed: bool) -> None:
    oss.faults.plan(Fault(effect=Hang(executed)))
    bucket = bucket_of(oss, connect_timeout=(5, 0.05))
    assert breaks(lambda: bucket.put_object("new", BODY))
    while not oss.hanging:
        pass  # it was given up before the server was done
    assert bucket.object_exists("new") == executed


@pytest.mark.parametrize("how", [Outage.REFUSE, Outage.ERRORS])
def test_an_outage(oss: OssServer, bucket: Any, how: Outage) -> None:
    with oss.outage(how):
        if how is Outage.REFUSE:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", oss.port))
            assert breaks(lambda: got(bucket))
        else:
            assert refused(lambda: got(bucket)) == (503, "ServiceUnavailable")
    assert got(bucket) == BODY


def test_an_outage_in_which_nothing_is_answered(oss: OssServer) -> None:
    bucket = bucket_of(oss, connect_timeout=(5, 0.05))
    with oss.outage(Outage.HANG):
        assert breaks(lambda: bucket.put_object("key", b""))
    assert not bucket.object_exists("key")


def test_a_slow_exchange_is_the_only_slow_one(oss: OssServer, bucket: Any) -> None:
    oss.faults.plan(Fault(effect=Slow(len(BODY) / 0.1)))
    began_s = time.monotonic()
    assert got(bucket) == BODY
    slow_s = time.monotonic() - began_s
    assert got(bucket) == BODY
    assert slow_s > 0.07 and time.monotonic() - began_s - slow_s < slow_s


def test_many_clients_and_faults_at_random(oss: OssServer) -> None:
    """Each object is what its client put there last, or was about to."""
    breaking = [Reset(When.BEFORE), Reset(When.AFTER), Reset(When.UPLOADING), Short(3), server_error(executed=True)]
    oss.faults.seed = 1
    oss.faults.plan(*(Fault(effect=effect, share=0.05, count=None) for effect in breaking))
    wrong: list[str] = []

    def client(name: str) -> None:
        bucket, possible = bucket_of(oss, enable_crc=False), {b""}
        for number in range(15):
            body = f"{name} {number} ".encode() * 100
            if breaks_or_refused(partial(bucket.put_object, name, body)):
                possible.add(body)
            else:
                possible = {body}
            seen: list[bytes] = []
            if not breaks_or_refused(partial(read_into, bucket, name, seen)) and seen[0] not in possible:
                wrong.append(f"{name} {number}: {seen[0][:20]!r}")

    threads = [threading.Thread(target=client, args=(f"client {index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and all(oss.faults.met), oss.faults.met


def read_into(bucket: Any, key: str, seen: list[bytes]) -> None:
    seen.append(bucket.get_object(key).read())


def breaks_or_refused(call: Callable[[], Any]) -> bool:
    try:
        return breaks(call)
    except oss2.exceptions.ServerError:
        return True
