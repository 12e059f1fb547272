"""mount.rustfsfs: what mount(8) and fstab say, in the words of `rustfsfs mount`; and once through mount(8) itself."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.cli import exits
from rustfsfs.cli.helper import DROPPED, FAILED, INTERRUPTED, TROUBLE, USAGE, code_of, meant, parse, status
from rustfsfs.errors import UsageError
from rustfsfs.mount import KNOWN_OPTIONS
from rustfsfs.service import sites
from tests.mounted import TIMEOUT_S, Mounted

HELPER = Path("/sbin/mount.rustfsfs")  # the one place where mount(8) looks


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        pytest.param([], (), id="nothing"),
        pytest.param(["-o", "rw"], ("-o", "rw"), id="what mount(8) always says"),
        pytest.param(["-s", "-n", "-v", "-o", "ro,noatime"], ("-o", "ro,noatime"), id="flags"),
        pytest.param(["-t", "fuse.rustfsfs", "-o", "defaults"], ("-o", "defaults"), id="a type"),
        pytest.param(["-o", "user,nofail,_netdev,x-systemd.after=a,comment=b"], (), id="of others"),
        pytest.param(
            ["-o", "key-file=/k,suid,degraded,passphrase-file=/p"],
            ("--key-file", "/k", "--degraded", "--passphrase-file", "/p", "-o", "suid"),
            id="options of the command",
        ),
        pytest.param(["-o", "sync,key-file"], ("-o", "sync,key-file"), id="what mount refuses"),
    ],
)
def test_what_mount_says_in_our_words(words: list[str], arguments: tuple[str, ...]) -> None:
    asked = parse(["/srv/v", "/mnt", *words])
    assert (asked.spec, asked.point, asked.arguments) == ("/srv/v", "/mnt", arguments)
    assert asked.is_fake == ("-f" in words)
    assert parse([*words, "/srv/v", "/mnt"]) == asked


def test_nothing_that_protects_is_dropped() -> None:
    assert not DROPPED & {"nosuid", "nodev", "noexec", "ro", "sync", "dirsync"}
    assert {"nosuid", "nodev", "noexec", "ro"} <= set(KNOWN_OPTIONS)


@pytest.mark.parametrize(
    "words",
    [
        *([], ["a"], ["a", "b", "c"], ["a", "b", "-x"], ["a", "b", "-N", "1"], ["a", "b", "-o"]),
        ["a", "b", "-o", "remount,ro"],
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)
    assert status(words) == USAGE
    assert capsys.readouterr().err.startswith("rustfsfs: mount.rustfsfs")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (exits.DONE, 0),
        (exits.USAGE, USAGE),
        (exits.BUG, TROUBLE),
        (exits.INTERRUPTED, INTERRUPTED),
        (exits.WRONG_KEY, FAILED),
        (exits.IN_USE, FAILED),
        (exits.MACHINE, FAILED),
    ],
)
def test_exit_codes_are_those_of_mount(ours: int, theirs: int) -> None:
    assert code_of(ours) == theirs


def test_a_name_is_known_although_mount_made_a_path_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home.toml").write_text(f'[mount]\nvolume = "{tmp_path}/v"\n')
    monkeypatch.setenv(sites.VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert meant(f"{tmp_path}/home") == "home"
    assert meant(f"{tmp_path}/v") == f"{tmp_path}/v"
    assert meant("/elsewhere/home") == "/elsewhere/home"
    for folder in ("v", "home"):
        (tmp_path / folder).mkdir()
    assert meant(f"{tmp_path}/home") == "home"
    (tmp_path / "home" / "header").write_text("a volume")
    assert meant(f"{tmp_path}/home") == f"{tmp_path}/home"
    (tmp_path / "home.toml").write_text(f'[mount]\nvolume = "{tmp_path}/home"\n')
    assert meant(f"{tmp_path}/home") == "home"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[None]:
    """The helper is where mount(8) looks for it, for as long as the test runs."""
    program = tmp_path / "helper"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rustfsfs.cli.helper "$@"\n')
    program.chmod(0o755)
    try:
        HELPER.symlink_to(program)
    except FileExistsError:
        if HELPER.exists():
            pytest.skip(f"{HELPER} is there already")
        HELPER.unlink()  # what a killed test left
        HELPER.symlink_to(program)
    try:
        yield
    finally:
        if HELPER.is_symlink() and HELPER.readlink() == program:
            HELPER.unlink()


def mount(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["mount", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        check=False,
        cwd=folder,
        env=os.environ | {sites.VARIABLE: str(folder)},
    )


@pytest.mark.fuse
@pytest.mark.slow  # two daemons start and end
def test_mount_and_fstab_mount_a_name(tmp_path: Path, installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sites.VARIABLE, str(tmp_path))
    base = Mounted(tmp_path)
    base.format()
    (tmp_path / "home.toml").write_text(f'[mount]\nvolume = "{base.volume}"\nkey_file = "{base.key}"\n')
    (tmp_path / "home").mkdir()  # as /home is when a machine boots
    fstab = tmp_path / "fstab"
    fstab.write_text(f"home {base.point} rustfsfs defaults,user,nofail,noatime,x-systemd.automount 0 0\n")
    try:
        done = mount(tmp_path, "-t", "rustfsfs", "home", base.point)
        assert (done.returncode, done.stderr) == (0, "")
        assert base.status()["volume"]["mount_point"] == str(base.point)
        base.run("umount", "home")
        assert mount(tmp_path, "-T", fstab, base.point).returncode == 0
        options = next(line for line in Path("/proc/mounts").read_text().splitlines() if str(base.point) in line)
        assert "nosuid" in options and "noexec" in options and "noatime" in options, options
        again = mount(tmp_path, "-T", fstab, "-a")
        assert again.returncode == 0 and "already" in again.stderr
        remounted = mount(tmp_path, "-T", fstab, "-o", "remount,ro", base.point)
        assert remounted.returncode != 0 and "mount it anew" in remounted.stderr
        base.run("umount", base.point)
        wrong = mount(tmp_path, "-o", "key-file=/nowhere", "-t", "rustfsfs", "home", base.point)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (FAILED, 1) and "/nowhere" in wrong.stderr
    finally:
        base.clean_up()
