"""What a value in TOML may be: sizes and durations with a unit, shares, counts, switches. Pure.

Each function takes what TOML gave and returns what the program uses. Raises UsageError saying what would be right.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from rustfsfs.errors import UsageError
from rustfsfs.units import DURATION_UNITS, KIB, MIB, SIZE_UNITS

QUANTITY_MAX = float(1 << 62)  # bytes or seconds; more is a mistake, and `inf` no number
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*\Z")


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


def size_between(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        size = parse_size(text(value))
        if not low <= size <= high:
            raise UsageError(f"{value!r} is out of range: {_short(low)} to {_short(high)}")
        return size

    return parse


def _short(size_bytes: int) -> str:
    """As it could be written: "64KiB"."""
    unit = max((unit for unit in SIZE_UNITS if not size_bytes % SIZE_UNITS[unit]), key=SIZE_UNITS.__getitem__)
    return f"{size_bytes // SIZE_UNITS[unit]}{unit}"


def limit(value: Any) -> int:
    return 0 if value == "auto" else size_between(64 * MIB, 1 << 50)(value)


def seconds(value: Any) -> float:
    return parse_duration(text(value))


def interval(value: Any) -> float:
    return 0.0 if value == "never" else parse_duration(text(value))


def interval_between(low_s: float, high_s: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        seconds = parse_duration(text(value))
        if not low_s <= seconds <= high_s:
            raise UsageError(f"{value!r} is out of range: {low_s / 60:g}min to {high_s / 86400:g}d")
        return seconds

    return parse


def age(value: Any) -> float:
    return math.inf if value == "never" else parse_duration(text(value))


def rate(value: Any) -> int:
    return 0 if value == "unlimited" else size_between(64 * KIB, 1 << 40)(value)


def switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{value!r} is neither on nor off; write true or false")
    return value


def count_between(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UsageError(f"{value!r} is out of range; write a number from {low} to {high}")
        return value

    return parse


def share(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1:
        raise UsageError(f"{value!r} is no share; write a number between 0 and 1, like 0.5")
    return float(value)


def level(value: Any) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise UsageError(f"{value!r} is no level; write debug, info, warning or error")
    return str(value)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f'{value!r} needs a unit and quotes, like "256MiB" or "10min"')
    return value


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {found[0]}?" if found else f"; known are {', '.join(known)}"


def literal(value: Any) -> str:
    """As it could be written in TOML."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)  # its strings, numbers and booleans are TOML's
