"""What NFS servers need of a mount, without one: `rustfsfs nfs`, and a device number that stays.

That handles outlive remounts and kills: test_posix.py. That replies wait for the disk: test_strict.py. With a server
and clients: make test-nfs.
"""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from rustfsfs.fuse import number
from tests.mounted import Mounted

pytestmark = [pytest.mark.fuse, pytest.mark.slow]


def device_of(mounted: Mounted) -> int:
    return os.minor(mounted.point.stat().st_dev)


def wanted_of(mounted: Mounted) -> int:
    return number.number_of(bytes.fromhex(mounted.status()["volume"]["uuid"].replace("-", "")))


def test_the_configuration_is_printed_for_the_mount_as_it_is(mounted: Mounted) -> None:
    uuid = mounted.status()["volume"]["uuid"]
    loose = mounted.run("nfs", mounted.point, "--server", "kernel", "--clients", "10.0.0.0/8,h1", "--clients", "h2")
    assert "is not mounted with nfs=strict" in loose.stderr
    *_, line = loose.stdout.splitlines()
    path, *clients = line.split()
    assert path == str(mounted.point)
    assert [client.partition("(")[0] for client in clients] == ["10.0.0.0/8", "h1", "h2"]
    assert all(f"fsid={uuid}" in client for client in clients)
    mounted.remount("-o", "nfs=strict")
    strict = mounted.run("nfs", mounted.volume, "--server", "ganesha")
    assert strict.stderr == ""
    assert f'Path = "{mounted.point}";' in strict.stdout and "Clients = 127.0.0.1;" in strict.stdout
    mounted.umount()
    assert mounted.run("nfs", mounted.volume, "--server", "kernel", check=False).returncode == 4


def test_the_device_number_is_the_volumes_own_whoever_mounts_in_between(mounted: Mounted, tmp_path: Path) -> None:
    wanted = wanted_of(mounted)
    mounted.remount("-o", "nfs=strict")
    assert device_of(mounted) == wanted
    mounted.kill()
    subprocess.run(["mount", "-t", "tmpfs", "other", str(tmp_path)], check=True)
    try:
        mounted.mount("-o", "nfs=strict")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert device_of(mounted) == wanted


def test_a_number_that_another_has_is_no_obstacle_but_is_told(mounted: Mounted, tmp_path: Path) -> None:
    wanted = wanted_of(mounted)
    with number.next_is(wanted):
        subprocess.run(["mount", "-t", "tmpfs", "other", str(tmp_path)], check=True)
    try:
        assert os.minor(tmp_path.stat().st_dev) == wanted
        mounted.remount("-o", "nfs=strict")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert device_of(mounted) != wanted
    assert f"0:{wanted} was not to be had" in (mounted.volume / "rustfsfs.log").read_text()


def test_without_enough_descriptors_it_goes_without() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = set(os.listdir("/proc/self/fd"))
    few = max(map(int, before)) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        with number.next_is(2000):
            os.close(os.open("/", os.O_RDONLY))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert set(os.listdir("/proc/self/fd")) == before, "what it took is given back"


def test_the_number_follows_from_the_uuid_and_is_above_what_a_host_uses() -> None:
    assert number.number_of(bytes(16)) == 1024
    assert number.number_of(b"\xff" * 16) == 2047
