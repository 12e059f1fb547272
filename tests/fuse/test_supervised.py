"""The daemon as systemd runs it: in the foreground, with a notify socket; ended, aborted, restricted by its unit."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import wait_for
from tests.mounted import TIMEOUT_S, Mounted
from tests.supervisor import Supervisor
from tests.test_units import service

MIB = 1 << 20
WATCHDOG_S = 1.5

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # every test mounts


class Unit(Mounted):
    """A volume whose daemon is in the foreground, under a supervisor."""

    def __init__(self, base: Path, supervisor: Supervisor) -> None:
        super().__init__(base)
        self.supervisor = supervisor
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *before: str, module: str = "rustfsfs", arguments: list[str | Path] | None = None) -> None:
        """Start the daemon as `before` has it; does not wait until it serves."""
        if arguments is None:
            arguments = ["mount", "--foreground", self.volume, self.point, "--key-file", self.key]
        environment = {"NOTIFY_SOCKET": str(self.supervisor.path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        process = subprocess.Popen(
            [*before, sys.executable, "-m", module, *map(str, arguments)],
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)

    def start_stuck(self, control: Path) -> None:
        self.start(module="tests.stuck", arguments=[self.volume, self.point, self.key, control])

    def end_of(self) -> tuple[int, str]:
        """(exit code, what stderr said) of the daemon, once it has ended."""
        _out, said = self.processes[-1].communicate(timeout=TIMEOUT_S)
        return self.processes[-1].returncode, said

    def stop(self) -> tuple[int, str]:
        self.processes[-1].send_signal(signal.SIGTERM)
        return self.end_of()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with Supervisor(tmp_path / "notify") as supervisor:
        found = Unit(tmp_path, supervisor)
        found.format()
        try:
            yield found
        finally:
            for process in found.processes:
                process.kill()
                process.communicate()
            found.clean_up()


@pytest.fixture
def control(tmp_path: Path) -> Path:
    folder = tmp_path / "control"
    folder.mkdir()
    return folder


def test_a_life_under_systemd(unit: Unit) -> None:
    unit.start()
    hear = unit.supervisor.hear
    assert hear() == {"EXTEND_TIMEOUT_USEC": "60000000", "STATUS": "opening the volume"}
    ready = unit.supervisor.hear_of("READY")
    assert os.path.ismount(unit.point)
    assert re.match(rf"serves {unit.point}; journal [\d.]+ MiB of ", ready["STATUS"])
    for _ in range(3):
        assert hear()["WATCHDOG"] == "1"
    (unit.point / "f").write_text("x")
    code, said = unit.stop()
    assert (code, "Traceback" in said) == (0, False)
    assert unit.supervisor.hear_of("STOPPING")["STATUS"] == "told to end by a signal"
    assert not os.path.ismount(unit.point)
    assert "clean" in unit.run("status", unit.volume, "--key-file", unit.key).stdout


def test_unmounting_by_hand_is_an_end_in_good_order_too(unit: Unit) -> None:
    unit.start()
    unit.supervisor.hear_of("READY")
    unit.umount()
    assert unit.end_of()[0] == 0
    assert unit.supervisor.hear_of("STOPPING")["STATUS"] == "closing the volume"


def test_a_hung_daemon_is_not_alive_and_leaves_its_stacks_and_the_next_one_takes_over(
    unit: Unit, control: Path
) -> None:
    unit.start_stuck(control)
    unit.supervisor.hear_of("READY")
    unit.supervisor.hear_of("WATCHDOG")
    (unit.point / "f").write_bytes(b"acknowledged")
    (control / "hang").touch()
    with subprocess.Popen(["touch", unit.point / "g"], stderr=subprocess.DEVNULL):
        wait_for((control / "hangs").exists, "the loop goes on")
        unit.supervisor.heard()
        time.sleep(WATCHDOG_S)
        assert unit.supervisor.heard() == [], "the watchdog would not notice"
        unit.processes[-1].send_signal(signal.SIGABRT)  # as the watchdog does
        code, said = unit.end_of()
    assert code == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in said and "in now_or_never" in said and "in _serve_volume" not in said
    with pytest.raises(OSError):  # until it is mounted again nobody writes into the directory beneath
        (unit.point / "h").touch()
    (control / "hang").unlink()
    unit.start()
    unit.supervisor.hear_of("READY")
    assert (unit.point / "f").read_bytes() == b"acknowledged"
    assert unit.stop()[0] == 0


def test_a_signal_in_the_middle_of_mounting_ends_it_in_good_order(unit: Unit, control: Path) -> None:
    (control / "hold").touch()
    unit.start_stuck(control)
    assert unit.supervisor.hear()["STATUS"] == "opening the volume"
    while not (unit.volume / "lock").exists() or not (unit.volume / "lock").read_bytes():
        assert unit.supervisor.hear()["EXTEND_TIMEOUT_USEC"]  # it opens, and has time for it
    unit.processes[-1].send_signal(signal.SIGTERM)
    unit.supervisor.hear_of("STOPPING")
    for _ in range(3):  # and it has time to close
        assert unit.supervisor.hear_of("EXTEND_TIMEOUT_USEC")["STATUS"] == "committing and closing the volume"
    (control / "hold").unlink()
    code, said = unit.end_of()
    assert code == 130
    assert said.splitlines()[-1] == (
        f"rustfsfs: a signal ended the mount of {unit.volume} before it served; nothing is mounted"
    )
    assert not os.path.ismount(unit.point)
    assert "clean" in unit.run("status", unit.volume, "--key-file", unit.key).stdout
    assert all("READY" not in message for message in unit.supervisor.heard())
    unit.mount()
    unit.umount()


def test_a_stop_while_much_is_hot_does_not_wait_for_sealing(unit: Unit) -> None:
    """Hot data stays in the journal, and is whole after the next mount."""
    config = unit.volume / "config.toml"
    config.write_text(re.sub(r"(?m)^#? ?quiet = .*$", 'quiet = "1h"', config.read_text()))
    unit.start()
    unit.supervisor.hear_of("READY")
    block = os.urandom(MIB)
    with open(unit.point / "hot", "wb") as file:
        for number in range(300):
            file.write(number.to_bytes(8) + block[8:])
    hot_bytes = unit.status()["hot_bytes"]
    began_s = time.monotonic()
    code, _said = unit.stop()
    took_s = time.monotonic() - began_s
    assert code == 0 and hot_bytes == 300 * MIB
    assert took_s < 30, "300 MiB were sealed, or copied, at the stop"
    left = json.loads(unit.run("status", unit.volume, "--key-file", unit.key, "--json").stdout)
    assert (left["hot_bytes"], left["volume"]["state"]) == (300 * MIB, "clean")
    unit.mount()
    with open(unit.point / "hot", "rb") as file:
        assert all(file.read(MIB) == number.to_bytes(8) + block[8:] for number in range(300))


@pytest.mark.parametrize("elsewhere", [True, False], ids=["on another point", "on the same point"])
def test_two_units_for_one_volume(unit: Unit, elsewhere: bool, tmp_path: Path) -> None:
    unit.start()
    unit.supervisor.hear_of("READY")
    other = tmp_path / "other"
    other.mkdir()
    point = other if elsewhere else unit.point
    done = unit.run("mount", "--foreground", unit.volume, point, "--key-file", unit.key, check=False)
    assert done.returncode == 5 and "5" in service()["RestartPreventExitStatus"].split()
    (line,) = done.stderr.splitlines()
    expected = f"{unit.volume} is already mounted on {unit.point} by process {unit.processes[0].pid}"
    assert (expected if elsewhere else f"{unit.point} is a mount point already") in line
    (unit.point / "f").write_text("the first goes on")


@pytest.mark.parametrize("by", ["SIGHUP", "config reload"])
def test_a_reload_is_told_while_it_goes_on_and_when_it_is_over(unit: Unit, by: str) -> None:
    """With the time, by which `systemctl reload` knows the answer to its own signal (Type=notify-reload)."""
    config = unit.volume / "config.toml"
    unit.start()
    unit.supervisor.hear_of("READY")
    for text, code in (('[log]\nlevel = "debug"\n', 0), ("[logs]\n", 2), ("", 0)):
        config.write_text(text)
        before_us = time.monotonic_ns() // 1000
        if by == "SIGHUP":
            unit.processes[-1].send_signal(signal.SIGHUP)
        else:
            assert unit.run("config", "reload", unit.point, check=False).returncode == code
        assert before_us <= int(unit.supervisor.hear_of("RELOADING")["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert unit.supervisor.hear_of("READY")["STATUS"].startswith(f"serves {unit.point}; ")
    assert unit.stop()[0] == 0


def test_a_log_that_cannot_be_written_costs_no_mount(unit: Unit) -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "rustfsfs",
                "mount",
                "--foreground",
                unit.volume,
                unit.point,
                "--key-file",
                unit.key,
            ],
            env=os.environ | {"NOTIFY_SOCKET": str(unit.supervisor.path)},
            stderr=full,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        unit.processes.append(process)
        unit.supervisor.hear_of("READY")
        (unit.point / "f").write_text("x")
        assert unit.stop()[0] == 0


def test_a_log_that_nobody_reads_holds_up_nobody(unit: Unit) -> None:
    """Its stderr is a pipe that is full from the beginning, so the first record waits for ever."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"\n" * 4096)
    os.set_blocking(writing, True)
    arguments = ["mount", "--foreground", unit.volume, unit.point, "--key-file", unit.key]
    process = subprocess.Popen(
        [sys.executable, "-m", "rustfsfs", *map(str, arguments)],
        env=os.environ | {"NOTIFY_SOCKET": str(unit.supervisor.path)},
        stderr=writing,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    os.close(writing)
    unit.processes.append(process)
    unit.supervisor.hear_of("READY")
    for number in range(100):
        process.send_signal(signal.SIGHUP)
        (unit.point / "f").write_text(str(number))
    unit.seal()
    assert unit.status()["healthy"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT_S) == 0
    with os.fdopen(reading, "rb") as log:
        assert log.read().strip(b"\n") == b""
    assert "clean" in unit.run("status", unit.volume, "--key-file", unit.key).stdout


def test_the_unit_leaves_the_daemon_what_it_needs(unit: Unit) -> None:
    """Its capabilities, and no new privileges: mounts, serves, unmounts."""
    kept = ",".join("+" + name.removeprefix("CAP_").lower() for name in service()["CapabilityBoundingSet"].split())
    unit.start("setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{kept}")
    unit.supervisor.hear_of("READY")
    (unit.point / "f").write_bytes(os.urandom(MIB))
    os.chown(unit.point / "f", 1000, 1000)
    os.chmod(unit.point / "f", 0o4755)
    unit.seal()
    assert unit.stop()[0] == 0


def test_the_unit_s_filter_lets_every_call_pass(unit: Unit, tmp_path: Path) -> None:
    """Those of the daemon, and of what ExecStop= runs."""
    strace = ["strace", "-f", "-qq", "-e", "signal=none", "-o"]
    unit.start(*strace, str(tmp_path / "mount"))
    unit.supervisor.hear_of("READY")
    for number in range(3):
        (unit.point / f"f{number}").write_bytes(os.urandom(MIB))
    unit.seal()
    (unit.point / "f0").unlink()
    umount = [*strace, str(tmp_path / "umount"), sys.executable, "-m", "rustfsfs", "umount", str(unit.point)]
    subprocess.run(umount, check=True, timeout=TIMEOUT_S)
    assert unit.end_of()[0] == 0
    trace = (tmp_path / "mount").read_text() + (tmp_path / "umount").read_text()
    called = set(re.findall(r"(?m)^\d+ +([a-z_0-9]+)\(", trace))
    assert {"mount", "umount2", "pwrite64", "fdatasync"} <= called
    assert called - allowed_calls(*service()["SystemCallFilter"].split()) == set()


def allowed_calls(*groups: str) -> set[str]:
    """The system calls in systemd's groups and those they name."""
    found: set[str] = set()
    for group in groups:
        if not group.startswith("@"):
            found.add(group)
            continue
        shown = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
        names = {line.strip() for line in shown.stdout.splitlines()[1:] if line.strip() and "#" not in line}
        found |= allowed_calls(*names)
    return found


def test_memory_is_never_both_written_and_executed(unit: Unit) -> None:
    """MemoryDenyWriteExecute=, by the kernel's own switch for it: PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN (Linux 6.3)."""
    run = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    unit.start(sys.executable, "-c", run)
    unit.supervisor.hear_of("READY")
    (unit.point / "f").write_bytes(os.urandom(MIB))
    unit.seal()
    assert unit.stop()[0] == 0


def commands_of_unit() -> dict[str, list[str]]:
    """What the unit of the volume "home" runs, with this Python's rustfsfs."""
    found = {}
    for key in ("ExecStart", "ExecReload", "ExecStop"):
        program, *arguments = service()[key].removeprefix("-").replace("%i", "home").split()
        assert program == "/usr/local/bin/rustfsfs"
        found[key] = [sys.executable, "-m", "rustfsfs", *arguments]
    return found


def test_what_the_unit_runs_with_its_key_as_a_credential(
    unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _colon, _source = service()["LoadCredential"].partition(":")
    credentials, sites = tmp_path / "credentials", tmp_path / "etc"
    credentials.mkdir(mode=0o700)
    (credentials / name).write_bytes(unit.key.read_bytes())
    (credentials / name).chmod(0o400)
    sites.mkdir()
    lines = ["[mount]", f'volume = "{unit.volume}"', f'point = "{unit.point}"', f'credential = "{name}"']
    (sites / "home.toml").write_text("\n".join(lines))
    monkeypatch.setenv("RUSTFSFS_CONFIG_DIR", str(sites))
    runs = commands_of_unit()
    with monkeypatch.context() as only_the_daemon:
        only_the_daemon.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        unit.start(arguments=list(runs["ExecStart"][3:]))
    unit.supervisor.hear_of("READY")
    (unit.point / "f").write_text("x")
    for key in ("ExecReload", "ExecStop"):
        done = subprocess.run(runs[key], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, (key, done)
    assert unit.end_of()[0] == 0
