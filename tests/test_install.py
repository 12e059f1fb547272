"""`make install` into a folder, what it leaves there, and `make uninstall`."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from rustfsfs.man.pages import TOPICS

ROOT = Path(__file__).parent.parent


def make(target: str, folder: Path, *variables: str) -> None:
    done = asked(target, folder, *variables)
    assert done.returncode == 0, done.stdout + done.stderr


def asked(target: str, folder: Path, *variables: str, is_offline: bool = False) -> subprocess.CompletedProcess[str]:
    """No network: what rustfsfs needs, and what builds it, is this virtual environment's.

    is_offline   what builds it would have to be fetched
    """
    environment = os.environ | {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": str(int(is_offline)),  # 0: pip's way to say without
        "PIP_NO_INDEX": "1",
        "PIP_NO_COMPILE": "1",
    }
    return subprocess.run(
        ["make", "-s", target, f"DESTDIR={folder}", f"PYTHON={sys.executable}", *variables],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


@pytest.mark.slow  # makes a virtual environment and builds a wheel
def test_what_is_installed_runs_and_can_be_uninstalled(tmp_path: Path) -> None:
    make("install", tmp_path)
    lib = tmp_path / "usr/local/lib/rustfsfs/current"
    outside = {name for name in files(tmp_path) if not name.startswith("usr/local/lib/rustfsfs/")}
    assert {name for name in outside if "/share/man/" not in name} == {
        "usr/local/bin/rustfsfs",
        "usr/sbin/mount.rustfsfs",
        "usr/local/lib/systemd/system/rustfsfs@.service",
        "usr/local/lib/systemd/system/rustfsfs.target",
    }
    pages = {f"share/man/man{file.rpartition('.')[2]}/{file}" for file in TOPICS.values()}
    assert {name for name in outside if "/share/man/" in name} == {f"usr/local/{page}" for page in pages}
    assert (tmp_path / "etc/rustfsfs").is_dir()
    assert (tmp_path / "usr/local/bin/rustfsfs").resolve() == lib.resolve() / "bin/rustfsfs"
    assert (lib / "bin/rustfsfs").read_text().splitlines()[0] == "#!/usr/local/lib/rustfsfs/1/bin/python"
    assert os.readlink(tmp_path / "usr/sbin/mount.rustfsfs") == "/usr/local/lib/rustfsfs/current/bin/mount.rustfsfs"
    assert (lib / "bin/mount.rustfsfs").is_file()
    assert (lib / "lib/systemd/system/rustfsfs@.service").is_file(), "who installs with pipx finds the units here"
    assert all((lib / page).is_file() for page in pages), "and pipx the man pages"
    assert list(lib.glob("lib/python3*/site-packages/rustfsfs/man/rustfsfs-ecs.7.md")), "which `rustfsfs help` shows"
    said = subprocess.run(
        [lib / "bin/python", lib / "bin/rustfsfs", "--version"],
        env=os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("rustfsfs, version")
    make("uninstall", tmp_path)
    assert files(tmp_path) == set()


def as_it_is(folder: Path) -> dict[str, tuple[int, int]]:
    """Python's caches left out: the new program was run once."""
    found = {name: (folder / name).lstat() for name in files(folder) if "__pycache__" not in name}
    return {name: (facts.st_ino, facts.st_mtime_ns) for name, facts in found.items()}


@pytest.mark.slow  # two virtual environments and a half
def test_an_install_that_fails_leaves_the_program_and_one_that_does_not_what_runs_now(tmp_path: Path) -> None:
    home = tmp_path / "usr/local/lib/rustfsfs"
    make("install", tmp_path)
    before = as_it_is(tmp_path)
    assert asked("install", tmp_path, is_offline=True).returncode != 0
    assert as_it_is(tmp_path) == before and sorted(os.listdir(home)) == ["1", "current"]
    in_use = as_it_is(home / "1")
    (home / "7/bin").mkdir(parents=True)  # of one that was cut off
    make("install", tmp_path)
    assert as_it_is(home / "1") == in_use, "a daemon has not imported everything yet"
    assert (os.readlink(home / "current"), sorted(os.listdir(home))) == ("2", ["1", "2", "current"])
    make("uninstall", tmp_path)
    assert files(tmp_path) == set() and not home.exists()


def test_another_prefix_is_in_the_units_too(tmp_path: Path) -> None:
    make("install-files", tmp_path, "PREFIX=/opt/fs", "SBINDIR=/sbin")
    unit = (tmp_path / "opt/fs/lib/systemd/system/rustfsfs@.service").read_text()
    assert "ExecStart=/opt/fs/bin/rustfsfs mount" in unit and "/usr/local" not in unit
    assert os.readlink(tmp_path / "sbin/mount.rustfsfs") == "/opt/fs/lib/rustfsfs/current/bin/mount.rustfsfs"
