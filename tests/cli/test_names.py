"""Volumes by NAME: what a word stands for, where the key comes from, and commands by name on a real mount."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rustfsfs.cli import places
from rustfsfs.cli.main import run
from rustfsfs.cli.mount import options_of, point_of
from rustfsfs.cli.secrets import CREDENTIALS, read_secret
from rustfsfs.content.slots import SlotKind
from rustfsfs.errors import NotAVolume, UsageError, WrongKey
from rustfsfs.mount import KNOWN_OPTIONS, STRICT
from rustfsfs.service import sites
from rustfsfs.siteconfig import SITE_KEYS, Site, parse_site
from tests.mounted import TIMEOUT_S, Mounted


def site(text: str = "") -> Site:
    return parse_site(f'[mount]\nvolume = "/srv/v"\n{text}', name="home", where="/etc/rustfsfs/home.toml")


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mounted:
    """A volume whose name is home, and a directory of that name to be mistaken for it."""
    base = Mounted(tmp_path)
    base.format()
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").mkdir()
    write(base)
    monkeypatch.setenv(sites.VARIABLE, str(tmp_path / "etc"))
    monkeypatch.chdir(tmp_path)
    return base


def write(base: Mounted, more: str = "", *, options: str = "") -> None:
    (base.base / "etc" / "home.toml").write_text(
        f'[mount]\nvolume = "{base.volume}"\npoint = "{base.point}"\nkey_file = "{base.key}"\n{options}\n{more}'
    )


def test_a_name_goes_before_a_directory_and_a_path_has_a_slash(named: Mounted) -> None:
    found = places.find("home")
    assert found.volume == str(named.volume) and found.site is not None and found.site.name == "home"
    assert places.find("./volume") == places.Place(str(named.volume), None, None)
    for path in ("./home", "homes"):
        with pytest.raises(NotAVolume) as caught:
            places.find(path)
        assert ("homes.toml there" in str(caught.value)) == (path == "homes")


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        pytest.param("", 6, "is not there", id="nowhere"),
        pytest.param("ln -s nowhere volume", 6, "is not there", id="a link to nowhere"),
        pytest.param("mkdir volume", 6, "is an empty directory", id="a mount point without its disk"),
        pytest.param("mkdir -p volume/lost+found", 4, "", id="a disk without the volume"),
        pytest.param("touch volume", 4, "", id="a file"),
    ],
)
def test_the_volume_of_a_name_may_come_late(named: Mounted, here: "Here", make: str, code: int, says: str) -> None:
    """Exit code 6 is what the unit tries again. A path is rather mistyped."""
    named.volume.rename(named.base / "away")
    subprocess.run(make, shell=True, cwd=named.base, check=True, timeout=TIMEOUT_S)
    for words in (("mount", "home"), ("status", "home"), ("config", "reload", "home")):
        said = here(*words)
        assert said.code == code and said.err.count("\n") == 1 and says in said.err, said
    assert here("mount", str(named.volume), str(named.point), "--key-file", str(named.key)).code == 4
    assert here("status", str(named.volume)).code == 4
    if says:
        said = here("fsck", "home", "--rebuild-from-bucket", "--key-file", str(named.key))
        assert said.code == 2 and "name the bucket" in said.err, "it may be brought back there"


@dataclass
class Said:
    code: int
    out: str
    err: str


class Here:
    """Commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        code = run(list(words))
        return Said(code, *self._capsys.readouterr())


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


def test_commands_by_name_need_no_key_and_heed_its_settings(named: Mounted, here: Here) -> None:
    write(named, '[cache]\nram = "64MiB"\n')
    shown = json.loads(here("status", "home", "--json").out)
    assert shown["volume"]["path"] == str(named.volume)
    assert shown["cache"]["ram_bytes_max"] == 64 << 20
    assert here("fsck", "home").out == "No findings.\n"
    assert "key-file" in here("key", "list", "home").out
    assert here("status", "./volume").code == 3
    write(named, "[cache]\ndisc = 5")
    said = here("status", "home")
    assert said.code == 2 and "did you mean cache.disk?" in said.err


def test_a_class_is_not_written_where_the_name_has_its_own(named: Mounted, here: Here) -> None:
    write(named, "[bucket]\nconcurrency = 4\n")
    before = (named.volume / "config.toml").read_text()
    said = here(
        "bucket",
        "attach",
        "home",
        "oss://packs/x",
        "--endpoint",
        "http://127.0.0.1:1",
        "--region",
        "cn-test",
        "--class",
        "IA",
    )
    assert said.code == 2 and f"{named.base}/etc/home.toml has bucket.class Standard" in said.err
    assert (named.volume / "config.toml").read_text() == before


def test_the_point_is_the_one_that_is_named_first() -> None:
    assert point_of("home", "/mnt", site('point = "/home"')) == "/mnt"
    assert point_of("home", None, site('point = "/home"')) == "/home"
    for found, says in ((None, "name a MOUNTPOINT"), (site(), r"has no mount\.point")):
        with pytest.raises(UsageError, match=says):
            point_of("home", None, found)


