"""`rustfsfs doctor`, as a person sees it: what is found, its exit code; nothing changes, and it never hangs."""

import json
import os
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rustfsfs.cli import doctor
from rustfsfs.cli.main import run
from rustfsfs.service import sites
from tests.cli.test_bucket import EXPIRES
from tests.mounted import TIMEOUT_S, Mounted
from tests.oss_server import Fault, Hang, OssServer


class Clinic:
    """A volume whose name is home; doctor runs in this process."""

    def __init__(self, base: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.mounted = Mounted(base)
        self.mounted.format()
        self._capfd = capfd
        (base / "etc").mkdir()
        self.write()

    def write(self, more: str = "") -> None:
        at = self.mounted
        (at.base / "etc" / "home.toml").write_text(
            f'[mount]\nvolume = "{at.volume}"\npoint = "{at.point}"\nkey_file = "{at.key}"\n{more}'
        )

    def doctor(self, *arguments: str | Path) -> tuple[int, str]:
        self._capfd.readouterr()
        code = run(["doctor", *map(str, arguments)])
        return code, self._capfd.readouterr().out

    def findings(self, place: str | Path = "home") -> dict[str, dict[str, Any]]:
        """Of the volume, by what they are about; the exit code fits them."""
        code, out = self.doctor(place, "--json")
        shown = json.loads(out)
        assert code == (7 if shown["problems"] else 0)
        return {one["about"]: one for one in shown["findings"] if one["where"] != doctor.MACHINE}

    def attach(self, oss: OssServer) -> None:
        credentials = self.mounted.base / "credentials.toml"
        credentials.touch(0o600)
        credentials.write_text(f'access_key_id = "{oss.key_id}"\naccess_key_secret = "{oss.secret}"\n')
        place = ("oss://packs/vol", "--endpoint", oss.endpoint, "--region", oss.region)
        key = ("--key-file", self.mounted.key, "--credentials", credentials)
        self.mounted.run("bucket", "attach", self.mounted.volume, *place, *key)


@pytest.fixture
def clinic(
    tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Clinic]:
    base = tmp_path_factory.mktemp("c")
    monkeypatch.setenv(sites.VARIABLE, str(base / "etc"))
    made = Clinic(base, capfd)
    yield made
    made.mounted.clean_up()


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
        if path.name not in ("ballast", "journal") and "journal" not in path.parts
    }


def test_a_volume_that_is_well_and_nothing_is_changed(clinic: Clinic) -> None:
    before = everything(clinic.mounted.base)
    found = clinic.findings()
    assert everything(clinic.mounted.base) == before
    assert {found[about]["level"] for about in ("settings", "volume", "key file", "key", "mount")} == {"ok"}
    code, out = clinic.doctor("home")
    assert "machine:\n" in out and "home:\n" in out and out.rstrip().endswith(".")
    assert code == (7 if "PROBLEM" in out else 0)


@pytest.mark.parametrize(
    ("do", "about", "says"),
    [
        pytest.param(lambda one: one.mounted.key.chmod(0o644), "key file", "others may read", id="key file"),
        pytest.param(lambda one: one.mounted.key.write_bytes(b"x" * 32), "key", "", id="another key"),
        pytest.param(
            lambda one: one.write('options = "colour"'), "settings", "unknown mount option colour", id="option"
        ),
        pytest.param(lambda one: one.write("[demote]\nhigh = 7"), "settings", "home.toml", id="setting"),
        pytest.param(lambda one: one.write("colour = 1"), "settings", "colour", id="key of NAME.toml"),
        pytest.param(lambda one: one.mounted.point.rmdir(), "mount point", "does not exist", id="no mount point"),
        pytest.param(
            lambda one: (one.mounted.point / "f").touch(), "mount point", "is not empty", id="a full mount point"
        ),
        pytest.param(lambda one: (one.mounted.volume / "header").write_bytes(b"?"), "volume", "header", id="header"),
    ],
)
def test_what_is_wrong_is_a_problem_and_the_exit_code_says_so(clinic: Clinic, do: Any, about: str, says: str) -> None:
    do(clinic)
    found = clinic.findings()[about]
    assert found["level"] == "problem" and says in found["text"] and found["todo"]


