"""What `doctor` is told of one volume. Nothing is changed; what hangs is left behind, and said to hang."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from rustfsfs.config import Config, config_of
from rustfsfs.content.slots import decode_header
from rustfsfs.doctor.volume import BucketAsked, Disk, SecretFile, Volume
from rustfsfs.errors import CloudRefused, OpeningError, RustfsfsError
from rustfsfs.service import blockdevices, machinefacts, mounts, reloading, servers
from rustfsfs.service.client import call
from rustfsfs.service.patience import Patience
from rustfsfs.siteconfig import Nfs, Site
from rustfsfs.store.credentials import CredentialSource, EnvironmentSource
from rustfsfs.store.headers import DISK_HEADER, DISK_HEADER_COPY
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import bucketcheck
from rustfsfs.volume.bucketfile import ECS, ENVIRONMENT, BucketFile, credential_source, read_bucket_file
from rustfsfs.volume.formatting import CONFIG, METADATA
from rustfsfs.volume.from_bucket import MARKER
from rustfsfs.volume.header import find_header, listed_disks
from rustfsfs.volume.locking import holder, is_locked
from rustfsfs.volume.mountinfo import covering, is_inside
from rustfsfs.volume.upgrading import KEPT
from rustfsfs.world import World

# systemd.exec(5), LoadCredential=
CREDENTIAL_STORES = ("/etc/credstore", "/etc/credstore.encrypted", "/run/credstore", "/run/credstore.encrypted")
UNITS_CREDENTIAL = "key"  # the one that the unit loads from there
DAMAGED = f"{METADATA}.damaged"


class _Seen(NamedTuple):
    """In VOLUME itself."""

    header_format: int | None
    header_trouble: str | None
    is_rebuilding: bool
    is_locked: bool
    pid: int | None
    disks: list[str]
    left_aside: tuple[str, ...]


def gather(world: World, path: str, site: Site | None, patience: Patience, env: Mapping[str, str]) -> Volume:
    """`path` is VOLUME. Takes so many times the patience as there are things that hang."""
    name = None if site is None else site.name
    volume = Volume(name=name, path=path, user=os.geteuid(), patience_s=patience.seconds)
    seen = patience.ask(path, partial(_look, world, path), None)
    if seen is None:
        return replace(volume, stuck=tuple(patience.stuck))
    config, settings_trouble = _settings(path, site)
    bucket_file: BucketFile | None = None
    no_secrets: tuple[SecretFile, ...] = ()
    try:
        bucket_file = read_bucket_file(world.files, path)
    except OpeningError as exc:
        settings_trouble.append(str(exc))
    volume = replace(
        volume,
        memory_bytes=machinefacts.memory_bytes(),
        header_format=seen.header_format,
        header_trouble=seen.header_trouble,
        is_rebuilding=seen.is_rebuilding,
        left_aside=seen.left_aside,
        settings_trouble=tuple(settings_trouble),
        cache_ram_bytes=config.cache.ram_bytes,
        disks=tuple(_disks(world, path, seen.disks, patience)),
        wants_read_only=site is not None and site.mount.read_only,
        secrets=patience.ask("keys", partial(_secrets, site, bucket_file, [path, *seen.disks]), no_secrets),
        is_locked=seen.is_locked,
        pid=seen.pid,
    )
    volume = _mounted(volume, site, patience)
    if site is not None and volume.mount_point is None:
        mount = site.mount
        volume = replace(
            volume,
            names_no_key=not (mount.key_file or mount.passphrase_file or mount.credential),
            missing_credentials=_missing_credentials(site),
            names_no_point=not mount.point,
        )
    if bucket_file is not None:
        volume = replace(volume, bucket=_bucket(world, bucket_file, config, site, patience, env))
    unit = None if site is None else servers.unit_of(site.name, patience.seconds)
    return replace(volume, unit=unit, stuck=tuple(patience.stuck))


def _look(world: World, path: str) -> _Seen:
    format_, trouble = None, None
    try:
        format_ = decode_header(find_header(world, path)).format
    except (RustfsfsError, OSError) as exc:
        trouble = str(exc)
    names = os.listdir(path) if os.path.isdir(path) else []
    pid = holder(path).get("pid")
    return _Seen(
        header_format=format_,
        header_trouble=trouble,
        is_rebuilding=MARKER in names and format_ is None,
        is_locked=is_locked(path),
        pid=pid if isinstance(pid, int) else None,
        disks=listed_disks(world, path),
        left_aside=tuple(sorted(name for name in names if name.startswith((DAMAGED, KEPT)) and name.endswith(".db"))),
    )


def _settings(path: str, site: Site | None) -> tuple[Config, list[str]]:
    """Defaults, where they are not understood."""
    try:
        return config_of(reloading.read(reloading.Sources(own=f"{path}/{CONFIG}", must_exist=False, site=site))), []
    except OpeningError as exc:
        return Config(), [str(exc)]


def _disks(world: World, path: str, others: list[str], patience: Patience) -> Iterator[Disk]:
    for place in [path, *others]:
        about = f"disk {place}"
        found = patience.ask(about, partial(_disk, world, place, is_own=place == path), None)
        if found is not None:
            yield found


def _disk(world: World, path: str, *, is_own: bool) -> Disk:
    names = (DISK_HEADER, DISK_HEADER_COPY)
    try:
        if not is_own and not any(world.files.exists(f"{path}/{name}") for name in names):
            return Disk(path=path, trouble=f"there is no {DISK_HEADER} in it; is the disk mounted?")
        space = world.files.space(path)
    except OSError as exc:
        return Disk(path=path, trouble=f"it cannot be looked at ({exc.strerror})")
    mount = covering(os.path.realpath(path))
    under = blockdevices.UNKNOWN if mount is None else blockdevices.below(blockdevices.device_of(mount))
    return Disk(
        path=path,
        file_system="unknown" if mount is None else mount.fstype,
        total_bytes=space.usable_bytes,
        free_bytes=space.free_bytes,
        total_inodes=space.total_inodes,
        free_inodes=space.free_inodes,
        is_read_only=space.read_only,
        is_encrypted=under.is_encrypted,
        is_rotational=under.is_rotational,
        holds_metadata=is_own,
    )


def env_file_of(site: Site) -> str:
    """What the unit reads its environment from."""
    return f"{os.path.dirname(site.path)}/{site.name}.env"


def credential_paths(site: Site) -> list[str]:
    """Where the unit looks for the credential that NAME.toml names."""
    return [f"{store}/rustfsfs-{site.name}" for store in CREDENTIAL_STORES] if site.mount.credential else []


def _missing_credentials(site: Site) -> tuple[str, ...]:
    """All places where the unit would find it, if it is in none."""
    paths = credential_paths(site) if site.mount.credential == UNITS_CREDENTIAL else []
    return () if any(os.path.lexists(path) for path in paths) else tuple(paths)


def _secrets(site: Site | None, bucket: BucketFile | None, folders: list[str]) -> tuple[SecretFile, ...]:
    return tuple(_named_secrets(site, bucket, folders))


def _named_secrets(site: Site | None, bucket: BucketFile | None, folders: list[str]) -> Iterator[SecretFile]:
    if site is not None:
        if site.mount.key_file:
            yield _secret("key file", site.mount.key_file, folders)
        if site.mount.passphrase_file:
            yield _secret("passphrase file", site.mount.passphrase_file, folders, may_be_read=True)
        for path in credential_paths(site):
            if os.path.lexists(path):
                yield _secret("credential", path, folders, may_be_read=True)
        if os.path.lexists(path := env_file_of(site)):
            yield _secret("environment", path, folders, may_be_read=True)
    if bucket is not None and bucket.credentials.startswith("/"):
        yield _secret("bucket credentials", bucket.credentials, [])


def _secret(what: str, path: str, folders: list[str], *, may_be_read: bool = False) -> SecretFile:
    try:
        row = os.stat(path)
    except OSError as exc:
        return SecretFile(what=what, path=path, trouble=exc.strerror)
    real = os.path.realpath(path)
    inside = next((folder for folder in folders if is_inside(real, os.path.realpath(folder))), None)
    return SecretFile(what=what, path=path, mode=row.st_mode, owner=row.st_uid, may_be_read=may_be_read, inside=inside)


def _mounted(volume: Volume, site: Site | None, patience: Patience) -> Volume:
    """Where it is mounted, whether that answers, and what it says of itself."""
    is_strict = site is not None and site.mount.nfs is Nfs.STRICT
    real = os.path.realpath(volume.path)
    there = (one for one in reversed(mounts.mounts()) if one.fstype == mounts.FSTYPE and one.source == real)
    mount = next(there, None)
    if mount is None:
        point = site.mount.point if site is not None else ""
        return replace(volume, is_strict=is_strict, exported_by=servers.exporters(point) if point else ())
    point = mount.point
    volume = replace(volume, mount_point=point, is_strict=is_strict, exported_by=servers.exporters(point))
    if patience.ask(f"mount {point}", partial(mounts.is_dead, point), False):
        return replace(volume, is_dead=True)
    volume = replace(volume, keeps_cores=_keeps_cores(volume.pid))
    try:
        shown: dict[str, Any] | None = Patience(patience.seconds).ask(
            "control socket", partial(call, volume.path, "status", {}), None
        )
    except (RustfsfsError, OSError) as exc:
        return replace(volume, control_trouble=str(exc))
    if shown is None:
        return replace(volume, control_trouble=f"nothing within {patience.seconds:g} s")
    return replace(
        volume,
        reasons=tuple(shown.get("reasons", ())),
        metadata_format=shown.get("metadata_format"),  # a daemon of an older version has none, nor a reason
        is_strict=bool(shown["volume"].get("nfs_strict")),
    )


def _keeps_cores(pid: int | None) -> bool:
    with suppress(OSError, IndexError), open(f"/proc/{pid}/limits", encoding="ascii") as lines:
        found = next((line.split() for line in lines if line.startswith("Max core file size")), None)
        return found is not None and found[4] != "0"
    return False


def _bucket(
    world: World, file: BucketFile, config: Config, site: Site | None, patience: Patience, env: Mapping[str, str]
) -> BucketAsked:
    """Asks it three things, and writes nothing there."""
    asked = BucketAsked(name=str(file.address))
    now_s = world.now_ns() / SECOND_NS
    source: CredentialSource
    if file.credentials == ENVIRONMENT:
        source = EnvironmentSource({**env, **({} if site is None else _environment(env_file_of(site)))})
        try:
            source.get()
        except CloudRefused as exc:
            return replace(asked, without_credentials=str(exc))
    else:
        source = credential_source(file.credentials, now_s=lambda: world.now_ns() / SECOND_NS)
    look = partial(bucketcheck.look, file.address, source, config.bucket.placement, now_s=now_s)
    try:
        rules = Patience(patience.seconds).ask("bucket", look, None)
    except RustfsfsError as exc:
        return replace(asked, trouble=str(exc), is_refusal=isinstance(exc, CloudRefused))
    if rules is None:
        whose = "the bucket or the RAM role" if file.credentials.startswith(ECS) else "the bucket"
        return replace(asked, trouble=f"{whose} did not answer within {patience.seconds:g} s")
    return replace(asked, rules=tuple(rules))


def _environment(path: str) -> dict[str, str]:
    """systemd.exec(5), EnvironmentFile=: as far as people write it for credentials."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith(("#", ";")))
    return {name.strip(): value.strip().strip("\"'") for name, _equals, value in pairs}
