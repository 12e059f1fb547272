"""The volume's settings: TOML text to frozen structs. Pure. Every key, its default and its meaning stand in `_KEYS`.

Sizes and durations are strings with a unit ("256MiB", "30d"); an unknown key is refused with the nearest known one.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import UsageError
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.placing import PlacingPolicy
from rustfsfs.tiers.protect import ProtectPolicy
from rustfsfs.units import DURATION_UNITS, GIB, KIB, MIB, SIZE_UNITS

QUANTITY_MAX = float(1 << 62)  # bytes or seconds; more is a mistake, and `inf` no number
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*\Z")


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    limit_bytes: int = 0  # 0: 4 GiB or a quarter of the disk, the smaller


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    ram_bytes: int = 192 * MIB
    disk_bytes: int = GIB  # of frames that came from the bucket


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    quiet_s: float = 5.0
    recut_quiet_s: float = 600.0


class Collect(msgspec.Struct, frozen=True, kw_only=True):
    live_share: float = 0.5


class Scrub(msgspec.Struct, frozen=True, kw_only=True):
    interval_s: float = 30 * 86400.0  # 0: never
    rate_bytes_s: int = 8 * MIB


class Snapshots(msgspec.Struct, frozen=True, kw_only=True):
    interval_s: float = 3600.0


class Bucket(PlacingPolicy, frozen=True, kw_only=True):
    upload_bytes_s: int = 0  # 0: as fast as it goes
    download_bytes_s: int = 0
    concurrency: int = 16  # requests at once; 8 give 187 MB/s of 200 at 30 ms, 16 196 (tiers.fetch, simulated)
    in_flight_bytes: int = 128 * MIB
    metadata_interval_s: float = 3600.0


class WhenFrozen(Enum):
    """What a read of a frozen pack does, beside asking for its restore."""

    FAIL = "fail"  # EAGAIN at once
    WAIT = "wait"


class Cold(msgspec.Struct, frozen=True, kw_only=True):
    read_deadline_s: float = 30.0
    when_frozen: WhenFrozen = WhenFrozen.FAIL
    frozen_wait_s: float = 3600.0


class Log(msgspec.Struct, frozen=True, kw_only=True):
    level: str = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    journal: Journal = Journal()
    cache: Cache = Cache()
    seal: Seal = Seal()
    collect: Collect = Collect()
    scrub: Scrub = Scrub()
    snapshots: Snapshots = Snapshots()
    protect: ProtectPolicy = ProtectPolicy()
    demote: DemotePolicy = DemotePolicy()
    bucket: Bucket = Bucket()
    cold: Cold = Cold()
    log: Log = Log()


def parse_size(text: str) -> int:
    """Bytes: "256MiB", "1.5 GiB", "4096B". Raises UsageError."""
    return int(_quantity(text, SIZE_UNITS, "size", "256MiB"))


def parse_duration(text: str) -> float:
    """Seconds: "30d", "10min", "250ms". Raises UsageError."""
    return _quantity(text, DURATION_UNITS, "duration", "10min")


def _quantity(text: str, units: dict[str, Any], what: str, example: str) -> float:
    found = _QUANTITY.match(text)
    if found is None or found[2] not in units:
        raise UsageError(f"{text!r} is no {what}; write a number and a unit ({', '.join(units)}), like {example!r}")
    value = float(found[1]) * float(units[found[2]])
    if value > QUANTITY_MAX:
        raise UsageError(f"{text[:40]!r} is too large a {what}")
    return value


def _size_between(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        size = parse_size(_text(value))
        if not low <= size <= high:
            raise UsageError(f"{value!r} is out of range: {_short(low)} to {_short(high)}")
        return size

    return parse


def _short(size_bytes: int) -> str:
    """As it could be written: "64KiB"."""
    unit = max((unit for unit in SIZE_UNITS if not size_bytes % SIZE_UNITS[unit]), key=SIZE_UNITS.__getitem__)
    return f"{size_bytes // SIZE_UNITS[unit]}{unit}"


def _limit(value: Any) -> int:
    return 0 if value == "auto" else _size_between(64 * MIB, 1 << 50)(value)


def _seconds(value: Any) -> float:
    return parse_duration(_text(value))


def _interval(value: Any) -> float:
    return 0.0 if value == "never" else parse_duration(_text(value))


def _interval_between(low_s: float, high_s: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        seconds = parse_duration(_text(value))
        if not low_s <= seconds <= high_s:
            raise UsageError(f"{value!r} is out of range: {low_s / 60:g}min to {high_s / 86400:g}d")
        return seconds

    return parse


def _age(value: Any) -> float:
    return math.inf if value == "never" else parse_duration(_text(value))


def _rate(value: Any) -> int:
    return 0 if value == "unlimited" else _size_between(64 * KIB, 1 << 40)(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{value!r} is neither on nor off; write true or false")
    return value


def _count_between(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UsageError(f"{value!r} is out of range; write a number from {low} to {high}")
        return value

    return parse


def _class(value: Any) -> Placement:
    if value not in ("Standard", "IA"):
        raise UsageError(f'{value!r} is no class for packs; write "Standard" or "IA"')
    return Placement(value)


def _when_frozen(value: Any) -> WhenFrozen:
    if value not in ("fail", "wait"):
        raise UsageError(f'{value!r} is no choice; write "fail" or "wait"')
    return WhenFrozen(value)


def _share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise UsageError(f"{value!r} is no share; write a number between 0 and 1, like 0.5")
    return float(value)


def _level(value: Any) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise UsageError(f"{value!r} is no level; write debug, info, warning or error")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f'{value!r} needs a unit and quotes, like "256MiB" or "10min"')
    return value


class Key(NamedTuple):
    """One key of config.toml."""

    name: str  # table.key
    field: str  # of the table's struct
    default: str  # as written in TOML
    parse: Callable[[Any], Any]
    meaning: str


KEYS: tuple[Key, ...] = (
    Key(
        "journal.limit",
        "limit_bytes",
        '"auto"',
        _limit,
        "Disk space of the journal: data not sealed yet. auto: 4GiB or a quarter of the disk, the smaller.",
    ),
    Key("cache.ram", "ram_bytes", '"192MiB"', _size_between(16 * MIB, 1 << 40), "RAM for decoded chunks."),
    Key(
        "cache.disk",
        "disk_bytes",
        '"1GiB"',
        _size_between(64 * MIB, 1 << 50),
        "Disk space for what was read from the bucket, encrypted as it came.",
    ),
    Key("seal.quiet", "quiet_s", '"5s"', _seconds, "A file is sealed when nothing was written to it for this long."),
    Key(
        "seal.recut_quiet",
        "recut_quiet_s",
        '"10min"',
        _seconds,
        "Small changes sealed by themselves are joined with their chunk after this long.",
    ),
    Key(
        "collect.live_share",
        "live_share",
        "0.5",
        _share,
        "A pack is rewritten when less than this share of it is still needed.",
    ),
    Key(
        "scrub.interval",
        "interval_s",
        '"30d"',
        _interval,
        "How often everything stored is read, verified and, where another copy is good, mended. never: not by itself.",
    ),
    Key(
        "scrub.rate",
        "rate_bytes_s",
        '"8MiB"',
        _size_between(MIB, 1 << 40),
        "How much of it is read a second, in the background.",
    ),
    Key("snapshots.interval", "interval_s", '"1h"', _seconds, "How often the metadata is copied to every disk."),
    Key(
        "protect.enabled",
        "enabled",
        "true",
        _switch,
        "Whether everything sealed is copied to the bucket. false: only what is demoted.",
    ),
    Key("protect.within", "within_s", '"15min"', _seconds, "What was sealed waits at most this long for its upload."),
    Key(
        "demote.after",
        "after_s",
        '"never"',
        _age,
        "Local copies are dropped when they were not read for this long. never: only when a disk is full.",
    ),
    Key(
        "demote.high",
        "high",
        "0.9",
        _share,
        "Share of a disk in use above which local copies are dropped, coldest first.",
    ),
    Key("demote.low", "low", "0.8", _share, "Share of a disk in use at which that ends; below demote.high."),
    Key(
        "bucket.class",
        "placement",
        '"Standard"',
        _class,
        "Class of the packs: Standard, or IA: cheaper to keep, 30 days at the least, and each read costs.",
    ),
    Key(
        "bucket.ia_after",
        "ia_after_s",
        '"never"',
        _age,
        "Packs that were not read for this long go to IA. never: they stay in bucket.class.",
    ),
    Key(
        "bucket.upload_rate",
        "upload_bytes_s",
        '"unlimited"',
        _rate,
        "How much is sent to the bucket a second, at the most.",
    ),
    Key(
        "bucket.download_rate",
        "download_bytes_s",
        '"unlimited"',
        _rate,
        "How much is read from the bucket a second, at the most.",
    ),
    Key("bucket.concurrency", "concurrency", "16", _count_between(1, 64), "Requests to the bucket at a time."),
    Key(
        "bucket.in_flight",
        "in_flight_bytes",
        '"128MiB"',
        _size_between(64 * MIB, 16 * GIB),  # a pack that a batch of frames filled up may have 32 MiB
        "Bytes on their way to the bucket at a time; they are in RAM.",
    ),
    Key(
        "bucket.metadata",
        "metadata_interval_s",
        '"1h"',
        _interval_between(60.0, 7 * 86400.0),
        "How often the metadata is copied to the bucket: what a fire would cost of it at the most.",
    ),
    Key(
        "cold.read_deadline",
        "read_deadline_s",
        '"30s"',
        _seconds,
        "A read that the bucket does not answer fails after this long.",
    ),
    Key(
        "cold.frozen",
        "when_frozen",
        '"fail"',
        _when_frozen,
        "A read of a frozen pack asks for its restore and fails (EAGAIN), or waits for it: fail or wait.",
    ),
    Key("cold.frozen_wait", "frozen_wait_s", '"1h"', _seconds, "How long such a read waits at the most."),
    Key("log.level", "level", '"info"', _level, "debug, info, warning or error."),
)
_TABLES: dict[str, type[msgspec.Struct]] = {
    "journal": Journal,
    "cache": Cache,
    "seal": Seal,
    "collect": Collect,
    "scrub": Scrub,
    "snapshots": Snapshots,
    "protect": ProtectPolicy,
    "demote": DemotePolicy,
    "bucket": Bucket,
    "cold": Cold,
    "log": Log,
}


def parse_config(text: str, *, where: str = "config.toml") -> Config:
    """Defaults for what is not named. Raises UsageError naming the key and what would be right."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{where} is not TOML: {exc}") from exc
    values: dict[str, dict[str, Any]] = {}
    for name, value in _flat(found, where).items():
        key = next((key for key in KEYS if key.name == name), None)
        if key is None:
            raise UsageError(f"{where}: unknown key {name}{nearest(name, [key.name for key in KEYS])}")
        try:
            values.setdefault(name.partition(".")[0], {})[key.field] = key.parse(value)
        except UsageError as exc:
            raise UsageError(f"{where}: {name}: {exc}") from exc
    tables: dict[str, Any] = {table: _TABLES[table](**fields) for table, fields in values.items()}
    config = Config(**tables)
    for sentence in _contradictions(config):
        raise UsageError(f"{where}: {sentence}")
    return config


