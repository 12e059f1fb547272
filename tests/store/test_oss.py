"""OssBucket: what it sends, and what it makes of answers that are errors, or wrong, or none."""

import ast
import base64
import hashlib
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import (
    CloudRefused,
    CloudThrottled,
    CloudUnavailable,
    DamagedData,
    ObjectExists,
    ObjectFrozen,
    ObjectMissing,
    RustfsfsError,
    StoreError,
)
from rustfsfs.store import oss
from rustfsfs.store.address import BucketAddress
from rustfsfs.store.bodies import READ_SIZE
from rustfsfs.store.crc64 import crc64
from rustfsfs.store.oss import OssBucket, Timeouts
from tests.store.canned import Script, answer, canned, oss_error
from tests.store.held import KEY_ID, SECRET, TOKEN, Held

DATE = "Thu, 26 Nov 2026 12:00:00 GMT"
PATIENT = Timeouts()
BODY = b"0123456789"
CRC = str(crc64(BODY))


def bucket_at(
    endpoint: str, *, clock_s: Callable[[], float] = time.monotonic, timeouts: Timeouts = PATIENT
) -> OssBucket:
    address = BucketAddress(bucket="packs", prefix="v", endpoint=endpoint, region="cn-test")
    return OssBucket(address, Held(), clock_s=clock_s, timeouts=timeouts)


def put(bucket: OssBucket) -> object:
    return bucket.put("k", BODY, placement=Placement.IA)


def get(bucket: OssBucket) -> object:
    return bucket.get("k", 2, 4)


def head(bucket: OssBucket) -> object:
    return bucket.head("k")


def list_all(bucket: OssBucket) -> object:
    return list(bucket.list(""))


def part(body: bytes = b"2345", content_range: str = "bytes 2-5/10", status: str = "206 Partial", **more: str) -> bytes:
    return answer(status, body, content_range=content_range, **more)


