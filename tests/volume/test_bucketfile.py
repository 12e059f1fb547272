"""bucket.toml: what is written is read again, and mistakes are named without a word of a secret."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.store.address import parse_address
from rustfsfs.store.credentials import EnvironmentSource, FileSource
from rustfsfs.store.imds import RamRoleSource
from rustfsfs.volume.bucketfile import (
    BucketFile,
    bucket_file_text,
    check_credentials,
    credential_source,
    parse_bucket_file,
    read_bucket_file,
    write_bucket_file,
)
from rustfsfs.world import real_world

ADDRESS = parse_address("oss://packs/vol", endpoint="https://oss-cn-hangzhou.aliyuncs.com")
FILE = BucketFile(address=ADDRESS, credentials="/etc/rustfsfs/oss.toml")
GOOD = bucket_file_text(FILE)
FILES = real_world().files

names = st.text("abcdefghij-.0123456789", min_size=1, max_size=20)
printable = st.text(min_size=1, max_size=40).filter(str.isprintable)


@given(
    prefix=st.sampled_from(["", "vol", "a/b.c/d_e"]),
    credentials=st.one_of(
        st.sampled_from(["environment", "ecs"]),
        st.from_regex(r"\Aecs:[A-Za-z0-9._-]{1,64}\Z"),
        printable.map(lambda text: f"/{text}"),
    ),
)
def test_what_is_written_is_read_again(prefix: str, credentials: str) -> None:
    address = parse_address(f"oss://packs/{prefix}", endpoint="http://127.0.0.1:8080", region="cn-test")
    file = BucketFile(address=address, credentials=credentials)
    assert parse_bucket_file(bucket_file_text(file)) == file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(GOOD + 'endpiont = "x"\n', "unknown key endpiont; did you mean endpoint?", id="a slip"),
        pytest.param(GOOD + "[bucket]\n", "unknown key bucket", id="a table"),
        pytest.param(GOOD.replace('"cn-hangzhou"', "7"), "region is a text", id="a number"),
        pytest.param("", "url is missing", id="empty"),
        pytest.param("url = ", "is not TOML", id="not TOML"),
        pytest.param(GOOD.replace("oss://packs", "s3://packs"), "oss://BUCKET/PREFIX", id="another store"),
        pytest.param(GOOD.replace("https://", "http://"), "plain http", id="others can listen"),
        pytest.param(GOOD.replace("/etc/rustfsfs/oss.toml", "oss.toml"), "where they are", id="a relative path"),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"^bucket\.toml") as told:
        parse_bucket_file(text)
    assert says in str(told.value)


@pytest.mark.parametrize(
    "text", ["LTAI5tSecret", "ecs:", "ecs:a Secret", "Environment", "/Secret\nb", "", "Secret/../y"]
)
def test_what_names_no_place_of_credentials_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as told:
        check_credentials(text)
    assert "Secret" not in str(told.value)


@pytest.mark.parametrize(
    ("credentials", "kind"),
    [("environment", EnvironmentSource), ("ecs", RamRoleSource), ("ecs:role", RamRoleSource), ("/f", FileSource)],
)
def test_each_place_has_its_source(credentials: str, kind: type) -> None:
    assert isinstance(credential_source(credentials, now_s=lambda: 0.0), kind)


def test_the_file_is_for_its_owner_only_and_can_go(tmp_path: Path) -> None:
    assert read_bucket_file(FILES, str(tmp_path)) is None
    write_bucket_file(FILES, str(tmp_path), FILE)
    assert stat.S_IMODE((tmp_path / "bucket.toml").stat().st_mode) == 0o600
    assert read_bucket_file(FILES, str(tmp_path)) == FILE
    write_bucket_file(FILES, str(tmp_path), None)
    assert read_bucket_file(FILES, str(tmp_path)) is None


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "bucket.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_bucket_file(FILES, str(tmp_path))
    (tmp_path / "bucket.toml").unlink()
    (tmp_path / "bucket.toml").mkdir()
    with pytest.raises(MachineTrouble, match="cannot be read"):
        read_bucket_file(FILES, str(tmp_path))
