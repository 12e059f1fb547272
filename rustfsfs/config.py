"""The volume's settings: TOML text to frozen structs. Pure. Every key, its default and its meaning stand in `_KEYS`.

Sizes and durations are strings with a unit ("256MiB", "30d"); an unknown key is refused with the nearest known one.
"""

import difflib
import re
import tomllib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from rustfsfs.errors import UsageError
from rustfsfs.units import DURATION_UNITS, MIB, SIZE_UNITS

QUANTITY_MAX = float(1 << 62)  # bytes or seconds; more is a mistake, and `inf` no number
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*\Z")


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    limit_bytes: int = 0  # 0: 4 GiB or a quarter of the disk, the smaller


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    ram_bytes: int = 192 * MIB


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


class Log(msgspec.Struct, frozen=True, kw_only=True):
    level: str = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    journal: Journal = Journal()
    cache: Cache = Cache()
    seal: Seal = Seal()
    collect: Collect = Collect()
    scrub: Scrub = Scrub()
    snapshots: Snapshots = Snapshots()
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
            raise UsageError(f"{value!r} is out of range: {low >> 20}MiB to {high >> 20}MiB")
        return size

    return parse


def _limit(value: Any) -> int:
    return 0 if value == "auto" else _size_between(64 * MIB, 1 << 50)(value)


def _seconds(value: Any) -> float:
    return parse_duration(_text(value))


def _interval(value: Any) -> float:
    return 0.0 if value == "never" else parse_duration(_text(value))


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
    Key("log.level", "level", '"info"', _level, "debug, info, warning or error."),
)
_TABLES: dict[str, type[msgspec.Struct]] = {
    "journal": Journal,
    "cache": Cache,
    "seal": Seal,
    "collect": Collect,
    "scrub": Scrub,
    "snapshots": Snapshots,
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
            raise UsageError(f"{where}: unknown key {name}{_nearest(name)}")
        try:
            values.setdefault(name.partition(".")[0], {})[key.field] = key.parse(value)
        except UsageError as exc:
            raise UsageError(f"{where}: {name}: {exc}") from exc
    tables: dict[str, Any] = {table: _TABLES[table](**fields) for table, fields in values.items()}
    return Config(**tables)


def _flat(found: dict[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for table, content in found.items():
        if not isinstance(content, dict):
            flat[table] = content
            continue
        if table not in _TABLES:
            raise UsageError(f"{where}: unknown table [{table}]{_nearest(table, list(_TABLES))}")
        flat.update({f"{table}.{key}": value for key, value in content.items()})
    return flat


def _nearest(name: str, known: list[str] | None = None) -> str:
    found = difflib.get_close_matches(name, known or [key.name for key in KEYS], n=1, cutoff=0.4)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(known or [k.name for k in KEYS])}"


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