def test_a_key_that_others_may_read_is_one_problem(clinic: Clinic) -> None:
    clinic.mounted.key.chmod(0o644)
    assert [about for about, one in clinic.findings().items() if one["level"] == "problem"] == ["key file"]


def test_what_a_unit_would_lack_is_said(clinic: Clinic) -> None:
    site = clinic.mounted.base / "etc" / "home.toml"
    whole = site.read_text()
    site.write_text(re.sub("key_file = .*", 'credential = "key"', whole))
    assert clinic.findings()["key"]["level"] == "warning" and "/etc/credstore/" in clinic.findings()["key"]["text"]
    site.write_text(re.sub("key_file = .*", 'credential = "mine"', whole))
    assert "key" not in clinic.findings(), "how the unit is told of it nobody knows"
    site.write_text(re.sub("(key_file|point) = .*", "", whole))
    assert {clinic.findings()[about]["level"] for about in ("key", "mount point")} == {"note"}


def test_of_all_a_broken_name_hides_none(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' mounts on this machine are looked at as well."""
    monkeypatch.setattr(doctor, "PATIENCE_S", 1.0)
    (clinic.mounted.base / "etc" / "broken.toml").write_text("[mount\n")
    code, out = clinic.doctor("--json")
    where = {one["where"] for one in json.loads(out)["findings"]}
    assert code == 7 and where >= {"machine", "broken", "home"}


def test_what_is_no_volume_is_refused(clinic: Clinic, tmp_path: Path) -> None:
    assert clinic.doctor(tmp_path)[0] == 4


def test_the_bucket_is_asked_and_nothing_is_written_there(clinic: Clinic, oss: OssServer) -> None:
    clinic.attach(oss)
    about, before = "bucket oss://packs/vol", everything(oss.folder)
    assert clinic.findings()[about]["level"] == "ok"
    with oss.store.lock:
        oss.store.bucket("packs").lifecycle = f"<LifecycleConfiguration>{EXPIRES}</LifecycleConfiguration>".encode()
    found = clinic.findings()[about]
    assert found["level"] == "problem" and "deletes objects" in found["text"] and "remove" in found["todo"]
    (clinic.mounted.base / "credentials.toml").chmod(0o644)
    found = clinic.findings()
    assert "others may read" in found["bucket credentials"]["text"] and found[about]["level"] == "problem"
    assert everything(oss.folder) == before and oss.secret not in json.dumps(found)


def test_a_bucket_that_never_answers_is_a_finding(
    clinic: Clinic, oss: OssServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.attach(oss)
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.5)
    oss.faults.plan(Fault(effect=Hang(), count=None))
    found = clinic.findings()["bucket oss://packs/vol"]
    assert found["level"] == "problem" and "did not answer within 0.5 s" in found["text"]
    oss.faults.plan()


@pytest.mark.fuse
@pytest.mark.slow
def test_a_mount_that_serves_hangs_and_is_dead(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    at = clinic.mounted
    at.mount()
    pid = at.pid
    os.kill(pid, signal.SIGSTOP)  # before the kernel knows anything of the mount that it could answer itself
    try:
        with monkeypatch.context() as patch:
            patch.setattr(doctor, "PATIENCE_S", 0.5)
            for place in (at.point, "home"):
                found = clinic.findings(place)
                assert f"process {pid} has it, and does not answer" in found["mount"]["text"]
    finally:
        os.kill(pid, signal.SIGCONT)
    for place in ("home", at.volume, at.point):
        found = clinic.findings(place)
        assert found["mount"]["level"] == "ok" and "metadata 1" in found["volume"]["text"]
    watch = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([watch], [], [], TIMEOUT_S)
    os.close(watch)
    found = clinic.findings()
    assert found["mount"]["level"] == "problem" and "is gone" in found["mount"]["text"]
    at.umount()
    found = clinic.findings()
    assert found["mount"]["level"] == "note" and f"process {pid} was killed" in found["mount"]["text"]
