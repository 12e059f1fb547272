"""The volume's settings: TOML text to frozen structs. Pure. Every key, its default and its meaning stand in `KEYS`.

Sizes and durations are strings with a unit ("256MiB", "30d"); an unknown key is refused with the nearest known one.
"""

import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from rustfsfs import values
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import UsageError
from rustfsfs.tiers.demote import DemotePolicy
from rustfsfs.tiers.placing import PlacingPolicy
from rustfsfs.tiers.protect import ProtectPolicy
from rustfsfs.units import GIB, MIB
from rustfsfs.values import literal, nearest

CONCURRENCY_MAX = 64  # requests to the bucket at once, each way


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


def _class(value: Any) -> Placement:
    if value not in ("Standard", "IA"):
        raise UsageError(f'{value!r} is no class for packs; write "Standard" or "IA"')
    return Placement(value)


def _when_frozen(value: Any) -> WhenFrozen:
    if value not in ("fail", "wait"):
        raise UsageError(f'{value!r} is no choice; write "fail" or "wait"')
    return WhenFrozen(value)


class Key(NamedTuple):
    """One key of config.toml."""

    name: str  # table.key
    field: str  # of the table's struct
    default: str  # as written in TOML
    parse: Callable[[Any], Any]
    meaning: str
    fixed: str = ""  # why a change waits for the next mount; empty: it takes effect when the settings are reloaded

    @property
    def table(self) -> str:
        return self.name.partition(".")[0]


class Setting(NamedTuple):
    """What a key is set to, and where."""

    key: Key
    text: str  # as written in TOML
    value: Any  # parsed
    origin: str  # a file, or DEFAULT
    hidden: "Setting | None" = None  # what another file says, whose table this one's replaces


DEFAULT = "default"

KEYS: tuple[Key, ...] = (
    Key(
        "journal.limit",
        "limit_bytes",
        '"auto"',
        values.limit,
        "Disk space of the journal: data not sealed yet. auto: 4GiB or a quarter of the disk, the smaller.",
        fixed="the journal is laid out when the volume is opened",
    ),
    Key("cache.ram", "ram_bytes", '"192MiB"', values.size_between(16 * MIB, 1 << 40), "RAM for decoded chunks."),
    Key(
        "cache.disk",
        "disk_bytes",
        '"1GiB"',
        values.size_between(64 * MIB, 1 << 50),
        "Disk space for what was read from the bucket, encrypted as it came.",
    ),
    Key(
        "seal.quiet",
        "quiet_s",
        '"5s"',
        values.seconds,
        "A file is sealed when nothing was written to it for this long.",
    ),
    Key(
        "seal.recut_quiet",
        "recut_quiet_s",
        '"10min"',
        values.seconds,
        "Small changes sealed by themselves are joined with their chunk after this long.",
    ),
    Key(
        "collect.live_share",
        "live_share",
        "0.5",
        values.share,
        "A pack is rewritten when less than this share of it is still needed.",
    ),
    Key(
        "scrub.interval",
        "interval_s",
        '"30d"',
        values.interval,
        "How often everything stored is read, verified and, where another copy is good, mended. never: not by itself.",
    ),
    Key(
        "scrub.rate",
        "rate_bytes_s",
        '"8MiB"',
        values.size_between(MIB, 1 << 40),
        "How much of it is read a second, in the background.",
    ),
    Key("snapshots.interval", "interval_s", '"1h"', values.seconds, "How often the metadata is copied to every disk."),
    Key(
        "protect.enabled",
        "enabled",
        "true",
        values.switch,
        "Whether everything sealed is copied to the bucket. false: only what is demoted.",
    ),
    Key(
        "protect.within",
        "within_s",
        '"15min"',
        values.seconds,
        "What was sealed waits at most this long for its upload.",
    ),
    Key(
        "demote.after",
        "after_s",
        '"never"',
        values.age,
        "Local copies are dropped when they were not read for this long. never: only when a disk is full.",
    ),
    Key(
        "demote.high",
        "high",
        "0.9",
        values.share,
        "Share of a disk in use above which local copies are dropped, coldest first.",
    ),
    Key("demote.low", "low", "0.8", values.share, "Share of a disk in use at which that ends; below demote.high."),
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
        values.age,
        "Packs that were not read for this long go to IA. never: they stay in bucket.class.",
    ),
    Key(
        "bucket.upload_rate",
        "upload_bytes_s",
        '"unlimited"',
        values.rate,
        "How much is sent to the bucket a second, at the most.",
    ),
    Key(
        "bucket.download_rate",
        "download_bytes_s",
        '"unlimited"',
        values.rate,
        "How much is read from the bucket a second, at the most.",
    ),
    Key(
        "bucket.concurrency",
        "concurrency",
        "16",
        values.count_between(1, CONCURRENCY_MAX),
        "Requests to the bucket at a time.",
    ),
    Key(
        "bucket.in_flight",
        "in_flight_bytes",
        '"128MiB"',
        values.size_between(64 * MIB, 16 * GIB),  # a pack that a batch of frames filled up may have 32 MiB
        "Bytes on their way to the bucket at a time; they are in RAM.",
    ),
    Key(
        "bucket.metadata",
        "metadata_interval_s",
        '"1h"',
        values.interval_between(60.0, 7 * 86400.0),
        "How often the metadata is copied to the bucket: what a fire would cost of it at the most.",
    ),
    Key(
        "cold.read_deadline",
        "read_deadline_s",
        '"30s"',
        values.seconds,
        "A read that the bucket does not answer fails after this long.",
    ),
    Key(
        "cold.frozen",
        "when_frozen",
        '"fail"',
        _when_frozen,
        "A read of a frozen pack asks for its restore and fails (EAGAIN), or waits for it: fail or wait.",
    ),
    Key("cold.frozen_wait", "frozen_wait_s", '"1h"', values.seconds, "How long such a read waits at the most."),
    Key("log.level", "level", '"info"', values.level, "debug, info, warning or error."),
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


