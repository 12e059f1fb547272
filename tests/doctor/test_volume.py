"""Every finding about a volume, each from one fact that is not as it should be."""

from dataclasses import replace
from typing import Any

import pytest

from rustfsfs.doctor.finding import Finding, Level
from rustfsfs.doctor.volume import BucketAsked, Disk, SecretFile, Unit, Volume, findings
from rustfsfs.tiers import bucket_rules
from rustfsfs.tiers.bucket_rules import Severity
from rustfsfs.units import GIB

DISK = Disk(
    path="/srv/v",
    file_system="ext4",
    total_bytes=100 * GIB,
    free_bytes=50 * GIB,
    total_inodes=1000,
    free_inodes=900,
    is_encrypted=False,
    is_rotational=False,
    holds_metadata=True,
)
KEY = SecretFile(what="key file", path="/root/key", mode=0o100600, owner=0)
BUCKET = BucketAsked(name="oss://packs/v")
UNIT = Unit(name="rustfsfs@home.service", load_state="loaded", active_state="active", enabled="enabled")
WELL = Volume(
    name="home",
    path="/srv/v",
    user=0,
    memory_bytes=8 * GIB,
    patience_s=5.0,
    header_format=1,
    metadata_format=2,
    cache_ram_bytes=GIB,
    disks=(DISK,),
    secrets=(KEY,),
    key_opens=True,
    mount_point="/mnt",
    is_locked=True,
    pid=17,
    bucket=BUCKET,
    unit=UNIT,
    exported_by=("/etc/exports",),
    is_strict=True,
)


def rule(severity: Severity) -> BucketAsked:
    return replace(BUCKET, rules=(bucket_rules.Finding(severity, "a rule deletes objects; remove it"),))


def disk(**changed: Any) -> dict[str, Any]:
    return {"disks": (replace(DISK, **changed),)}


def secret(**changed: Any) -> dict[str, Any]:
    return {"secrets": (replace(KEY, **changed),)}


def unit(**changed: Any) -> dict[str, Any]:
    return {"unit": replace(UNIT, **changed)}


def bad(volume: Volume) -> list[Finding]:
    return [one for one in findings(volume) if one.level is not Level.OK]


def test_a_volume_that_is_well_has_nothing_to_do() -> None:
    assert bad(WELL) == []
    said = " ".join(one.text for one in findings(WELL))
    assert "format 1, its metadata 2" in said and "not on dm-crypt, and need not be" in said


P, W, N = Level.PROBLEM, Level.WARNING, Level.NOTE


