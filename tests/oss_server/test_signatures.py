"""Who may: keys, tokens, clocks and regions, as oss2 signs and OSS answers."""

from collections.abc import Callable
from typing import Any

import oss2
import pytest
import requests

from tests.oss_server import OssServer, TemporaryKey
from tests.oss_server.client import bucket_of, refused

Auth = Callable[[Any], Any]
VERSIONS = [pytest.param(oss2.ProviderAuth, id="V1"), pytest.param(oss2.ProviderAuthV4, id="V4")]
KEY = "a/b c+ü=&?"


def auth_of(auth: Auth, key_id: str, secret: str, token: str = "") -> Any:
    return auth(oss2.credentials.StaticCredentialsProvider(key_id, secret, token))


@pytest.mark.parametrize("auth", VERSIONS)
def test_what_is_signed_rightly_is_done(oss: OssServer, auth: Auth) -> None:
    bucket = bucket_of(oss, auth=auth_of(auth, oss.key_id, oss.secret))
    headers = {"x-oss-meta-of": "me", "Content-Type": "text/x", "Content-MD5": oss2.utils.content_md5(b"bytes")}
    bucket.put_object(KEY, b"bytes", headers=headers)
    assert bucket.get_object(KEY, params={"response-content-type": "a/b"}).content_type == "a/b"
    assert [found.key for found in bucket.list_objects(prefix="a/b c+").object_list] == [KEY]
    assert bucket.get_bucket_info().name == "packs"
    assert bucket.batch_delete_objects([KEY]).deleted_keys == [KEY]


@pytest.mark.parametrize("auth", VERSIONS)
@pytest.mark.parametrize("is_temporary", [False, True])
def test_signed_urls(oss: OssServer, auth: Auth, is_temporary: bool) -> None:
    key = oss.issue_key()
    mine = (key.key_id, key.secret, key.token) if is_temporary else (oss.key_id, oss.secret)
    bucket = bucket_of(oss, auth=auth_of(auth, *mine))
    bucket.put_object(KEY, b"bytes")
    url = bucket.sign_url("GET", KEY, 60)
    assert requests.get(url, timeout=5).content == b"bytes"
    assert requests.head(url, timeout=5).status_code == 403  # it was signed for a GET
    oss.clock.skew_s = 61
    assert "Request has expired" in requests.get(url, timeout=5).text


@pytest.mark.parametrize("auth", VERSIONS)
def test_wrong_keys_are_told_apart(oss: OssServer, auth: Auth) -> None:
    def asked(key_id: str, secret: str) -> tuple[int, str]:
        return refused(lambda: bucket_of(oss, auth=auth_of(auth, key_id, secret)).get_object("key"))

    assert asked(oss.key_id, "wrong") == (403, "SignatureDoesNotMatch")
    assert asked("LTAInobody", oss.secret) == (403, "InvalidAccessKeyId")


def test_nobody_may_do_nothing(oss: OssServer) -> None:
    assert refused(lambda: bucket_of(oss, auth=oss2.AnonymousAuth()).get_object("key")) == (403, "AccessDenied")


def test_a_wrong_region_is_named(oss: OssServer) -> None:
    with pytest.raises(oss2.exceptions.InvalidArgument) as told:
        bucket_of(oss, region="cn-other").get_object("key")
    assert told.value.message == "Invalid signing region in Authorization header."
    assert told.value.ec == "0002-00000226"


@pytest.mark.parametrize("auth", VERSIONS)
@pytest.mark.parametrize(
    ("skew_s", "told"),
    [
        pytest.param(890.0, (404, "NoSuchKey"), id="just right"),
        pytest.param(910.0, (403, "RequestTimeTooSkewed"), id="ahead"),
        pytest.param(-910.0, (403, "RequestTimeTooSkewed"), id="behind"),
    ],
)
def test_clocks_may_differ_by_15_minutes(oss: OssServer, auth: Auth, skew_s: float, told: tuple[int, str]) -> None:
    oss.clock.skew_s = skew_s
    bucket = bucket_of(oss, auth=auth_of(auth, oss.key_id, oss.secret))
    assert refused(lambda: bucket.get_object("key")) == told


def test_time_of_the_objects_is_not_that_of_signatures(oss: OssServer) -> None:
    oss.clock.advance(days=1000)
    assert bucket_of(oss).put_object("key", b"").status == 200


@pytest.mark.parametrize("auth", VERSIONS)
def test_temporary_keys(oss: OssServer, auth: Auth) -> None:
    def got(key: TemporaryKey, token: str) -> Any:
        return bucket_of(oss, auth=auth_of(auth, key.key_id, key.secret, token)).get_object("key")

    bucket_of(oss).put_object("key", b"bytes")
    key = oss.issue_key(life_s=600)
    assert got(key, key.token).read() == b"bytes"
    assert refused(lambda: got(key, "another")) == (403, "InvalidSecurityToken")
    assert refused(lambda: got(key, "")) == (403, "InvalidAccessKeyId")
    oss.clock.skew_s = 601
    assert refused(lambda: got(key, key.token)) == (403, "SecurityTokenExpired")
