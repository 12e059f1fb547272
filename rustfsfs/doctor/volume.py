"""One volume: where it lies, what opens it, who has it, and how it is served."""

from collections.abc import Iterator
from dataclasses import dataclass

from rustfsfs.doctor.finding import Finding, Level, note, problem, stuck, warning, well
from rustfsfs.tiers import bucket_rules
from rustfsfs.tiers.bucket_rules import Severity
from rustfsfs.units import format_size

SHARE_LOW, SHARE_OUT = 0.05, 0.01  # of a disk's space or inodes that are free: a warning, a problem
SUITED = ("ext4", "xfs", "btrfs", "zfs", "ext3", "f2fs", "bcachefs")
REFUSED = ("nfs", "nfs4", "overlay", "fuse.rustfsfs")  # as `volume.directories` refuses them
RAM_SHARE = 0.5  # of the memory, for cache.ram
OTHERS = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A directory with packs, or VOLUME. Without `trouble` the rest was seen."""

    path: str
    trouble: str | None = None  # why it cannot be looked at
    file_system: str = ""
    total_bytes: int = 0
    free_bytes: int = 0
    total_inodes: int = 0  # 0: it has no fixed number
    free_inodes: int = 0
    is_read_only: bool = False
    is_encrypted: bool | None = None  # by dm-crypt below the file system; None: it cannot be seen
    is_rotational: bool | None = None
    holds_metadata: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    """A file that has a key, a passphrase or credentials in it. What is in it was not read."""

    what: str
    path: str
    trouble: str | None = None
    mode: int = 0
    owner: int = 0  # user id
    may_be_read: bool = False  # by others, and it is used all the same: a passphrase file, one of the environment
    inside: str | None = None  # the directory of the volume it lies in


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAsked:
    name: str
    trouble: str | None = None  # why it could not be asked
    is_refusal: bool = False  # it answered, and takes no request of ours
    without_credentials: str | None = None  # why they cannot be had here, although a mount may have them
    rules: tuple[bucket_rules.Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What systemd says of rustfsfs@NAME.service, in its words."""

    name: str
    load_state: str
    active_state: str
    enabled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    name: str | None  # of its NAME.toml
    path: str
    user: int  # who asks
    memory_bytes: int = 0  # the machine's; 0: not known
    stuck: tuple[str, ...] = ()  # what was asked and did not answer
    patience_s: float = 0.0
    header_trouble: str | None = None
    header_format: int | None = None
    metadata_format: int | None = None  # of a mounted one
    is_rebuilding: bool = False  # --rebuild-from-bucket was cut off
    settings_trouble: tuple[str, ...] = ()  # of NAME.toml, config.toml, bucket.toml
    cache_ram_bytes: int = 0
    disks: tuple[Disk, ...] = ()
    wants_read_only: bool = False
    secrets: tuple[SecretFile, ...] = ()
    key_trouble: str | None = None  # why the key that its NAME.toml names does not open it
    key_opens: bool = False  # it was tried
    names_no_key: bool = False  # its NAME.toml
    missing_credentials: tuple[str, ...] = ()  # the places where none is that its NAME.toml names
    names_no_point: bool = False
    point_trouble: str | None = None  # why it could not be mounted on what its NAME.toml names
    mount_point: str | None = None
    is_dead: bool = False  # a mount whose daemon is gone
    is_locked: bool = False
    pid: int | None = None  # who has it, or had it when it was killed
    keeps_cores: bool = False  # a crash of the daemon would leave its memory in a file
    control_trouble: str | None = None  # why its mount does not answer
    reasons: tuple[str, ...] = ()  # of `status`: why a person should look
    bucket: BucketAsked | None = None
    unit: Unit | None = None
    exported_by: tuple[str, ...] = ()  # files of NFS servers that name the mount point
    is_strict: bool = False  # mounted, or to be, with nfs=strict
    left_aside: tuple[str, ...] = ()  # databases that were put aside


def findings(volume: Volume) -> list[Finding]:
    return [
        *(stuck(about, volume.patience_s) for about in volume.stuck),
        *_settings(volume),
        *_header(volume),
        *(finding for disk in volume.disks for finding in _disk(disk, volume)),
        *(_secret(secret, volume) for secret in volume.secrets),
        *_key(volume),
        *_point(volume),
        *_state(volume),
        *_bucket(volume),
        *_unit(volume),
        *_export(volume),
    ]


