"""Credentials from the environment and from a file: taken as they are now, and told to nobody."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rustfsfs.errors import CloudRefused
from rustfsfs.store.credentials import Credentials, EnvironmentSource, FileSource, utc_seconds
from tests.store.faultbuckets import FakeTime

GOOD = 'access_key_id = "LTAI1"\naccess_key_secret = "hush-hush"\n'
TEMPORARY = GOOD + 'security_token = "token-token"\nexpiration = 2026-12-01T12:00:00Z\n'
EXPIRY_S = 1796126400.0

Write = Callable[[str], FileSource]


@pytest.fixture
def time() -> FakeTime:
    return FakeTime(EXPIRY_S - 3600)


@pytest.fixture
def write(tmp_path: Path, time: FakeTime) -> Write:
    path = tmp_path / "credentials.toml"

    def write(text: str) -> FileSource:
        new = tmp_path / "new"
        new.write_text(text)
        new.chmod(0o600)
        new.rename(path)
        return FileSource(str(path), now_s=time.timing.clock_s)

    return write


def test_nothing_shows_their_values(write: Write) -> None:
    credentials = write(TEMPORARY).get()
    text = repr(credentials) + str(credentials) + f"{[credentials]}" + repr(write(TEMPORARY))
    for value in ("LTAI1", "hush-hush", "token-token"):
        assert value not in text


def test_the_environment_is_read_each_time() -> None:
    environment = {"OSS_ACCESS_KEY_ID": " LTAI1\n", "OSS_ACCESS_KEY_SECRET": "hush"}
    source = EnvironmentSource(environment)
    assert source.get() == Credentials(access_key_id="LTAI1", access_key_secret="hush")
    environment["OSS_SESSION_TOKEN"] = "token"
    assert source.get().security_token == "token"
    source.refresh()


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        pytest.param({}, "OSS_ACCESS_KEY_ID", id="nothing"),
        pytest.param({"OSS_ACCESS_KEY_ID": "LTAI1"}, "OSS_ACCESS_KEY_SECRET", id="half"),
        pytest.param({"OSS_ACCESS_KEY_ID": " ", "OSS_ACCESS_KEY_SECRET": "x"}, "OSS_ACCESS_KEY_ID", id="blank"),
    ],
)
def test_an_environment_without_them(environment: dict[str, str], name: str) -> None:
    with pytest.raises(CloudRefused, match=f"{name} is not set"):
        EnvironmentSource(environment).get()


def test_a_file(write: Write) -> None:
    assert write(GOOD).get() == Credentials(access_key_id="LTAI1", access_key_secret="hush-hush")
    assert write(TEMPORARY).get().expires_s == EXPIRY_S
    assert write(TEMPORARY).get().security_token == "token-token"


def test_a_file_that_changed_is_read_again(write: Write) -> None:
    source = write(GOOD)
    source.get()
    write(GOOD.replace("hush-hush", "renewed!!"))
    assert source.get().access_key_secret == "renewed!!"


def test_temporary_ones_are_not_used_past_their_end(write: Write, time: FakeTime) -> None:
    source = write(TEMPORARY)
    source.get()
    time.sleep(3600)
    with pytest.raises(CloudRefused, match="expired"):
        source.get()
    write(TEMPORARY.replace("2026-12-01", "2026-12-02"))
    assert source.get().good_at(time.now_s)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_read_is_refused(write: Write, tmp_path: Path, mode: int) -> None:
    source = write(GOOD)
    source.get()
    os.chmod(tmp_path / "credentials.toml", mode)
    with pytest.raises(CloudRefused, match="chmod 600"):
        source.get()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "no access_key_id", id="empty"),
        pytest.param('access_key_id = "LTAI1"', "no access_key_secret", id="half"),
        pytest.param("access_key_id = LTAI1\naccess_key_secret = hush-hush", "not TOML", id="no quotes"),
        pytest.param(GOOD + "security_token = 7", "in quotes", id="a number"),
        pytest.param(GOOD + 'security_token = ""', "in quotes", id="empty text"),
        pytest.param(GOOD + 'secret = "hush-hush"', "known are", id="an unknown key"),
        pytest.param(GOOD + 'expiration = "hush-hush"', "must be like", id="no time"),
        pytest.param("[default]\n" + GOOD, "known are", id="a section"),
    ],
)
def test_a_file_that_is_wrong_says_so_and_quotes_nothing(write: Write, text: str, words: str) -> None:
    with pytest.raises(CloudRefused, match=words) as caught:
        write(text).get()
    assert "hush-hush" not in str(caught.value) and "LTAI1" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CloudRefused, match="No such file"):
        FileSource(str(tmp_path / "none"), now_s=FakeTime().timing.clock_s).get()


@pytest.mark.parametrize(
    "text", ["2026-12-01T12:00:00Z", "2026-12-01T12:00:00", "2026-12-01 20:00:00+08:00", "2026-12-01T12:00:00.000Z"]
)
def test_times(text: str) -> None:
    assert utc_seconds(text) == EXPIRY_S
