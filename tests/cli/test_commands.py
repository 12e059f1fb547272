"""Commands on volumes that are not mounted, as processes: exit codes, and one clear sentence each."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rustfsfs.volume import collecting, commands
from rustfsfs.volume.volume import Volume
from tests.mounted import Mounted
from tests.volume.on_disk import change, write_file

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def volume(tmp_path: Path) -> Mounted:
    made = Mounted(tmp_path)
    made.format()
    return made


def run(*arguments: str | Path) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "rustfsfs", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def refused(done: Done, code: int, *words: str) -> None:
    """One sentence on stderr, the documented code, no traceback."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("rustfsfs: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--chunk-size", "100KiB"], ["power of two"]),
        (["--chunk-size", "1GiB"], ["64KiB to 512KiB"]),
        (["--chunk-size", "lots"], ["lots"]),
        (["--compression-level", "99"], ["1 to 19"]),
        (["--copies", "2"], ["--disk"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_format_refuses_what_cannot_be(tmp_path: Path, arguments: Sequence[str], words: Sequence[str]) -> None:
    base = Mounted(tmp_path)
    recovery = tmp_path / "recovery"
    done = run("format", base.volume, "--key-file", base.key, "--recovery-key-file", recovery, *arguments)
    refused(done, 2, *words)
    assert not recovery.exists() and not (base.volume / "header").exists()


def test_format_leaves_a_directory_that_is_not_empty_alone(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    base.volume.mkdir()
    (base.volume / "mine").write_text("mine")
    refused(run("format", base.volume, "--key-file", base.key), 5, "not empty", "mine")
    assert os.listdir(base.volume) == ["mine"]


def test_a_recovery_key_is_shown_once_and_opens_the_volume(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    done = run("format", base.volume, "--key-file", base.key)
    assert done.returncode == 0
    text = next(line.strip() for line in done.stdout.splitlines() if line.count("-") > 5)
    (tmp_path / "typed").write_text(text.lower())
    assert run("status", base.volume, "--recovery-key-file", tmp_path / "typed").returncode == 0


def test_the_volume_is_for_its_owner_only(volume: Mounted) -> None:
    assert volume.volume.stat().st_mode & 0o777 == 0o700
    for path in volume.volume.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("command", ["status", "fsck"])
def test_what_is_no_volume_is_said_to_be_none(tmp_path: Path, command: str) -> None:
    refused(run(command, tmp_path), 4, str(tmp_path))
    refused(run(command, tmp_path / "missing"), 4, "missing")


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        pytest.param(b"x" * 32, 0o600, ["does not open"], id="another key"),
        pytest.param(b"x" * 32, 0o644, ["chmod 600"], id="others may read it"),
        pytest.param(b"x" * 31, 0o600, ["at least 32"], id="too short"),
    ],
)
def test_a_key_file_that_will_not_do(volume: Mounted, content: bytes, mode: int, words: Sequence[str]) -> None:
    other = volume.base / "other"
    other.write_bytes(content)
    other.chmod(mode)
    refused(run("status", volume.volume, "--key-file", other), 3, *words)


def test_no_key_and_no_terminal(volume: Mounted) -> None:
    refused(run("status", volume.volume), 3, "no terminal", "--key-file")


def test_two_keys_at_once_are_refused(volume: Mounted) -> None:
    done = run("status", volume.volume, "--key-file", volume.key, "--passphrase-file", volume.key)
    refused(done, 2, "not several")


def test_a_wrong_passphrase(volume: Mounted) -> None:
    secret = volume.base / "secret"
    secret.write_text("right\n")
    volume.run("key", "add", volume.volume, "--key-file", volume.key, "--new-passphrase-file", secret)
    volume.run("status", volume.volume, "--passphrase-file", secret)
    secret.write_text("right")
    volume.run("status", volume.volume, "--passphrase-file", secret)
    secret.write_text("wrong")
    refused(run("status", volume.volume, "--passphrase-file", secret), 3, "passphrase")


def test_keys_come_and_go_but_never_the_last(volume: Mounted) -> None:
    second = volume.base / "second"
    second.write_bytes(b"2" * 32)
    second.chmod(0o600)
    volume.run("key", "add", volume.volume, "--key-file", volume.key, "--new-key-file", second)
    assert [line.split()[:2] for line in volume.run("key", "list", volume.volume).stdout.splitlines()] == [
        ["0", "key-file"],
        ["1", "recovery"],
        ["2", "key-file"],
    ]
    for number in ("0", "1"):
        volume.run("key", "remove", volume.volume, number, "--key-file", second)
    refused(run("status", volume.volume, "--key-file", volume.key), 3)
    refused(run("key", "remove", volume.volume, "2", "--key-file", second), 2, "last")
    refused(run("key", "remove", volume.volume, "9", "--key-file", second), 2, "no key slot 9")
    volume.run("status", volume.volume, "--key-file", second)


def test_a_damaged_key_slot_leaves_the_others(volume: Mounted) -> None:
    header = volume.volume / "header"
    data = bytearray(header.read_bytes())
    data[4096 + 100] ^= 1
    header.write_bytes(data)
    refused(run("status", volume.volume, "--key-file", volume.key), 3, "damaged")
    volume.run("status", volume.volume, "--recovery-key-file", volume.base / "recovery")


def test_a_damaged_header(volume: Mounted) -> None:
    header = volume.volume / "header"
    data = bytearray(header.read_bytes())
    data[20] ^= 1
    header.write_bytes(data)
    refused(run("status", volume.volume, "--key-file", volume.key), 4, "damaged")


def test_the_header_is_read_from_a_disk_when_the_volume_lost_its_own(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    base.format("--disk", tmp_path / "disk")
    (base.volume / "header").unlink()
    base.run("status", base.volume, "--key-file", base.key)


def test_damaged_metadata_is_named_with_the_way_out(volume: Mounted) -> None:
    (volume.volume / "metadata.db").write_bytes(os.urandom(8192))
    (volume.volume / "metadata.db-wal").unlink(missing_ok=True)  # it may hold every page
    refused(run("status", volume.volume, "--key-file", volume.key), 4, "--restore-metadata")


def test_a_missing_disk_is_named(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    base.format("--disk", tmp_path / "one", "--disk", tmp_path / "two")
    (tmp_path / "one" / "rustfsfs-disk").unlink()
    (tmp_path / "one" / "rustfsfs-disk.copy").unlink()
    findings = base.fsck()
    assert any(str(tmp_path / "one") in line for line in findings)


def test_unknown_commands_and_options_are_usage() -> None:
    for arguments in (["frobnicate"], ["status"], ["status", "--loud", "/"], ["key"]):
        assert run(*arguments).returncode == 2, arguments


def test_version_and_help() -> None:
    assert "0.1.0" in run("--version").stdout
    assert "rustfsfs mount" in run("--help").stdout
    assert run("mount", "--help").returncode == 0


def test_a_file_is_printed_and_a_tree_exported_without_fuse(volume: Mounted) -> None:
    refused(run("cat", volume.volume, "/missing", "--key-file", volume.key), 2, "no /missing")
    out = volume.base / "out"
    volume.run("export", volume.volume, "/", out, "--key-file", volume.key)
    assert os.listdir(out) == []


def test_a_volume_in_ram_is_warned_about(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    base.volume = Path(f"/dev/shm/{tmp_path.name}-{os.getpid()}")
    try:
        base.format()
        done = run("mount", base.volume, tmp_path / "missing", "--key-file", base.key)
        assert "warning" in done.stderr
        assert "tmpfs" in done.stderr
        assert done.returncode == 6
    finally:
        shutil.rmtree(base.volume, ignore_errors=True)


def test_what_the_library_logs_is_not_shown_but_notices_are(tmp_path: Path) -> None:
    async def fill(opened: Volume) -> None:
        await write_file(opened, b"f", b"some text " * 1000)
        await commands.seal(opened, {}, collecting.no_progress)

    base = Mounted(tmp_path)
    base.format("--disk", tmp_path / "disk")
    change(base.volume, fill)
    pack = next((tmp_path / "disk").rglob("*.pack"))
    pack.write_bytes(pack.read_bytes()[:200] + bytes(20) + pack.read_bytes()[220:])
    refused(run("cat", base.volume, "/f", "--key-file", base.key), 7)
    (base.volume / "header").unlink()
    done = base.run("status", base.volume, "--key-file", base.key)
    assert done.stderr.startswith("rustfsfs: using the copy") and done.stderr.count("\n") == 1


def test_a_directory_named_twice_leaves_nothing_behind(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    recovery = tmp_path / "recovery"
    disks = ("--disk", tmp_path / "one", "--disk", tmp_path / "one", "--recovery-key-file", recovery)
    refused(run("format", base.volume, "--key-file", base.key, *disks), 2, "already")
    assert sorted(os.listdir(tmp_path)) == ["key", "mnt"]


def test_names_that_are_not_utf8_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    base = Mounted(tmp_path)
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd \xff")
    refused(run("format", odd, "--key-file", base.key), 2, "UTF-8")
    refused(run("format", base.volume, "--disk", odd, "--key-file", base.key), 2, "UTF-8")
    assert sorted(os.listdir(tmp_path)) == ["key", "mnt"]


def test_a_volume_that_stops_being_a_disk_is_not_said_to_be_rubbish(volume: Mounted) -> None:
    more = volume.base / "more"
    volume.run("disk", "add", volume.volume, more, "--key-file", volume.key)
    done = volume.run("disk", "remove", volume.volume, volume.volume, "--key-file", volume.key)
    assert "packs and" in done.stdout and "what is left" not in done.stdout


def shell(command: str, *arguments: str | Path, **more: str) -> Done:
    """A line of sh in which $R is rustfsfs and $1, $2 ... are the arguments."""
    line = f'R="{sys.executable} -m rustfsfs"; {command}'
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | more
    return subprocess.run(
        ["sh", "-c", line, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
        env=environment,
    )


def test_a_closed_stdin_is_no_terminal(volume: Mounted) -> None:
    refused(shell("$R status $1 <&-", volume.volume), 3, "no terminal")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    refused(shell("cd $1; rmdir $1; $R status .", tmp_path / "gone"), 2, "current directory")


def test_an_output_that_is_full_is_named(volume: Mounted) -> None:
    async def fill(opened: Volume) -> None:
        await write_file(opened, b"f", b"text")

    change(volume.volume, fill)
    for command in ("status $1", "cat $1 /f"):
        for output in ("/dev/full", "&-"):
            refused(shell(f"$R {command} --key-file $2 >{output}", volume.volume, volume.key), 6, "the output")
    assert shell("$R status /nowhere 2>/dev/full").returncode == 4


def test_odd_names_are_printed_whatever_the_output_is(volume: Mounted) -> None:
    async def fill(opened: Volume) -> None:
        await write_file(opened, b"odd \xff", b"x")

    change(volume.volume, fill)
    target = volume.base / "out"
    target.mkdir()
    Path(os.fsdecode(os.fsencode(target) + b"/odd \xff")).touch()
    line = "$R export $1 / $2 --key-file $3"
    for encoding, want in (("utf-8:strict", "odd \udcff"), ("ascii:strict", "odd \\udcff")):
        done = shell(line, volume.volume, target, volume.key, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (7, "")
        assert want in done.stdout


@pytest.mark.parametrize("size", ["9" * 400 + "KiB", "9" * 30 + "GiB"])
def test_a_size_beyond_all_numbers_is_usage(tmp_path: Path, size: str) -> None:
    base = Mounted(tmp_path)
    refused(run("format", base.volume, "--key-file", base.key, "--chunk-size", size), 2, "too large")


def test_settings_that_are_not_there(volume: Mounted) -> None:
    done = run("mount", volume.volume, volume.point, "--key-file", volume.key, "--config", "/nope")
    refused(done, 2, "/nope", "not there")
