"""Settings: defaults, units, and refusals that name what would be right."""

import re

import pytest

from rustfsfs.config import KEYS, Config, default_config_text, parse_config, parse_duration, parse_size
from rustfsfs.errors import UsageError
from rustfsfs.units import GIB, KIB, MIB, TIB, format_size


def test_nothing_is_all_defaults() -> None:
    assert parse_config("") == parse_config(default_config_text()) == Config()


def test_every_commented_key_is_at_its_default() -> None:
    uncommented = re.sub(r"^#(\w+ = )", r"\1", default_config_text(), flags=re.MULTILINE)
    assert uncommented.count(" = ") == len(KEYS)
    assert parse_config(uncommented) == Config()


@pytest.mark.parametrize(
    ("text", "want"),
    [("256MiB", 256 * MIB), ("1.5 GiB", 3 * GIB // 2), ("4096B", 4096), ("64KiB", 64 * KIB), ("2TiB", 2 * TIB)],
)
def test_sizes(text: str, want: int) -> None:
    assert parse_size(text) == want


@pytest.mark.parametrize(("text", "want"), [("30d", 2592000), ("5s", 5), ("10min", 600), ("250ms", 0.25), ("1h", 3600)])
def test_durations(text: str, want: float) -> None:
    assert parse_duration(text) == want


@pytest.mark.parametrize("text", ["", "12", "MiB", "5 MB", "-1GiB", "1e3MiB", "5s"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="256MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("[cache]\nramm = '1GiB'", "did you mean cache.ram?", id="a misspelt key"),
        pytest.param("[cach]\nram = '1GiB'", "did you mean cache?", id="a misspelt table"),
        pytest.param("quiet = '5s'", "did you mean seal.quiet?", id="a key without its table"),
        pytest.param("[cache]\nram = 5", "needs a unit", id="a number without a unit"),
        pytest.param("[cache]\nram = '1KiB'", "out of range", id="too little"),
        pytest.param(f"[cache]\nram = '{'9' * 400}KiB'", "too large", id="too much"),
        pytest.param(f"[seal]\nquiet = '{'9' * 400}s'", "too large", id="longer than for ever"),
        pytest.param("[collect]\nlive_share = 2", "between 0 and 1", id="a share above one"),
        pytest.param("[log]\nlevel = 'loud'", "write debug, info", id="no level"),
        pytest.param("[cache\n", "is not TOML", id="not TOML"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence_that_helps(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, where="c.toml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("c.toml")


@pytest.mark.parametrize(
    ("size", "want"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * MIB, "3.0 MiB"), (5 * 1024 * TIB, "5.0 PiB")],
)
def test_sizes_for_people(size: int, want: str) -> None:
    assert format_size(size) == want