def test_strict_for_nfs_is_a_mount_option() -> None:
    assert options_of(site('options = "noatime"\nnfs = "strict"')) == {"noatime", STRICT}
    assert options_of(site()) == set()
    assert STRICT in KNOWN_OPTIONS


def test_a_key_comes_from_the_command_line_then_from_the_file(tmp_path: Path) -> None:
    for name, text in (("key", "k" * 32), ("other", "o" * 32), ("words", "open sesame\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    by_key = site(f'key_file = "{tmp_path}/key"')
    assert read_secret(None, None, None, site=by_key).value == b"k" * 32
    assert read_secret(None, f"{tmp_path}/other", None, site=by_key).value == b"o" * 32
    found = read_secret(None, None, None, site=site(f'passphrase_file = "{tmp_path}/words"'))
    assert (found.kind, found.value) == (SlotKind.PASSPHRASE, b"open sesame")
    with pytest.raises(WrongKey, match="no key was named"):
        read_secret(None, None, None, site=site())


def test_a_credential_is_a_file_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_key = site('credential = "home.key"')
    with pytest.raises(WrongKey, match="systemctl start rustfsfs@home"):
        read_secret(None, None, None, site=by_key)
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    with pytest.raises(WrongKey, match=r"LoadCredential=home\.key:FILE"):
        read_secret(None, None, None, site=by_key)
    file = tmp_path / "home.key"
    file.write_bytes(b"k" * 32 + b"\n")
    file.chmod(0o440)
    assert read_secret(None, None, None, site=by_key).value == b"k" * 32 + b"\n"
    by_words = site('credential = "home.key"\ncredential_kind = "passphrase"')
    assert read_secret(None, None, None, site=by_words).value == b"k" * 32
    file.chmod(0o444)
    for one in (by_key, by_words):
        with pytest.raises(WrongKey, match="others may read"):
            read_secret(None, None, None, site=one)


def test_check_finds_every_mistake_and_mounts_nothing(named: Mounted, here: Here) -> None:
    assert here("config", "check", "home").out == f"{named.base}/etc/home.toml: well\n"
    (named.base / "etc" / "mail.toml").write_text("[mount]\nvolum = '/srv/mail'")
    (named.base / "etc" / "web.toml").write_text("[mount]\nvolume = '/srv/web'")
    said = here("config", "check")
    assert said.code == 2 and said.out.count(": well\n") == 2
    assert said.err.count("\n") == 1 and "did you mean mount.volume?" in said.err
    assert here("config", "check", "web").code == 0
    assert "did you mean mount.volume?" in here("config", "check", "--file", "etc/mail.toml").err
    assert "did you mean home?" in here("config", "check", "hom").err
    assert here("config", "check", "home", "--file", "f").code == 2
    write(named, options='options = "noatme"')
    assert "did you mean noatime?" in here("config", "check", "home").err
    write(named)
    with open(named.volume / "config.toml", "a") as file:
        file.write("[seal]\nquite = '5s'\n")
    said = here("config", "check", "home")
    assert said.code == 2 and f"{named.volume}/config.toml" in said.err


@pytest.mark.parametrize(
    ("point", "listen", "says"),
    [
        pytest.param("/srv/v/mnt", "", "mount.point /srv/v/mnt lies inside or around", id="inside"),
        pytest.param("/srv//v/", "", "lies inside or around", id="the same"),
        pytest.param("/srv", "", "lies inside or around", id="around"),
        pytest.param("/mnt", "unix:/mnt/m.sock", "metrics.listen unix:/mnt/m.sock lies inside", id="metrics inside"),
        pytest.param("/srv/v2", "unix:/mnt/m.sock", "", id="well"),
        pytest.param("", "unix:/mnt/m.sock", "", id="no point"),
    ],
)
def test_check_finds_what_a_mount_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], point: str, listen: str, says: str
) -> None:
    path = tmp_path / "home.toml"
    path.write_text(f'[mount]\nvolume = "/srv/v"\npoint = "{point}"\n[metrics]\nlisten = "{listen}"\n')
    assert run(["config", "check", "--file", str(path)]) == (2 if says else 0)
    assert says in capsys.readouterr().err


def test_a_byte_order_mark_and_carriage_returns_are_no_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "home.toml"
    path.write_bytes(b'\xef\xbb\xbf[mount]\r\nvolume = "/srv/v"\r\n')
    assert run(["config", "check", "--file", str(path)]) == 0
    assert capsys.readouterr().out.endswith(": well\n")


@pytest.mark.parametrize("words", [("config", "check"), ("doctor",), ("mount",)], ids=" ".join)
@pytest.mark.parametrize("file", ["etc/home.toml", "volume/config.toml"])
def test_settings_that_are_no_file_are_told_and_not_waited_for(
    named: Mounted, file: str, words: tuple[str, ...]
) -> None:
    if words == ("mount",) and not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse, of which mount says so first")
    path = named.base / file
    path.unlink()
    os.mkfifo(path)
    done = named.run(*words, "home", check=False)
    assert f"the settings {path} are no regular file" in done.stdout + done.stderr
    assert done.returncode == (7 if words == ("doctor",) else 2)


