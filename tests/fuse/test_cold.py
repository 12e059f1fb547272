"""A mount whose data is in a bucket: readers that are killed, outages, and what goes on meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted import Mounted
from tests.oss_server import OssServer
from tests.oss_server.exchange import Outage

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # a mount each
DATA = os.urandom(400_000)


@pytest.fixture
def mounted(tmp_path: Path, oss: OssServer) -> Iterator[Mounted]:
    """With a file `cold` that is in the bucket only, and a file `warm`."""
    credentials = tmp_path / "credentials.toml"
    credentials.write_text(f'access_key_id = "{oss.key_id}"\naccess_key_secret = "{oss.secret}"\n')
    credentials.chmod(0o600)
    made = Mounted(tmp_path)
    made.format()
    (made.volume / "config.toml").write_text(
        '[demote]\nhigh = 0.999\nlow = 0.99\n[cold]\nread_deadline = "3s"\n[protect]\nenabled = false\n'
    )
    made.mount()
    try:
        made.run("bucket", "attach", made.point, "oss://packs/vol", "--endpoint", oss.endpoint, "--region", oss.region,
                 "--credentials", credentials)  # fmt: skip
        (made.point / "cold").write_bytes(DATA)
        made.run("tier", "demote", made.point / "cold")
        (made.point / "warm").write_bytes(DATA[::-1])
        Path("/proc/sys/vm/drop_caches").write_text("1")
        yield made
    finally:
        made.umount()


def test_a_reader_that_is_killed_while_it_waits_is_gone_within_a_second(mounted: Mounted, oss: OssServer) -> None:
    with oss.outage(Outage.HANG):
        reader = subprocess.Popen(["cat", mounted.point / "cold"], stdout=subprocess.DEVNULL)
        time.sleep(0.3)  # nobody tells when it waits
        assert reader.poll() is None
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(timeout=1.0) == -signal.SIGKILL


def test_in_an_outage_cold_reads_fail_after_the_deadline_and_everything_else_goes_on(
    mounted: Mounted, oss: OssServer
) -> None:
    with oss.outage(Outage.REFUSE):
        began_s = time.monotonic()
        with pytest.raises(OSError, match="Input/output error"):
            (mounted.point / "cold").read_bytes()
        assert 0.5 < time.monotonic() - began_s < 20  # it tries again, at most until `cold.read_deadline`, 3 s
        assert (mounted.point / "warm").read_bytes() == DATA[::-1]
        (mounted.point / "new").write_bytes(DATA)
        os.rename(mounted.point / "cold", mounted.point / "renamed")
        assert os.stat(mounted.point / "renamed").st_size == len(DATA)
        told = json.loads(mounted.run("status", mounted.point, "--json").stdout)["bucket"]
        assert told["unreachable_since_ns"] is not None and told["last_error"]
    deadline_s = time.monotonic() + 60
    while True:
        try:
            assert (mounted.point / "renamed").read_bytes() == DATA
            break
        except OSError:
            assert time.monotonic() < deadline_s, "it does not work again by itself"
            time.sleep(0.5)


def test_where_a_file_lies_can_be_asked_and_not_set(mounted: Mounted) -> None:
    assert os.getxattr(mounted.point / "cold", "user.rustfsfs.tier") == b"cold"
    assert int(os.getxattr(mounted.point / "cold", "user.rustfsfs.unique_bytes")) >= len(DATA)
    with pytest.raises(PermissionError):
        os.setxattr(mounted.point / "cold", "user.rustfsfs.tier", b"hot")
    assert os.listxattr(mounted.point / "cold") == []


def test_of_a_volume_and_its_copy_the_one_that_wrote_last_owns_the_bucket(mounted: Mounted, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Mounted(tmp_path / "other")
    mounted.umount()
    shutil.copytree(mounted.base / "volume", other.volume, ignore=shutil.ignore_patterns("lock", "control.sock"))
    mounted.mount()
    other.mount()
    try:
        other.run("tier", "demote", other.point / "warm")
        done = mounted.run("tier", "demote", mounted.point / "warm", check=False)
        assert done.returncode != 0 and "another host has taken the bucket over" in done.stderr
        assert "READ ONLY: another host" in mounted.run("status", mounted.point, check=False).stdout
        for one in (mounted, other):
            assert (one.point / "cold").read_bytes() == DATA
            assert (one.point / "warm").read_bytes() == DATA[::-1]
    finally:
        other.umount()
        other.clean_up()