@pytest.mark.parametrize(
    ("changed", "level", "about", "says"),
    [
        pytest.param({"stuck": ("mount /mnt",)}, P, "mount /mnt", "no answer within 5 s", id="it hangs"),
        pytest.param({"settings_trouble": ("x.toml: no",)}, P, "settings", "x.toml: no", id="settings"),
        pytest.param({"cache_ram_bytes": 5 * GIB}, W, "settings", "cache.ram is 5.0 GiB, of 8.0 GiB", id="cache.ram"),
        pytest.param({"header_trouble": "newer format"}, P, "volume", "newer format", id="header"),
        pytest.param({"is_rebuilding": True}, P, "volume", "cut off", id="rebuilding"),
        pytest.param({"left_aside": ("metadata.db.damaged",)}, N, "leftovers", "metadata.db.damaged", id="leftovers"),
        pytest.param(disk(trouble="is the disk mounted?"), P, "disk /srv/v", "is the disk mounted?", id="no disk"),
        pytest.param(disk(free_bytes=4 * GIB), W, "disk /srv/v", "space 4.0% is free (4.0 GiB)", id="little space"),
        pytest.param(disk(free_bytes=GIB // 2), P, "disk /srv/v", "space 0.5% is free", id="no space"),
        pytest.param(disk(free_inodes=30), W, "disk /srv/v", "inodes 3.0% is free (30)", id="few inodes"),
        pytest.param(disk(free_inodes=1), P, "disk /srv/v", "inodes 0.1% is free", id="no inodes"),
        pytest.param(disk(file_system="nfs4"), P, "disk /srv/v", "nfs4, which does not keep", id="nfs"),
        pytest.param(disk(file_system="tmpfs"), W, "disk /srv/v", "in RAM", id="tmpfs"),
        pytest.param(disk(file_system="vfat"), W, "disk /srv/v", "nobody has tried it on vfat", id="vfat"),
        pytest.param(disk(is_read_only=True), P, "disk /srv/v", "file system is read-only", id="read-only"),
        pytest.param(disk(is_rotational=True), N, "disk /srv/v", "for one that turns", id="turns"),
        pytest.param(secret(trouble="No such file"), P, "key file", "(No such file)", id="no key file"),
        pytest.param(secret(mode=0o100644), P, "key file", "others may read /root/key (mode 0644)", id="open key"),
        pytest.param(
            secret(mode=0o100640, may_be_read=True), W, "key file", "others may read", id="open passphrase file"
        ),
        pytest.param(secret(owner=1000), W, "key file", "belongs to user 1000", id="another's key"),
        pytest.param(secret(inside="/srv/v"), W, "key file", "lies in /srv/v, beside what it opens", id="key inside"),
        pytest.param({"key_trouble": "it opens no slot"}, P, "key", "it opens no slot", id="wrong key"),
        pytest.param(
            {"key_opens": False, "names_no_key": True}, N, "key", "no unit and no fstab can", id="no key named"
        ),
        pytest.param(
            {"key_opens": False, "missing_credentials": ("/etc/credstore/rustfsfs-home", "/b")},
            W,
            "key",
            "none is in /etc/credstore/rustfsfs-home or /b",
            id="no credential",
        ),
        pytest.param({"names_no_point": True}, N, "mount point", "its unit cannot mount it", id="no point named"),
        pytest.param({"point_trouble": "/mnt is no directory"}, P, "mount point", "/mnt is no", id="mount point"),
        pytest.param({"is_dead": True}, P, "mount", "the daemon of the mount on /mnt is gone", id="dead mount"),
        pytest.param({"control_trouble": "nothing"}, P, "mount", "process 17 has it, and does not", id="hung daemon"),
        pytest.param({"mount_point": None}, N, "mount", "mounted nowhere", id="detached"),
        pytest.param({"mount_point": None, "is_locked": False}, N, "mount", "17 was killed", id="killed"),
        pytest.param({"keeps_cores": True}, N, "core files", "keys too, in a core file", id="cores"),
        pytest.param({"reasons": ("1 chunk is damaged",)}, P, "status", "1 chunk is damaged", id="reasons"),
        pytest.param(
            {"bucket": replace(BUCKET, trouble="no route")}, P, "bucket oss://packs/v", "no route", id="unreachable"
        ),
        pytest.param(
            {"bucket": replace(BUCKET, trouble="denied", is_refusal=True)},
            P,
            "bucket oss://packs/v",
            "denied",
            id="refused",
        ),
        pytest.param(
            {"bucket": replace(BUCKET, without_credentials="none")}, N, "bucket oss://packs/v", "none", id="not asked"
        ),
        pytest.param({"bucket": rule(Severity.REFUSE)}, P, "bucket oss://packs/v", "a rule deletes", id="a rule"),
        pytest.param({"bucket": rule(Severity.WARN)}, W, "bucket oss://packs/v", "a rule deletes", id="a dear rule"),
        pytest.param(unit(load_state="not-found"), N, "systemd", "there is no rustfsfs@home", id="no unit"),
        pytest.param(unit(active_state="failed"), P, "systemd", "has failed", id="failed unit"),
        pytest.param(unit(enabled="disabled"), N, "systemd", "does not start with the machine", id="disabled unit"),
        pytest.param({"is_strict": False}, W, "NFS", "/etc/exports exports it, and it is not", id="loose NFS"),
    ],
)
def test_one_fact_makes_one_finding(changed: dict[str, Any], level: Level, about: str, says: str) -> None:
    ((found, what, text, todo),) = bad(replace(WELL, **changed))
    assert (found, what) == (level, about) and says in text
    assert todo or level is Level.NOTE


def test_a_rule_is_told_apart_from_what_to_do() -> None:
    ((_level, _about, text, todo),) = bad(replace(WELL, bucket=rule(Severity.REFUSE)))
    assert (text, todo) == ("a rule deletes objects", "remove it")


def test_what_is_meant_to_be_read_only_may_be() -> None:
    assert bad(replace(WELL, wants_read_only=True, disks=(replace(DISK, is_read_only=True),))) == []


def test_of_an_unmounted_one_in_good_order_that_is_said() -> None:
    found = replace(WELL, mount_point=None, is_locked=False, pid=None, bucket=None, unit=None, exported_by=())
    assert bad(found) == [] and "closed in good order" in " ".join(one.text for one in findings(found))