EMPTY_LIST = answer("200 OK", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")


def hang(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side gives up


def cut(connection: socket.socket) -> None:
    """An answer that breaks off."""
    connection.sendall(part()[:-2])


@pytest.mark.parametrize(
    ("act", "script", "want", "words"),
    [
        pytest.param(put, oss_error("409 Conflict", "FileAlreadyExists"), ObjectExists, "v: k is in", id="exists"),
        pytest.param(get, oss_error("404 No", "NoSuchKey"), ObjectMissing, "v: k is not", id="missing"),
        pytest.param(get, oss_error("403 No", "InvalidObjectState"), ObjectFrozen, "restore", id="frozen"),
        pytest.param(get, oss_error("404 No", "NoSuchBucket"), CloudRefused, "does not exist", id="no bucket"),
        pytest.param(get, oss_error("403 No", "InvalidAccessKeyId"), CloudRefused, "access key id", id="key id"),
        pytest.param(get, oss_error("403 No", "SignatureDoesNotMatch"), CloudRefused, "secret", id="secret"),
        pytest.param(get, oss_error("403 No", "SecurityTokenExpired"), CloudRefused, "renew", id="token"),
        pytest.param(get, oss_error("403 No", "RequestTimeTooSkewed"), CloudRefused, "clock", id="clock"),
        pytest.param(get, oss_error("403 No", "AccessDenied"), CloudRefused, "allow oss:", id="policy"),
        pytest.param(
            get,
            oss_error("403 No", "AccessDenied", "<Endpoint>oss-cn-x.aliyuncs.com</Endpoint>"),
            CloudRefused,
            "oss-cn-x.aliyuncs.com",
            id="another region",
        ),
        pytest.param(
            head, answer("400 Bad", x_oss_ec="0002-00000228"), CloudRefused, "correct --region", id="a wrong region"
        ),
        pytest.param(get, oss_error("400 Bad", "Unheard"), CloudRefused, r"Unheard, request 5F00", id="unknown"),
        pytest.param(get, oss_error("500 Oops", "InternalError"), CloudUnavailable, "InternalError", id="5xx"),
        pytest.param(get, oss_error("400 Bad", "RequestTimeout"), CloudUnavailable, "RequestTimeout", id="timeout"),
        pytest.param(get, answer("429 Slow"), CloudThrottled, "fewer", id="too many requests"),
        pytest.param(get, oss_error("503 No", "Busy", retry_after="1"), CloudThrottled, "fewer", id="come back later"),
        pytest.param(get, answer("502 Bad", b"<html>"), CloudUnavailable, "502", id="a gateway"),
        pytest.param(get, answer("404 Not Found", b"<html>"), CloudUnavailable, "not what answers", id="not OSS"),
        pytest.param(get, answer("302 Found", location="http://127.0.0.1:9/"), CloudUnavailable, "else", id="redirect"),
        pytest.param(get, oss_error("416 No", "InvalidRange"), DamagedData, "shorter", id="behind the end"),
        pytest.param(
            put, oss_error("400 Bad", "InvalidDigest"), DamagedData, "did not arrive", id="changed on the way"
        ),
        pytest.param(put, answer("200 OK", date=DATE), CloudRefused, "no CRC", id="a put without a CRC"),
        pytest.param(
            put, answer("200 OK", date=DATE, x_oss_hash_crc64ecma="7"), DamagedData, "CRC-64", id="a wrong CRC"
        ),
        pytest.param(put, answer("200 OK", x_oss_hash_crc64ecma=CRC), CloudUnavailable, "not OSS's", id="no date"),
        pytest.param(get, part(BODY, "", "200 OK"), DamagedData, "other bytes", id="the whole object"),
        pytest.param(get, part(status="200 OK"), DamagedData, "other bytes", id="a range that is called none"),
        pytest.param(get, part(content_range="bytes 3-6/10"), DamagedData, "other bytes", id="another range"),
        pytest.param(get, part(b"234", "bytes 2-4/10"), DamagedData, "other bytes", id="a shorter range"),
        pytest.param(get, part(b"234"), DamagedData, "other bytes", id="a short body with its right length"),
        pytest.param(get, cut, CloudUnavailable, "connection broke", id="a short body with a wrong length"),
        pytest.param(get, part(content_range="pages 2-5"), DamagedData, "other bytes", id="no range at all"),
        pytest.param(get, b"HTTP/9 what?\r\n\r\n", CloudUnavailable, "cannot be reached", id="not HTTP"),
        pytest.param(get, b"", CloudUnavailable, "connection broke", id="nothing"),
        pytest.param(list_all, answer("200 OK", b"<html>"), CloudUnavailable, "not OSS's", id="a list that is no XML"),
        pytest.param(list_all, answer("200 OK", b"<a/>"), CloudUnavailable, "not OSS's", id="a list that is none"),
        pytest.param(
            list_all,
            answer(
                "200 OK",
                b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>"
                b"</ListBucketResult>",
            ),
            CloudUnavailable,
            "there is more",
            id="a list without end",
        ),
        pytest.param(
            lambda bucket: bucket.delete(["a", "b"]),
            answer("200 OK", b"<DeleteResult><Deleted><Key>v/a</Key></Deleted></DeleteResult>"),
            CloudUnavailable,
            "did not delete v/b",
            id="half a delete",
        ),
        pytest.param(head, answer("200 OK"), CloudUnavailable, "not OSS's", id="a head that says nothing"),
    ],
)
def test_every_bad_answer_is_one_of_our_errors(
    act: Callable[[OssBucket], object], script: Script, want: type[RustfsfsError], words: str
) -> None:
    with canned(script) as server, pytest.raises(want, match=words) as caught:
        act(bucket_at(server.endpoint))
    assert type(caught.value) is want
    assert "oss://packs/v" in str(caught.value)


def test_silence_is_not_listened_to_for_long() -> None:
    with canned(hang) as server, pytest.raises(CloudUnavailable, match="no answer in time"):
        get(bucket_at(server.endpoint, timeouts=Timeouts(read_s=0.05)))


def test_a_bucket_that_nobody_serves() -> None:
    with canned() as server:
        pass
    with pytest.raises(CloudUnavailable, match=f"oss://packs/v cannot be reached at {server.endpoint}: .* refused"):
        get(bucket_at(server.endpoint))


@pytest.mark.parametrize(
    ("headers", "want"),
    [
        pytest.param({"x_oss_qos_delay_time": "1500"}, 1.5, id="in milliseconds"),
        pytest.param({"retry_after": "2"}, 2.0, id="in seconds"),
        pytest.param({"retry_after": "86400"}, 60.0, id="not for a day"),
        pytest.param({"retry_after": "tomorrow"}, None, id="not a number"),
        pytest.param({}, None, id="not said"),
    ],
)
def test_throttling_says_how_long(headers: dict[str, str], want: float | None) -> None:
    script = oss_error("503 Slow", "TotalQpsLimitExceeded", **headers)
    with canned(script) as server, pytest.raises(CloudThrottled) as caught:
        get(bucket_at(server.endpoint))
    assert caught.value.delay_s == want


def test_a_503_that_is_no_throttling() -> None:
    with canned(oss_error("503 No", "ServiceUnavailable")) as server, pytest.raises(CloudUnavailable) as caught:
        get(bucket_at(server.endpoint))
    assert type(caught.value) is CloudUnavailable


@pytest.mark.parametrize(
    ("second", "want"),
    [
        pytest.param(EMPTY_LIST, ObjectMissing, id="the object is missing"),
        pytest.param(oss_error("404 No", "NoSuchBucket"), CloudRefused, id="the bucket is missing"),
        pytest.param(answer("404 Not Found", b"<html>"), CloudUnavailable, id="it is not OSS"),
    ],
)
def test_a_head_without_a_reason_asks_for_it(second: bytes, want: type[RustfsfsError]) -> None:
    with canned(answer("404 Not Found"), second) as server, pytest.raises(want):
        head(bucket_at(server.endpoint))


def test_what_a_put_sends() -> None:
    with canned(answer("200 OK", date=DATE, x_oss_hash_crc64ecma=CRC)) as server:
        facts = bucket_at(server.endpoint).put("packs/k", memoryview(BODY), placement=Placement.IA)
    request = server.requests[0].lower()
    assert request.startswith(b"put /packs/v%2fpacks%2fk http/1.1\r\n") and request.endswith(b"\r\n\r\n" + BODY)
    for line in (
        b"x-oss-forbid-overwrite: true",
        b"x-oss-storage-class: ia",
        b"content-md5: " + base64.b64encode(hashlib.md5(BODY).digest()).lower(),
        b"content-length: 10",
        b"authorization: oss4-hmac-sha256 credential=" + KEY_ID.lower().encode(),
    ):
        assert b"\r\n" + line in request, line
    assert facts.modified_s == 1795694400.0


def test_what_a_replacement_sends() -> None:
    with canned(answer("200 OK", date=DATE, x_oss_hash_crc64ecma=CRC)) as server:
        bucket_at(server.endpoint).replace("k", BODY)
    assert b"forbid-overwrite" not in server.requests[0] and b"x-oss-storage-class: Standard" in server.requests[0]


def head_answer(placement: str, crc: str = CRC) -> bytes:
    return answer("200 OK", last_modified=DATE, x_oss_hash_crc64ecma=crc, x_oss_storage_class=placement)


COPIED = answer("200 OK", b"<CopyObjectResult><ETag>E</ETag></CopyObjectResult>")


def test_what_a_change_of_class_sends() -> None:
    with canned(head_answer("Standard"), COPIED, head_answer("IA")) as server:
        bucket_at(server.endpoint).reclass("packs/k", placement=Placement.IA)
    methods = [request.split(b" ")[0] for request in server.requests]
    assert methods == [b"HEAD", b"PUT", b"HEAD"]
    request = server.requests[1].lower()
    assert request.startswith(b"put /packs/v%2fpacks%2fk http/1.1\r\n")
    for line in (
        b"x-oss-copy-source: /packs/v%2fpacks%2fk",
        b"x-oss-storage-class: ia",
        b"x-oss-metadata-directive: replace",
        b"content-type: application/octet-stream",
    ):
        assert b"\r\n" + line + b"\r\n" in request, line
    assert b"forbid-overwrite" not in request


def test_a_change_of_class_that_changes_the_bytes_is_damage() -> None:
    script = head_answer("Standard"), COPIED, head_answer("IA", crc="7")
    with canned(*script) as server, pytest.raises(DamagedData, match="its class"):
        bucket_at(server.endpoint).reclass("k", placement=Placement.IA)


def test_what_a_get_sends() -> None:
    with canned(part()) as server:
        assert get(bucket_at(server.endpoint)) == b"2345"
    request = server.requests[0].lower()
    assert b"\r\nrange: bytes=2-5\r\n" in request and b"\r\nx-oss-range-behavior: standard\r\n" in request


class SlowClock:
    """Each look at it is a minute later: a MiB takes longer than it may."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 60.0
        return self.now_s


def test_a_body_that_trickles_is_given_up() -> None:
    """A socket's timeout is for each read; so slow a one would hold its thread for hours."""
    size = 3 * READ_SIZE
    script = part(bytes(size), f"bytes 0-{size - 1}/{size}")
    with canned(script) as server, pytest.raises(CloudUnavailable, match="KiB/s"):
        bucket_at(server.endpoint, clock_s=SlowClock()).get("k", 0, size)


def test_also_one_that_we_send() -> None:
    with canned(hang) as server, pytest.raises(CloudUnavailable, match="KiB/s"):
        bucket_at(server.endpoint, clock_s=SlowClock()).put("k", bytes(1 << 20), placement=Placement.IA)


def test_what_has_come_at_last_is_not_thrown_away() -> None:
    with canned(part()) as server:
        assert bucket_at(server.endpoint, clock_s=SlowClock()).get("k", 2, 4) == b"2345"


@pytest.mark.parametrize(
    ("act", "script", "want"),
    [
        pytest.param(get, oss_error("404 No", "NoSuchKey"), 0, id="an answer without the body"),
        pytest.param(put, oss_error("409 Conflict", "FileAlreadyExists"), len(BODY), id="all was sent before it"),
    ],
)
def test_an_error_says_how_much_of_the_body_has_passed(
    act: Callable[[OssBucket], object], script: Script, want: int
) -> None:
    with canned(script) as server, pytest.raises(StoreError) as found:
        act(bucket_at(server.endpoint))
    assert found.value.passed_bytes == want


def test_where_nobody_answers_nothing_has_passed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for act in (get, put):
        with pytest.raises(CloudUnavailable) as found:
            act(bucket_at(endpoint))
        assert found.value.passed_bytes == 0


def test_a_connection_is_used_again_and_a_broken_one_is_not() -> None:
    connections: list[int] = []
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        connections.append(connection.fileno())
        keep = part(connection="keep-alive")
        connection.sendall(keep)
        for _ in range(2):
            connection.recv(65536)
            connection.sendall(keep)
        connection.recv(65536)
        connection.sendall(part(b"234567", "bytes 2-7/10", connection="keep-alive"))  # more than was asked for
        if connection.recv(65536) == b"":
            closed.set()

    with canned(serve, part()) as server:
        bucket = bucket_at(server.endpoint)
        for _ in range(3):
            assert get(bucket) == b"2345"
        with pytest.raises(DamagedData) as caught:
            get(bucket)
        assert closed.wait(10) and len(connections) == 1
        del caught
        assert get(bucket) == b"2345"  # on the second connection


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            oss_error("403 No", "SignatureDoesNotMatch", f"<StringToSign>x-oss-security-token:{TOKEN}</StringToSign>"),
            id="an error that quotes what was signed",
        ),
        pytest.param(b"", id="a broken connection"),
        pytest.param(part(), id="success"),
    ],
)
def test_no_secret_is_logged_or_told(script: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    with canned(script) as server:
        bucket = bucket_at(server.endpoint)
        try:
            get(bucket)
        except RustfsfsError as exc:
            told = "".join(traceback.format_exception(exc)) + repr(exc)
    assert TOKEN.encode() in server.requests[0], "it was sent"
    for secret in (SECRET, TOKEN):
        assert secret not in caplog.text + told + repr(bucket)


def test_no_proxy_and_no_netrc_comes_between(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("default login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with canned(part()) as server:
        assert get(bucket_at(server.endpoint)) == b"2345"
    assert b"OSS4-HMAC-SHA256" in server.requests[0]
    session = bucket_at("https://oss-cn-test.aliyuncs.com")._bucket.session.session
    request = session.prepare_request(requests.Request("GET", "https://oss-cn-test.aliyuncs.com/"))
    assert "authorization" not in request.headers


def test_oss2_is_imported_late() -> None:
    """It takes 150 ms, which a volume without a bucket does not have to wait."""
    tree = ast.parse(Path(oss.__file__).read_text())
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.name for node in at_once for name in node.names}
    modules = {node.module for node in at_once if isinstance(node, ast.ImportFrom)}
    assert not {"oss2", "requests", "urllib3"} & (names | modules)


def test_threads_share_one(tmp_path: Path) -> None:
    count = 8
    with canned(*[part()] * count) as server:
        bucket = bucket_at(server.endpoint)
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(get(bucket))) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [b"2345"] * count
