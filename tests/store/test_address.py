"""Where a bucket is, as people write it."""

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.store.address import BucketAddress, is_loopback, parse_address

HANGZHOU = "https://oss-cn-hangzhou.aliyuncs.com"


@pytest.mark.parametrize(
    ("location", "endpoint", "region", "want"),
    [
        pytest.param("oss://my-packs/a/b", HANGZHOU, None, ("my-packs", "a/b", HANGZHOU, "cn-hangzhou"), id="all"),
        pytest.param("oss://abc", HANGZHOU, None, ("abc", "", HANGZHOU, "cn-hangzhou"), id="no prefix"),
        pytest.param("oss://abc/a/", HANGZHOU, None, ("abc", "a", HANGZHOU, "cn-hangzhou"), id="a slash at the end"),
        pytest.param("oss://abc", HANGZHOU[8:], None, ("abc", "", HANGZHOU, "cn-hangzhou"), id="no scheme is https"),
        pytest.param("oss://abc", HANGZHOU + "/", None, ("abc", "", HANGZHOU, "cn-hangzhou"), id="a slash behind it"),
        pytest.param(
            "oss://abc",
            "http://oss-us-east-1-internal.aliyuncs.com",
            None,
            ("abc", "", "http://oss-us-east-1-internal.aliyuncs.com", "us-east-1"),
            id="inside a VPC, plain",
        ),
        pytest.param(
            "oss://abc", "http://127.0.0.1:9", "cn-test", ("abc", "", "http://127.0.0.1:9", "cn-test"), id="loopback"
        ),
        pytest.param(
            "oss://abc",
            "https://files.example",
            "oss-cn-x",
            ("abc", "", "https://files.example", "cn-x"),
            id="own name",
        ),
    ],
)
def test_addresses(location: str, endpoint: str, region: str | None, want: tuple[str, str, str, str]) -> None:
    found = parse_address(location, endpoint=endpoint, region=region)
    assert (found.bucket, found.prefix, found.endpoint, found.region) == want


@pytest.mark.parametrize(
    ("location", "endpoint", "region", "words"),
    [
        pytest.param("my-packs", HANGZHOU, None, "oss://BUCKET", id="no scheme"),
        pytest.param("s3://my-packs", HANGZHOU, None, "oss://BUCKET", id="another scheme"),
        pytest.param("oss://My_Packs", HANGZHOU, None, "oss://BUCKET", id="no bucket's name"),
        pytest.param("oss://ab", HANGZHOU, None, "oss://BUCKET", id="too short a name"),
        pytest.param("oss://abc/a//b", HANGZHOU, None, "prefix", id="two slashes"),
        pytest.param("oss://abc/../b", HANGZHOU, None, "prefix", id="dots"),
        pytest.param("oss://abc/a b", HANGZHOU, None, "prefix", id="a space"),
        pytest.param("oss://abc/" + "a" * 513, HANGZHOU, None, "prefix", id="too long"),
        pytest.param("oss://abc", "http://oss-cn-hangzhou.aliyuncs.com", None, "plain http", id="plain http"),
        pytest.param("oss://abc", "http://127.0.0.1.example:80", "cn-x", "plain http", id="not loopback after all"),
        pytest.param("oss://abc", "ftp://oss-cn-hangzhou.aliyuncs.com", None, "endpoint", id="ftp"),
        pytest.param("oss://abc", "https://", None, "endpoint", id="no host"),
        pytest.param("oss://abc", "https://me:secret@host.example", "cn-x", "endpoint", id="a password"),
        pytest.param("oss://abc", HANGZHOU + "/path", None, "endpoint", id="a path"),
        pytest.param("oss://abc", "https://host:port", "cn-x", "endpoint", id="a port that is none"),
        pytest.param("oss://abc", "https://files.example", None, "--region", id="no region"),
        pytest.param("oss://abc", HANGZHOU, "Hangzhou!", "--region", id="a region that is none"),
    ],
)
def test_what_is_no_address(location: str, endpoint: str, region: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_address(location, endpoint=endpoint, region=region)


@pytest.mark.parametrize("prefix", ["", "a/b"])
def test_keys_there_and_back(prefix: str) -> None:
    address = BucketAddress(bucket="abc", prefix=prefix, endpoint=HANGZHOU, region="cn-hangzhou")
    assert address.relative_key(address.whole_key("packs/x")) == "packs/x"
    assert str(address) == f"oss://abc/{prefix}"


def test_a_key_outside_the_prefix_is_not_ours() -> None:
    address = BucketAddress(bucket="abc", prefix="a", endpoint=HANGZHOU, region="cn-hangzhou")
    with pytest.raises(ValueError, match="outside"):
        address.relative_key("ab/x")


@pytest.mark.parametrize(
    ("host", "want"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_loopback(host: str, want: bool) -> None:
    assert is_loopback(host) is want


def test_the_prefixes_above_come_shortest_first() -> None:
    address = parse_address("oss://packs/a/b/c", endpoint="oss-cn-hangzhou.aliyuncs.com")
    assert [one.prefix for one in address.above()] == ["", "a", "a/b"]
    assert address.above()[0].above() == []
