"""Settings: defaults, units, and refusals that name what would be right."""

import re

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import (
    KEYS,
    Bucket,
    Cold,
    Config,
    WhenFrozen,
    default_config_text,
    parse_config,
)
from rustfsfs.errors import UsageError
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.placing import PlacingPolicy
from rustfsfs.tiers.protect import ProtectPolicy
from rustfsfs.units import GIB, KIB, MIB, TIB, format_size
from rustfsfs.values import parse_duration, parse_size


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
        pytest.param("[cache]\ndisk = '1MiB'", "64MiB to 1PiB", id="too small a cache"),
        pytest.param("[protect]\nenabled = 'yes'", "true or false", id="no switch"),
        pytest.param("[demote]\nhigh = 90", "between 0 and 1", id="per cent"),
        pytest.param("[demote]\nafter = 'nevver'", "'nevver' is no duration", id="nearly never"),
        pytest.param("[demote]\nlow = 0.95", "demote.low (0.95) is not below demote.high (0.9)", id="low over high"),
        pytest.param("[demote]\nlow = 0.7\nhigh = 0.7", "demote.low (0.7) is not below", id="low at high"),
        pytest.param("[bucket]\nclass = 'Archive'", 'write "Standard" or "IA"', id="a class that freezes"),
        pytest.param("[bucket]\nclass = 'IA'\nia_after = '30d'", "bucket.class puts them at once", id="IA twice"),
        pytest.param("[bucket]\nupload_rate = '1KiB'", "64KiB to 1TiB", id="too slow"),
        pytest.param("[bucket]\nconcurrency = 0", "from 1 to 64", id="no requests at all"),
        pytest.param("[bucket]\nconcurrency = true", "from 1 to 64", id="a switch for a number"),
        pytest.param("[bucket]\nin_flight = '16MiB'", "64MiB to 16GiB", id="less than a pack in flight"),
        pytest.param("[bucket]\nkey = 'x'", "unknown key bucket.key", id="no secrets here"),
        pytest.param("[cold]\nfrozen = 'thaw'", 'write "fail" or "wait"', id="no choice"),
        pytest.param("[cold]\nread_deadline = 30", "needs a unit", id="a deadline without a unit"),
        pytest.param("cache = '192MiB'", "write [cache] on a line of its own", id="a table as a key"),
        pytest.param("[[cache]]\nram = '192MiB'", "write [cache] on a line of its own", id="a list of tables"),
        pytest.param("[log]\nlevel = 'loud'", "write debug, info", id="no level"),
        pytest.param("[cache\n", "is not TOML", id="not TOML"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence_that_helps(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, where="c.toml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("c.toml")


def test_the_tables_of_the_cold_tier_are_what_its_policies_take() -> None:
    config = parse_config(
        """
        [cache]
        disk = "20GiB"
        [protect]
        enabled = false
        within = "5min"
        [demote]
        after = "30d"
        high = 0.8
        low = 0.5
        [bucket]
        ia_after = "60d"
        upload_rate = "10MiB"
        download_rate = "unlimited"
        concurrency = 4
        in_flight = "64MiB"
        [cold]
        read_deadline = "10s"
        frozen = "wait"
        frozen_wait = "12h"
        """
    )
    assert config.cache.disk_bytes == 20 * GIB
    assert config.protect == ProtectPolicy(enabled=False, within_s=300)
    assert config.demote == DemotePolicy(after_s=30 * 86400, high=0.8, low=0.5)
    assert config.bucket == Bucket(
        ia_after_s=60 * 86400, upload_bytes_s=10 * MIB, concurrency=4, in_flight_bytes=64 * MIB
    )
    assert isinstance(config.bucket, PlacingPolicy)
    assert config.cold == Cold(read_deadline_s=10, when_frozen=WhenFrozen.WAIT, frozen_wait_s=43200)
    assert parse_config("[bucket]\nclass = 'IA'").bucket.placement is Placement.IA


@pytest.mark.parametrize(
    ("size", "want"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * MIB, "3.0 MiB"), (5 * 1024 * TIB, "5.0 PiB")],
)
def test_sizes_for_people(size: int, want: str) -> None:
    assert format_size(size) == want
