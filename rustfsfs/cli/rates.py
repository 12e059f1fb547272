"""From two looks at a mount's counters to what people see: rates, latencies, shares. Pure."""

import errno
from typing import Any, NamedTuple

from rustfsfs.histogram import share_within_s
from rustfsfs.units import format_duration, format_size
from rustfsfs.volume.counters import TROUBLE

Figures = dict[str, Any]
KINDS_SHOWN = 12


class Rate(NamedTuple):
    """Of one kind of operation."""

    name: str
    per_s: float
    mean_s: float
    within_s: float | None  # 99 of 100 took at most this; None: longer than any class
    troubles: int  # that failed for a reason that may be ours; a name that is there already is none


def elapsed_s(before: Figures, now: Figures) -> float | None:
    """Between two looks at one mount; None: another process answers now, and its counters began anew."""
    between_s = float(now["at_s"] - before["at_s"])
    return between_s if before["pid"] == now["pid"] and between_s > 0 else None


def per_second(before: Figures, now: Figures, *path: str) -> float:
    """How fast a counter grew; 0 where there is nothing to compare."""
    between_s = elapsed_s(before, now)
    return 0.0 if between_s is None else max(0.0, _number(now, path) - _number(before, path)) / between_s


def _number(figures: Figures, path: tuple[str, ...]) -> float:
    found: Any = figures
    for key in path:
        found = (found or {}).get(key)
    return float(found or 0)


def operations(before: Figures, now: Figures) -> list[Rate]:
    """What was asked between the looks, most often first."""
    between_s = elapsed_s(before, now)
    if between_s is None:
        return []
    found: list[Rate] = []
    for name, after in now["operations"]["kinds"].items():
        earlier = before["operations"]["kinds"].get(name, {"counts": [0] * len(after["counts"]), "sum_s": 0.0})
        counts = [new - old for new, old in zip(after["counts"], earlier["counts"], strict=True)]
        if total := sum(counts):
            mean_s = (after["sum_s"] - earlier["sum_s"]) / total
            troubles = _troubles(now, name) - _troubles(before, name)
            found.append(Rate(name, total / between_s, mean_s, share_within_s(counts, 0.99), troubles))
    return sorted(found, key=lambda rate: (-rate.per_s, rate.name))


def _troubles(figures: Figures, name: str) -> int:
    by_errno = figures["operations"]["errors"].get(name, {})
    return sum(by_errno.get(errno.errorcode[number], 0) for number in TROUBLE)


def share(before: Figures, now: Figures, *path: str) -> str:
    """Of hits, between the looks."""
    hits, misses = (per_second(before, now, *path, name) for name in ("hits", "misses"))
    return f"{hits / (hits + misses):.0%} hits" if hits + misses else "not asked"


def line(before: Figures, now: Figures) -> str:
    """All in one line, for where there is no terminal."""
    rates = operations(before, now)
    total_s = sum(rate.per_s for rate in rates)
    return (
        f"{total_s:,.0f} operations/s, {speed(before, now, 'operations', 'read_bytes')} read,"
        f" {speed(before, now, 'operations', 'written_bytes')} written, cache {share(before, now, 'cache')},"
        f" {format_size(now['hot_bytes'])} hot{_backlog(now)}{'' if now['healthy'] else ', NEEDS A LOOK'}"
    )


def _backlog(now: Figures) -> str:
    return "" if now["bucket"] is None else f", {format_size(now['bucket']['backlog']['bytes'])} to upload"


def speed(before: Figures, now: Figures, *path: str) -> str:
    return f"{format_size(round(per_second(before, now, *path)))}/s"


def lines(before: Figures, now: Figures) -> list[str]:
    """The screen."""
    done, journal, epoch = now["operations"], now["journal"], now["epoch"]
    syncs = per_second(before, now, "journal", "last_seq")
    rows = [
        ("Mount", f"{now['mount_point']}  ({now['volume']['path']})"),
        ("Health", "good" if now["healthy"] else "; ".join(now["reasons"])),
        (
            "Bytes",
            f"{speed(before, now, 'operations', 'read_bytes')} read,"
            f" {speed(before, now, 'operations', 'written_bytes')} written",
        ),
        ("Now", f"{done['in_progress']:,} in progress, {done['waiting_for_room']:,} wait for room"),
        ("Cache", f"{share(before, now, 'cache')}, {_of(now['cache']['bytes'], now['cache']['bytes_max'])}"),
        (
            "Journal",
            f"{_of(journal['bytes'], journal['bytes_max'])}, {syncs:,.0f} records/s,"
            f" {format_size(journal['unsynced_bytes'])} not durable, {epoch['ops']:,} records not committed",
        ),
        ("Sealing", f"{speed(before, now, 'sealed_bytes')}, {format_size(now['hot_bytes'])} hot"),
        *(("Disk", f"{_of(disk['free_bytes'], disk['total_bytes'])} free: {disk['path']}") for disk in now["disks"]),
        *_bucket(before, now),
    ]
    return [*(f"{name:<10} {text}" for name, text in rows), "", *_table(operations(before, now))]


def _bucket(before: Figures, now: Figures) -> list[tuple[str, str]]:
    bucket = now["bucket"]
    if bucket is None:
        return []
    way = "" if bucket["answers"] else "NO ANSWER, "
    up, down = (speed(before, now, "bucket", "traffic", f"{name}_bytes") for name in ("up", "down"))
    return [
        ("Bucket", f"{way}{up} up, {down} down, {bucket['waiting']:,} reads wait"),
        ("Backlog", f"{bucket['backlog']['packs']:,} packs, {format_size(bucket['backlog']['bytes'])} to upload"),
        ("Cache disk", f"{share(before, now, 'bucket', 'cache')}, {format_size(bucket['cache']['bytes'])}"),
    ]


def _of(part: int, whole: int) -> str:
    return f"{format_size(part)} of {format_size(whole)}"


def _table(rates: list[Rate]) -> list[str]:
    """The kinds of operations, aligned."""
    if not rates:
        return ["No operations just now."]
    total_s = sum(rate.per_s for rate in rates)
    return [
        f"{'Operation':<12} {'each s':>9} {'mean':>9} {'99 % in':>9} {'failed':>7}",
        *map(_row, rates[:KINDS_SHOWN]),
        f"{'all':<12} {total_s:>9,.0f}",
    ]


def _row(rate: Rate) -> str:
    within = "longer" if rate.within_s is None else _brief(rate.within_s)
    return f"{rate.name:<12} {rate.per_s:>9,.0f} {_brief(rate.mean_s):>9} {within:>9} {rate.troubles or '':>7}"


def _brief(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 0.001 else format_duration(seconds)