class Parsed(NamedTuple):
    """A file of settings, each key and value of it checked."""

    tables: frozenset[str]  # that are there, empty ones too
    settings: dict[str, Setting]  # by the name of their key


def parse_config(text: str, *, where: str = "config.toml") -> Config:
    """Defaults for what is not named. Raises UsageError naming the key and what would be right."""
    return config_of(parse_settings(text, where=where).settings.values())


def parse_settings(text: str, *, where: str, keys: Sequence[Key] = KEYS) -> Parsed:
    """What a file says, and no more. Raises UsageError naming the key and what would be right."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{where} is not TOML: {exc}") from exc
    known = {key.name: key for key in keys}
    settings = {}
    for name, value in _flat(found, where, list(dict.fromkeys(key.table for key in keys))).items():
        key = known.get(name)
        if key is None:
            raise UsageError(f"{where}: unknown key {name}{nearest(name, list(known))}")
        try:
            parsed = key.parse(value)  # what is no TOML of ours is refused before it is written as such
            settings[name] = Setting(key, literal(value), parsed, where)
        except UsageError as exc:
            raise UsageError(f"{where}: {name}: {exc}") from exc
    for sentence in _contradictions(config_of(settings.values())):  # only keys of one table contradict each other
        raise UsageError(f"{where}: {sentence}")
    return Parsed(frozenset(found), settings)


def config_of(settings: Iterable[Setting]) -> Config:
    """Those of other keys than KEYS are passed over; defaults for what is not there."""
    fields: dict[str, dict[str, Any]] = {}
    for setting in settings:
        if setting.key.table in _TABLES:
            fields.setdefault(setting.key.table, {})[setting.key.field] = setting.value
    tables: dict[str, Any] = {table: _TABLES[table](**found) for table, found in fields.items()}
    return Config(**tables)


def _contradictions(config: Config) -> Iterator[str]:
    """What no key is wrong about by itself."""
    low, high = config.demote.low, config.demote.high
    if low >= high:
        yield f"demote.low ({low:g}) is not below demote.high ({high:g}); write a smaller low, or a larger high"
    if config.bucket.placement is Placement.IA and config.bucket.ia_after_s != math.inf:
        yield "bucket.ia_after says when packs go to IA, where bucket.class puts them at once; leave one of them out"


def _flat(found: dict[str, Any], where: str, tables: Sequence[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for table, content in found.items():
        if not isinstance(content, dict):
            if table in tables:
                raise UsageError(
                    f"{where}: {table} is a table; write [{table}] on a line of its own, its keys below it"
                )
            flat[table] = content
            continue
        if table not in tables:
            raise UsageError(f"{where}: unknown table [{table}]{nearest(table, tables)}")
        flat.update({f"{table}.{key}": value for key, value in content.items()})
    return flat


def layered(layers: Sequence[Parsed], keys: Sequence[Key] = KEYS) -> list[Setting]:
    """Every key as it is in effect: a table of a later layer replaces the whole table of those before."""
    found = []
    for key in keys:
        said = [layer.settings.get(key.name) for layer in layers if key.table in layer.tables]
        setting = (said[-1] if said else None) or default_setting(key)
        hidden = next((one for one in reversed(said[:-1]) if one is not None), None)
        found.append(setting._replace(hidden=hidden))
    return found


def default_setting(key: Key) -> Setting:
    value = tomllib.loads(f"default = {key.default}")["default"]
    return Setting(key, key.default, key.parse(value), DEFAULT)


def value_of(config: Config, key: Key) -> Any:
    return getattr(getattr(config, key.table), key.field)


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
