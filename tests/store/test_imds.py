"""Credentials of a RAM role: by the metadata service's version 2, renewed before their end, never used past it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.store import imds
from rustfsfs.store.credentials import Credentials
from rustfsfs.store.imds import PAUSE_S, REFRESH_BEFORE_S, UNUSED_BEFORE_S, RamRoleSource
from tests.store.faultbuckets import FakeTime

VALID_S = 6 * 3600.0  # as ECS gives them
TOKEN = "imds-token"


@dataclass
class Metadata:
    """The service, with one role. Credentials are numbered; they are renewed when the test says so."""

    time: FakeTime
    url: str = ""
    role: str = "packer"
    number: int = 0
    expires_s: float = 0.0
    status: int = 200  # of everything
    body: str | None = None  # instead of the credentials
    requests: list[str] = field(default_factory=list)

    def renew(self) -> None:
        self.number += 1
        self.expires_s = self.time.now_s + VALID_S

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        self.requests.append(f"{method} {path}")
        if self.status != 200 and not (self.status == 302 and method == "PUT"):
            return self.status, "no"
        if path == "/latest/api/token":
            good = method == "PUT" and headers.get("x-aliyun-ecs-metadata-token-ttl-seconds", "").isdigit()
            return (200, TOKEN) if good else (405, "")
        if headers.get("x-aliyun-ecs-metadata-token") != TOKEN:
            return 403, "version 1 is turned off"
        if path == "/latest/meta-data/ram/security-credentials/":
            return (200, self.role) if self.role else (404, "")
        if path != f"/latest/meta-data/ram/security-credentials/{self.role}":
            return 404, ""
        when = datetime.fromtimestamp(self.expires_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = {
            "Code": "Success",
            "AccessKeyId": f"STS.{self.number}",
            "AccessKeySecret": "hush-hush",
            "SecurityToken": f"token-{self.number}",
            "Expiration": when,
        }
        return 200, json.dumps(found) if self.body is None else self.body


@pytest.fixture
def time() -> FakeTime:
    return FakeTime(1_800_000_000.0)


@pytest.fixture
def service(time: FakeTime) -> Iterator[Metadata]:
    metadata = Metadata(time)
    metadata.renew()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = metadata.answer(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(status)
            self.send_header("location", metadata.url + "/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        metadata.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield metadata
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def source(service: Metadata, time: FakeTime) -> RamRoleSource:
    return RamRoleSource(now_s=time.timing.clock_s, service=service.url)


def test_a_token_the_role_its_credentials(source: RamRoleSource, service: Metadata) -> None:
    found = source.get()
    assert (found.access_key_id, found.access_key_secret, found.security_token, found.expires_s) == (
        ("STS.1", "hush-hush", "token-1", service.expires_s)
    )
    assert service.requests == [
        "PUT /latest/api/token",
        "GET /latest/meta-data/ram/security-credentials/",
        "GET /latest/meta-data/ram/security-credentials/packer",
    ]


def test_a_role_that_is_named_is_not_asked_for(service: Metadata, time: FakeTime) -> None:
    RamRoleSource(now_s=time.timing.clock_s, service=service.url, role="packer").get()
    assert len(service.requests) == 2


def test_good_ones_are_kept(source: RamRoleSource, service: Metadata, time: FakeTime) -> None:
    first = source.get()
    time.sleep(VALID_S - REFRESH_BEFORE_S - 1)
    assert source.get() is first and len(service.requests) == 3


def test_they_are_renewed_before_their_end(source: RamRoleSource, service: Metadata, time: FakeTime) -> None:
    source.get()
    time.sleep(VALID_S - REFRESH_BEFORE_S)
    service.renew()
    assert source.get().access_key_id == "STS.2"


def test_until_there_are_new_ones_the_old_serve(source: RamRoleSource, service: Metadata, time: FakeTime) -> None:
    source.get()
    time.sleep(VALID_S - REFRESH_BEFORE_S)
    service.status = 500
    for _ in range(3):
        assert source.get().access_key_id == "STS.1"
    assert len(service.requests) == 4, "one look, not one for each request"
    time.sleep(PAUSE_S)
    service.status = 200
    service.renew()
    assert source.get().access_key_id == "STS.2"


def test_never_past_their_end(source: RamRoleSource, service: Metadata, time: FakeTime) -> None:
    source.get()
    time.sleep(VALID_S - UNUSED_BEFORE_S)
    service.status = 500
    with pytest.raises(CloudUnavailable, match="500"):
        source.get()
    service.status = 200
    service.renew()
    assert source.get().access_key_id == "STS.2", "and works again by itself"


def test_credentials_that_have_expired_already(source: RamRoleSource, service: Metadata) -> None:
    service.expires_s -= VALID_S
    with pytest.raises(CloudRefused, match="clock"):
        source.get()


def test_refused_ones_are_looked_for_again(source: RamRoleSource, service: Metadata) -> None:
    source.get()
    service.renew()
    assert source.get().access_key_id == "STS.1"
    source.refresh()
    assert source.get().access_key_id == "STS.2"


def test_who_was_refused_waits_for_newer_ones_that_another_looks_for(
    source: RamRoleSource, service: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.get()
    service.renew()
    begun, answers, ask = threading.Event(), threading.Event(), imds.fetch

    def slow(where: str, role: str | None) -> Credentials:
        begun.set()
        assert answers.wait(10)
        return ask(where, role)

    monkeypatch.setattr(imds, "fetch", slow)
    found: list[str] = []

    def again() -> None:
        source.refresh()
        found.append(source.get().access_key_id)

    threads = [threading.Thread(target=again) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    answers.set()
    for thread in threads:
        thread.join()
    assert found == ["STS.2", "STS.2"]


def test_without_a_role(source: RamRoleSource, service: Metadata) -> None:
    service.role = ""
    with pytest.raises(CloudRefused, match="no such RAM role"):
        source.get()


def test_not_on_ecs(time: FakeTime) -> None:
    with pytest.raises(CloudUnavailable, match=r"127\.0\.0\.1:1 \(Connection refused\); is this an ECS instance"):
        RamRoleSource(now_s=time.timing.clock_s, service="http://127.0.0.1:1").get()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<html>hush-hush", id="no JSON"),
        pytest.param('["hush-hush"]', id="a list"),
        pytest.param('{"Code": "Success", "AccessKeyId": "hush-hush"}', id="half"),
        pytest.param('{"Code": "Failed", "Message": "hush-hush"}', id="a failure"),
        pytest.param(
            '{"Code": "Success", "AccessKeyId": "hush-hush", "AccessKeySecret": "x", "SecurityToken": "y", '
            '"Expiration": "soon"}',
            id="no time",
        ),
    ],
)
def test_another_answer_is_not_quoted(source: RamRoleSource, service: Metadata, body: str) -> None:
    service.body = body
    with pytest.raises(CloudUnavailable, match="metadata service") as caught:
        source.get()
    assert "hush-hush" not in str(caught.value)


def test_no_proxy_sees_them(source: RamRoleSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert source.get().access_key_id == "STS.1"


def test_it_is_not_sent_elsewhere(source: RamRoleSource, service: Metadata) -> None:
    service.status = 302
    with pytest.raises(CloudUnavailable, match="302"):
        source.get()
    assert "GET /elsewhere" not in service.requests and len(service.requests) == 2


def test_the_same_ones_again_are_not_asked_for_all_the_time(
    source: RamRoleSource, service: Metadata, time: FakeTime
) -> None:
    source.get()
    time.sleep(VALID_S - REFRESH_BEFORE_S)
    for _ in range(3):
        assert source.get().access_key_id == "STS.1"
    assert len(service.requests) == 6


def test_threads_that_wait_together_ask_once(source: RamRoleSource, service: Metadata) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(source.get().access_key_id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["STS.1"] * 8
    assert service.requests.count("PUT /latest/api/token") == 1
    assert "hush-hush" not in repr(source)
