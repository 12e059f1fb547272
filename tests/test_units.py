"""The units of systemd: they verify, are hardened as far as a unit that mounts can be, and the daemon lives with it."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rustfsfs.cli import exits

ROOT = Path(__file__).parent.parent
SERVICE, TARGET = ROOT / "systemd/rustfsfs@.service", ROOT / "systemd/rustfsfs.target"
EXPOSURE_MAX = 45  # tenths
HIDING = re.compile(  # what gives a unit a mount namespace of its own: systemd.exec(5), shared/PYFUSE3.md
    r"(Private(Tmp|Devices|Mounts|IPC|Users|Network)|Protect(System|Home|Kernel\w*|ControlGroups|Proc|Hostname)|ProcSubset"
    r"|(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec|Bind|BindReadOnly)Paths|TemporaryFileSystem|MountAPIVFS"
    r"|RootDirectory|RootImage|DynamicUser|MountFlags|LogNamespace|\w+Directory)="
)

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="the package systemd is missing")


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are
    parser.read(SERVICE)
    return parser["Service"]


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze of the units as they would be installed, with a program that is there."""
    for unit, name in ((SERVICE, "rustfsfs@home.service"), (TARGET, TARGET.name)):
        (folder / name).write_text(unit.read_text().replace("/usr/local/bin/rustfsfs", sys.executable))
    command, *options = arguments
    units = [str(folder / "rustfsfs@home.service"), *([str(folder / TARGET.name)] if command == "verify" else [])]
    return subprocess.run(
        ["systemd-analyze", command, *options, *units], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_units_verify(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify", "--man=no")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened_as_far_as_it_can_be(tmp_path: Path) -> None:
    done = analyze(tmp_path, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_disabling_one_volume_leaves_the_others_to_start_with_the_machine(tmp_path: Path) -> None:
    installed, made = tmp_path / "usr/lib/systemd/system", tmp_path / "etc/systemd/system"
    installed.mkdir(parents=True)
    made.mkdir(parents=True)
    for unit in (SERVICE, TARGET):
        shutil.copy(unit, installed)
    for words in (["enable", "rustfsfs@a", "rustfsfs@b"], ["disable", "rustfsfs@a"]):
        subprocess.run(["systemctl", "--quiet", f"--root={tmp_path}", *words], check=True, timeout=60)
    links = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_symlink()}
    assert links == {"multi-user.target.wants/rustfsfs@b.service", "rustfsfs.target.wants/rustfsfs@b.service"}


def test_no_option_hides_the_mount_from_the_host() -> None:
    options = [line for line in SERVICE.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in options if HIDING.match(line)] == []


def test_the_unit_s_exit_codes_are_ours() -> None:
    assert service()["SuccessExitStatus"] == str(exits.INTERRUPTED)
    in_vain = {exits.USAGE, exits.WRONG_KEY, exits.NOT_A_VOLUME, exits.IN_USE}
    assert {int(code) for code in service()["RestartPreventExitStatus"].split()} == in_vain