def _contradictions(config: Config) -> Iterator[str]:
    """What no key is wrong about by itself."""
    low, high = config.demote.low, config.demote.high
    if low >= high:
        yield f"demote.low ({low:g}) is not below demote.high ({high:g}); write a smaller low, or a larger high"
    if config.bucket.placement is Placement.IA and config.bucket.ia_after_s != math.inf:
        yield "bucket.ia_after says when packs go to IA, where bucket.class puts them at once; leave one of them out"


def _flat(found: dict[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for table, content in found.items():
        if not isinstance(content, dict):
            flat[table] = content
            continue
        if table not in _TABLES:
            raise UsageError(f"{where}: unknown table [{table}]{nearest(table, list(_TABLES))}")
        flat.update({f"{table}.{key}": value for key, value in content.items()})
    return flat


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(known)}"


def default_config_text() -> str:
    """config.toml with every key commented, at its default, with its meaning."""
    lines = ["# rustfsfs: settings of this volume. Every key is at its default; remove the # to change one.", ""]
    table = ""
    for key in KEYS:
        name, _dot, field = key.name.partition(".")
        if name != table:
            lines += ([""] if table else []) + [f"[{name}]"]
            table = name
        lines += [f"# {key.meaning}", f"#{field} = {key.default}"]
    return "\n".join(lines) + "\n"