def _settings(volume: Volume) -> Iterator[Finding]:
    for trouble in volume.settings_trouble:
        yield problem("settings", trouble, "correct it; rustfsfs config check says whether all is well then")
    if not volume.settings_trouble:
        yield well("settings", "they are understood")
    if volume.memory_bytes and volume.cache_ram_bytes > volume.memory_bytes * RAM_SHARE:
        wanted, there = format_size(volume.cache_ram_bytes), format_size(volume.memory_bytes)
        yield warning("settings", f"cache.ram is {wanted}, of {there} that the machine has", "set a smaller cache.ram")


def _header(volume: Volume) -> Iterator[Finding]:
    if volume.is_rebuilding:
        todo = f"rustfsfs fsck {volume.path} --rebuild-from-bucket, once more: it begins anew"
        yield problem("volume", "bringing it back from its bucket was cut off", todo)
    elif volume.header_trouble is not None:
        todo = "mount its disk, or name the right directory; a damaged header is on each of its disks too"
        yield problem("volume", volume.header_trouble, todo)
    elif volume.header_format is not None:
        tables = "" if volume.metadata_format is None else f", its metadata {volume.metadata_format}"
        yield well("volume", f"it has format {volume.header_format}{tables}")
    if volume.left_aside:
        text = f"{', '.join(volume.left_aside)} lie beside its metadata, as they were before something was mended"
        yield note("leftovers", text, "delete them once all is well: nothing reads them")


def _disk(disk: Disk, volume: Volume) -> Iterator[Finding]:
    about = f"disk {disk.path}"
    if disk.trouble is not None:
        yield problem(about, disk.trouble, "mount it, or name its new place with rustfsfs disk add")
        return
    before = [*_file_system(disk, about), *_space(disk, about)]
    if disk.is_read_only and not volume.wants_read_only:
        todo = "see in the kernel's log why, mend that, and mount it for writing; or rustfsfs mount --read-only"
        before.append(problem(about, "its file system is read-only", todo))
    yield from before
    if not before:
        free, total = format_size(disk.free_bytes), format_size(disk.total_bytes)
        yield well(about, f"{disk.file_system}, {free} of {total} free{_sealed(disk)}")
    if disk.is_rotational and disk.holds_metadata:
        text = "the kernel takes the disk of metadata and journal for one that turns, where each sync waits"
        yield note(about, text, "if it is: keep VOLUME on an SSD, and the packs on such disks (--disk)")


def _sealed(disk: Disk) -> str:
    if disk.is_encrypted is None:
        return ""
    return "; on dm-crypt" if disk.is_encrypted else "; not on dm-crypt, and need not be: the volume encrypts all"


def _file_system(disk: Disk, about: str) -> Iterator[Finding]:
    kind = disk.file_system
    if kind in REFUSED:
        yield problem(
            about, f"it lies on {kind}, which does not keep what an fsync promised", "move it to a local disk"
        )
    elif kind in ("tmpfs", "ramfs"):
        yield warning(about, f"it is in RAM ({kind}): all of it is gone when the machine stops", "move it to a disk")
    elif kind not in SUITED:
        yield warning(about, f"nobody has tried it on {kind}", "use ext4, xfs or btrfs")


def _space(disk: Disk, about: str) -> Iterator[Finding]:
    for what, free, total, told in (
        ("space", disk.free_bytes, disk.total_bytes, format_size(disk.free_bytes)),
        ("inodes", disk.free_inodes, disk.total_inodes, f"{disk.free_inodes:,}"),
    ):
        if not total or free >= total * SHARE_LOW:
            continue
        text = f"of its {what} {free / total:.1%} is free ({told})"
        make = problem if free < total * SHARE_OUT else warning
        yield make(
            about, text, "free some, add a disk (rustfsfs disk add), or attach a bucket (rustfsfs bucket attach)"
        )


def _secret(secret: SecretFile, volume: Volume) -> Finding:
    about = secret.what
    if secret.trouble is not None:
        return problem(about, f"{secret.path} cannot be read ({secret.trouble})", "put it there, or name the right one")
    if secret.mode & OTHERS:
        text = f"others may read {secret.path} (mode {secret.mode & 0o777:04o})"
        make = warning if secret.may_be_read else problem
        return make(about, text, f"chmod 600 {secret.path}")
    if secret.owner not in (0, volume.user):
        text = f"{secret.path} belongs to user {secret.owner}, who can put another in its place"
        return warning(about, text, f"chown root {secret.path}")
    if secret.inside is not None:
        text = f"{secret.path} lies in {secret.inside}, beside what it opens: whoever has that disk has both"
        return warning(about, text, "keep it elsewhere, and a copy of it away from this machine")
    return well(about, f"{secret.path} is readable by its owner only")


