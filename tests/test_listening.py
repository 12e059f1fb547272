"""Where metrics may be served."""

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.listening import Listen, Loopback, UnixSocket, parse_listen


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("", None, id="nowhere"),
        pytest.param("127.0.0.1:9464", Loopback("127.0.0.1", 9464), id="IPv4"),
        pytest.param("127.8.8.8:1", Loopback("127.8.8.8", 1), id="all of 127 is this host"),
        pytest.param("[::1]:65535", Loopback("::1", 65535), id="IPv6"),
        pytest.param("unix:/run/rustfsfs.sock", UnixSocket("/run/rustfsfs.sock"), id="a socket"),
    ],
)
def test_a_place_on_this_host_is_taken_and_named_as_it_was(text: str, want: Listen | None) -> None:
    assert parse_listen(text) == want
    assert want is None or str(want) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("0.0.0.0:9464", "other hosts", id="everybody"),
        pytest.param("[::]:9464", "other hosts", id="everybody, IPv6"),
        pytest.param("10.0.0.1:9464", "other hosts", id="a network"),
        pytest.param("[::ffff:10.0.0.1]:9464", "other hosts", id="a network, mapped"),
        pytest.param("example.org:9464", "no place", id="a name"),
        pytest.param("9464", "no place", id="a port alone"),
        pytest.param("127.0.0.1", "no place", id="no port"),
        pytest.param("127.0.0.1:0", "port is not between", id="port 0"),
        pytest.param("127.0.0.1:65536", "port is not between", id="too large a port"),
        pytest.param("127.0.0.1:x", "port is not between", id="a port that is no number"),
        pytest.param("unix:run/x", "absolute path", id="a relative path"),
        pytest.param("unix:/run/", "absolute path", id="a directory"),
        pytest.param("unix:/" + "x" * 107, "at most 107", id="too long a path"),
    ],
)
def test_any_other_is_refused_with_one_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_listen(text)
    assert "metrics" in str(caught.value) and "\n" not in str(caught.value)
