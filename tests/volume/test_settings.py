"""`--class` finds its way into config.toml, and into nothing else of it."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import default_config_text, parse_config
from rustfsfs.errors import UsageError
from rustfsfs.volume.settings import read_text, with_class

IA, STANDARD = Placement.IA, Placement.STANDARD


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(default_config_text(), id="as it is made"),
        pytest.param("", id="empty"),
        pytest.param('[seal]\nquiet = "9s"\n', id="no such table"),
        pytest.param("[bucket] # mine\nconcurrency = 4\n[log]\n", id="a table without the key"),
    ],
)
def test_the_class_is_written_and_all_else_stays(text: str) -> None:
    changed = with_class(text, IA, where="config.toml")
    before, after = parse_config(text), parse_config(changed)
    assert after.bucket.placement is IA
    assert (after.seal, after.log, after.bucket.concurrency) == (before.seal, before.log, before.bucket.concurrency)
    assert {line for line in text.splitlines() if "class" not in line} <= set(changed.splitlines())
    assert with_class(changed, IA, where="config.toml") == changed
    assert with_class(text, STANDARD, where="config.toml") == text


@pytest.mark.parametrize(
    ("text", "placement", "says"),
    [
        pytest.param('[bucket]\nclass = "IA"\n', STANDARD, "has bucket.class IA", id="it says another"),
        pytest.param('[bucket]\nclass = "Standard"\n', IA, "has bucket.class Standard", id="it says the default"),
        pytest.param('[bucket]\nia_after = "60d"\n', IA, "ia_after", id="a contradiction"),
        pytest.param("bucket = {concurrency = 4}\n", IA, "config.toml", id="another way to write a table"),
    ],
)
def test_what_contradicts_is_refused(text: str, placement: Placement, says: str) -> None:
    with pytest.raises(UsageError) as told:
        with_class(text, placement, where="config.toml")
    assert says in str(told.value)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def a_large_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(Path.mkdir, "Is a directory", id="a directory"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "no regular file", id="a device"),
        pytest.param(a_socket, "cannot be read", id="a socket"),
        pytest.param(a_large_file, "larger than 1.0 MiB", id="a large file"),
    ],
)
def test_what_cannot_be_settings_is_not_read(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "config.toml"
    make(path)
    with pytest.raises(UsageError, match=says):
        read_text(str(path), must_exist=True)


def test_settings_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("[log]\n")
    (tmp_path / "here").symlink_to("there")
    assert read_text(str(tmp_path / "here"), must_exist=True) == "[log]\n"