def test_without_any_names_there_is_nothing_to_check(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sites.VARIABLE, str(tmp_path / "none"))
    assert here("config", "check") == Said(0, f"There is no NAME.toml in {tmp_path}/none.\n", "")


def test_show_says_each_value_and_where_it_comes_from(named: Mounted, here: Here) -> None:
    write(named, '[seal]\nquiet = "7s"\n')
    with open(named.volume / "config.toml", "w") as file:
        file.write('[seal]\nrecut_quiet = "1h"\n[scrub]\nrate = "9MiB"\n')
    shown = json.loads(here("config", "show", "home", "--json").out)
    assert list(shown) == [key.name for key in SITE_KEYS]
    file_here, file_there = f"{named.base}/etc/home.toml", f"{named.volume}/config.toml"
    assert shown["seal.quiet"] == {"value": '"7s"', "origin": file_here}
    hidden = {"value": '"1h"', "origin": file_there}
    assert shown["seal.recut_quiet"] == {"value": '"10min"', "origin": "default", "hidden": hidden}
    assert shown["scrub.rate"] == {"value": '"9MiB"', "origin": file_there}
    lines = here("config", "show", "home").out.splitlines()
    assert 'quiet = "7s"'.ljust(40) + f"  # {file_here}" in lines
    assert sum(" = " in line for line in lines) == len(SITE_KEYS)
    assert [line for line in lines if line.startswith("#")] == [
        f'# recut_quiet is "1h" in {file_there}, which does not count:'
        f" the table [seal] of {file_here} replaces that one"
    ]


@pytest.fixture
def home(named: Mounted) -> Iterator[Mounted]:
    """It is mounted, by its name."""
    named.run("mount", "home")
    try:
        yield named
    finally:
        named.clean_up()


@pytest.mark.fuse
def test_a_mount_by_name_is_reloaded_and_unmounted_by_name(home: Mounted) -> None:
    assert json.loads(home.run("status", "home", "--json").stdout)["volume"]["mount_point"] == str(home.point)
    home.run("seal", "home")
    write(home, '[cache]\nram = "64MiB"\n[journal]\nlimit = "1GiB"\n', options='options = ["noatime"]')
    lines = home.run("config", "reload", "home").stdout.splitlines()
    assert lines[0] == 'cache.ram is "64MiB" now'
    assert [line.partition(" waits ")[0] for line in lines[1:]] == [
        'mount.options = ["noatime"]',
        'journal.limit = "1GiB"',
    ]
    assert home.status()["cache"]["ram_bytes_max"] == 64 << 20
    write(home, '[cache]\nram = "32MiB"\n[journal\n')
    done = home.run("config", "reload", home.point, check=False)
    assert done.returncode == 2 and "is not TOML" in done.stderr and "etc/home.toml" in done.stderr
    assert home.status()["cache"]["ram_bytes_max"] == 64 << 20
    write(home)
    home.run("umount", "home")
    assert home.run("umount", "home", check=False).stderr == "rustfsfs: home is not mounted\n"
    assert "rustfsfs mount home" in home.run("config", "reload", "home", check=False).stderr


@pytest.mark.fuse
def test_sighup_reloads_and_a_broken_file_changes_nothing(named: Mounted) -> None:
    log = named.base / "log"
    with open(log, "w") as file:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "rustfsfs", "mount", "home", "--foreground"],
            stderr=file,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def wait_for(says: str) -> None:
        end_s = time.monotonic() + TIMEOUT_S
        while says not in log.read_text():
            assert daemon.poll() is None and time.monotonic() < end_s, log.read_text()
            time.sleep(0.02)

    def hang_up(text: str, says: str) -> None:
        write(named, text)
        daemon.send_signal(signal.SIGHUP)
        wait_for(says)

    try:
        wait_for("mounted on")
        hang_up('[cache]\nram = "64MiB"\n', 'cache.ram is "64MiB" now')
        assert named.status()["cache"]["ram_bytes_max"] == 64 << 20
        hang_up('[cache]\nramm = "32MiB"\n', "nothing has changed")
        assert "did you mean cache.ram?" in log.read_text()
        assert named.status()["cache"]["ram_bytes_max"] == 64 << 20
        hang_up('[cache]\nram = "48MiB"\n', 'cache.ram is "48MiB" now')
        daemon.terminate()
        assert daemon.wait(TIMEOUT_S) == 0
    finally:
        daemon.kill()
        daemon.wait()
        named.clean_up()


@pytest.mark.fuse
def test_a_mount_whose_daemon_is_gone_is_mounted_again_by_its_name(home: Mounted) -> None:
    watch = os.pidfd_open(home.pid)
    os.kill(home.pid, signal.SIGKILL)
    select.select([watch], [], [], TIMEOUT_S)
    os.close(watch)
    home.run("mount", "home")
    assert home.status()["volume"]["mount_point"] == str(home.point)
