"""What /etc/rustfsfs/NAME.toml says: which volume is mounted where and how, and the volume's settings. Pure.

It has the tables of VOLUME/config.toml too, and each that is there replaces the whole table of that file. Reading the
file is `service.sites`' work.
"""

import re
from enum import Enum
from typing import Any

import msgspec

from rustfsfs.config import KEYS, Config, Key, Parsed, Setting, config_of, layered, parse_settings
from rustfsfs.errors import UsageError
from rustfsfs.listening import parse_listen
from rustfsfs.values import switch

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
UNIX = "unix:"  # before the path of a socket
_REMOUNT = "it is read when the volume is mounted"


class Nfs(Enum):
    """Whether names are durable before a reply, as NFS wants it."""

    OFF = "off"
    STRICT = "strict"


class CredentialKind(Enum):
    """What is in the credential that `mount.credential` names."""

    KEY_FILE = "key-file"
    PASSPHRASE = "passphrase"


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """Paths are absolute; "" is one that is not named. At most one of the three keys is."""

    volume: str
    point: str = ""
    options: tuple[str, ...] = ()  # of -o
    key_file: str = ""
    passphrase_file: str = ""
    credential: str = ""  # a name in $CREDENTIALS_DIRECTORY
    credential_kind: CredentialKind = CredentialKind.KEY_FILE
    read_only: bool = False
    degraded: bool = False
    nfs: Nfs = Nfs.OFF


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    listen: str = ""  # HOST:PORT, or UNIX and a path; "": nowhere


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of this machine, by its name."""

    name: str
    path: str  # of the file
    mount: Mount
    metrics: Metrics
    parsed: Parsed  # the file as it is


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\n" in value or "\0" in value:
        raise UsageError(f'{value!r} is no absolute path; write one in quotes, like "/srv/volume"')
    return value


def _options(value: Any) -> tuple[str, ...]:
    groups = [value] if isinstance(value, str) else value
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise UsageError(f'{value!r} are no options; write ["noatime", "suid"] or "noatime,suid"')
    return tuple(name.strip() for group in groups for name in group.split(",") if name.strip())


def _credential(value: Any) -> str:
    if not isinstance(value, str) or not value or "/" in value or value in (".", ".."):
        raise UsageError(f"{value!r} is no name of a credential; write that of the unit's LoadCredential=")
    return value


def _credential_kind(value: Any) -> CredentialKind:
    if value not in ("key-file", "passphrase"):
        raise UsageError(f'{value!r} is no kind of credential; write "key-file" or "passphrase"')
    return CredentialKind(value)


def _nfs(value: Any) -> Nfs:
    if value not in ("off", "strict"):
        raise UsageError(f'{value!r} is no choice; write "off" or "strict"')
    return Nfs(value)


def _listen(value: Any) -> str:
    """Loopback only: whoever asks learns what the volume does, and is asked for nothing."""
    if not isinstance(value, str):
        raise UsageError(f'{value!r} is no text; write "127.0.0.1:9464", "[::1]:9464" or "unix:/run/NAME.sock"')
    parse_listen(value)
    return value


def _or_none(parse: Any) -> Any:
    """`parse`, and "" for what is not named."""
    return lambda value: "" if value == "" else parse(value)


MOUNT_KEYS: tuple[Key, ...] = (
    Key("mount.volume", "volume", '""', _or_none(_path), "The directory VOLUME; must be there.", _REMOUNT),
    Key("mount.point", "point", '""', _or_none(_path), "Where it is mounted.", _REMOUNT),
    Key("mount.options", "options", "[]", _options, "Mount options, as of -o.", _REMOUNT),
    Key("mount.key_file", "key_file", '""', _or_none(_path), "The key file that opens it.", _REMOUNT),
    Key("mount.passphrase_file", "passphrase_file", '""', _or_none(_path), "Or a file with its passphrase.", _REMOUNT),
    Key(
        "mount.credential",
        "credential",
        '""',
        _or_none(_credential),
        "Or the name of a credential that systemd hands to the unit.",
        _REMOUNT,
    ),
    Key(
        "mount.credential_kind",
        "credential_kind",
        '"key-file"',
        _credential_kind,
        "What is in the credential: key-file or passphrase.",
        _REMOUNT,
    ),
    Key("mount.read_only", "read_only", "false", switch, "As --read-only.", _REMOUNT),
    Key("mount.degraded", "degraded", "false", switch, "As --degraded.", _REMOUNT),
    Key("mount.nfs", "nfs", '"off"', _nfs, "strict: names are durable before the reply, as NFS wants it.", _REMOUNT),
    Key("metrics.listen", "listen", '""', _listen, "Where Prometheus finds metrics; nowhere if empty.", _REMOUNT),
)
SITE_KEYS = MOUNT_KEYS + KEYS


def parse_site(text: str, *, name: str, where: str) -> Site:
    """Raises UsageError naming the key and what would be right."""
    parsed = parse_settings(text, where=where, keys=SITE_KEYS)
    fields: dict[str, dict[str, Any]] = {"mount": {}, "metrics": {}}
    for setting in parsed.settings.values():
        fields.setdefault(setting.key.table, {})[setting.key.field] = setting.value
    if not fields["mount"].get("volume"):
        raise UsageError(f'{where}: mount.volume is missing; write volume = "/srv/volume" below [mount]')
    site = Site(
        name=name, path=where, mount=Mount(**fields["mount"]), metrics=Metrics(**fields["metrics"]), parsed=parsed
    )
    mount = site.mount
    named = [key for key in ("key_file", "passphrase_file", "credential") if getattr(mount, key)]
    if len(named) > 1:
        raise UsageError(f"{where}: mount.{named[0]} and mount.{named[1]} name two keys; leave one of them out")
    return site


def effective(site: Site | None, own: Parsed) -> list[Setting]:
    """Every key of SITE_KEYS (of KEYS without a site) as it is in effect. `own` is VOLUME/config.toml."""
    return layered([own], KEYS) if site is None else layered([own, site.parsed], SITE_KEYS)


def config_for(site: Site | None, own: Parsed) -> Config:
    return config_of(effective(site, own))