def _key(volume: Volume) -> Iterator[Finding]:
    if volume.key_trouble is not None:
        yield problem("key", volume.key_trouble, f"name the right one in the settings of {volume.name or volume.path}")
    elif volume.key_opens:
        yield well("key", "the key that its settings name opens it")
    elif volume.names_no_key:
        text = "its settings name no key: mounting it asks for a passphrase, which no unit and no fstab can"
        yield note("key", text, "name one with key_file, passphrase_file or credential")
    elif volume.missing_credentials:
        text = f"its settings name a credential, and none is in {' or '.join(volume.missing_credentials)}"
        yield warning("key", text, "put it there, unless a LoadCredential= of its unit names another place")


def _point(volume: Volume) -> Iterator[Finding]:
    if volume.names_no_point:
        text = "its settings name no mount.point, so that its unit cannot mount it"
        yield note("mount point", text, "write one there; rustfsfs mount takes one behind NAME, too")
    elif volume.point_trouble is not None:
        yield problem("mount point", volume.point_trouble, "make it an empty directory, or name another mount.point")


def _state(volume: Volume) -> Iterator[Finding]:
    if volume.is_dead:
        text = f"the daemon of the mount on {volume.mount_point} is gone"
        yield problem("mount", text, f"rustfsfs umount {volume.mount_point}, then mount it again: nothing is lost")
    elif volume.control_trouble is not None:
        text = f"process {volume.pid} has it, and does not answer: {volume.control_trouble}"
        todo = f"see its log; kill -ABRT {volume.pid} leaves its stacks there, and the next mount recovers"
        yield problem("mount", text, todo)
    elif volume.mount_point is not None:
        yield well("mount", f"process {volume.pid} serves it on {volume.mount_point}, and answers")
    elif volume.is_locked:
        text = f"process {volume.pid} has it open, and it is mounted nowhere: a command, or a mount that was detached"
        yield note("mount", text)
    elif volume.pid is not None:
        text = f"process {volume.pid} was killed, or the power failed"
        yield note("mount", text, "the next mount brings back all that was durable")
    else:
        yield well("mount", "it is not mounted, and was closed in good order")
    if volume.keeps_cores:
        text = "a crash of the daemon would leave its memory, keys too, in a core file"
        yield note("core files", text, "set LimitCORE=0 (the unit does), or ulimit -c 0 before mounting")
    for reason in volume.reasons:
        yield problem("status", reason, f"rustfsfs status {volume.name or volume.path} shows the rest")


def _bucket(volume: Volume) -> Iterator[Finding]:
    bucket = volume.bucket
    if bucket is None:
        return
    about = f"bucket {bucket.name}"
    if bucket.without_credentials is not None:
        text = f"it was not asked, since {bucket.without_credentials}; the mount has an environment of its own"
        yield note(about, text, f"run it with them in the environment, or see rustfsfs status {volume.path}")
    elif bucket.trouble is not None:
        todo = "correct credentials, clock or policy" if bucket.is_refusal else "look at the network and the endpoint"
        yield problem(about, bucket.trouble, todo)
    else:
        for rule in bucket.rules:
            level = Level.PROBLEM if rule.severity is Severity.REFUSE else Level.WARNING
            said, _semicolon, todo = rule.text.rpartition("; ")
            yield Finding(level, about, said or rule.text, todo)
        if not bucket.rules:
            yield well(about, "it answers; no rule of its owner, no versioning and no clock is in the way")


def _unit(volume: Volume) -> Iterator[Finding]:
    unit = volume.unit
    if unit is None:
        return
    if unit.load_state != "loaded":
        yield note("systemd", f"there is no {unit.name}", "make install puts it there")
    elif unit.active_state == "failed":
        yield problem("systemd", f"{unit.name} has failed", f"journalctl -u {unit.name} says why")
    elif unit.enabled != "enabled":
        text = f"{unit.name} is {unit.active_state}, and does not start with the machine"
        yield note("systemd", text, f"systemctl enable {unit.name}")
    else:
        yield well("systemd", f"{unit.name} is {unit.active_state}")


def _export(volume: Volume) -> Iterator[Finding]:
    if not volume.exported_by:
        return
    where = ", ".join(volume.exported_by)
    if volume.is_strict:
        yield well("NFS", f"exported by {where}, and names are durable before the reply")
    else:
        text = f"{where} exports it, and it is not mounted with nfs=strict: after a power cut clients may miss names"
        yield warning("NFS", text, 'write nfs = "strict" below [mount] of its NAME.toml, or mount with -o nfs=strict')
