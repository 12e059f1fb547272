"""What systemd hears, at a socket of ours; and that nobody waits when nobody listens."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rustfsfs.service.notify import LINE_LENGTH_MAX, Notifier, Phase, from_environment
from tests.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "notify") as found:
        yield found


def test_a_life_is_told_in_order(supervisor: Supervisor) -> None:
    notifier = Notifier(str(supervisor.path), watchdog_s=3.0)
    notifier.more_time(60, "opening")
    notifier.ready("serves /mnt")
    notifier.alive("serves\n/mnt ")
    notifier.stopping("closing")
    notifier.stopping("closing still")
    notifier.ready("never again")
    assert [supervisor.hear() for _ in range(4)] == [
        {"EXTEND_TIMEOUT_USEC": "60000000", "STATUS": "opening"},
        {"READY": "1", "STATUS": "serves /mnt"},
        {"WATCHDOG": "1", "STATUS": "serves /mnt"},
        {"STOPPING": "1", "STATUS": "closing"},
    ]
    assert supervisor.heard() == []
    assert notifier.phase is Phase.STOPPING


def test_a_reload_carries_the_time_systemd_asks_for(supervisor: Supervisor) -> None:
    notifier = Notifier(str(supervisor.path))
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.ready("serves again")
    said = supervisor.hear()
    assert said["RELOADING"] == "1"
    assert before_us <= int(said["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert supervisor.hear()["READY"] == "1"


def test_without_a_watchdog_only_the_status_is_told(supervisor: Supervisor) -> None:
    Notifier(str(supervisor.path)).alive("x" * 10_000)
    assert supervisor.hear() == {"STATUS": "x" * LINE_LENGTH_MAX}


def test_the_abstract_namespace_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0rustfsfs-test-{os.getpid()}")
        Notifier(f"@rustfsfs-test-{os.getpid()}").ready("well")
        assert listener.recv(1000) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all"])
def test_nobody_there_is_nobody_s_trouble(address: str | None) -> None:
    notifier = Notifier(address)
    notifier.ready("ready")
    notifier.stopping("ending")
    assert notifier.is_heard == (address == "/nowhere/at/all")


def test_a_supervisor_that_never_reads_holds_nobody(supervisor: Supervisor) -> None:
    notifier = Notifier(str(supervisor.path), watchdog_s=1.0)
    for _ in range(10_000):  # far more than a socket's queue
        notifier.alive("serves")


def test_who_waits_in_a_thread_holds_nobody_else(supervisor: Supervisor) -> None:
    notifier = Notifier(str(supervisor.path))
    for _ in range(10_000):
        notifier.alive("serves")
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(notifier.ready, "serves again")
        while notifier.phase is not Phase.SERVING:
            time.sleep(0.001)
        time.sleep(0.05)
        began_s = time.monotonic()
        notifier.alive("serves")
        assert time.monotonic() - began_s < 1 and not waits.done()
        assert supervisor.hear_of("READY")["STATUS"] == "serves again"


def test_the_environment_is_taken_so_that_no_child_speaks_for_us() -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    notifier = from_environment(environment)
    assert notifier.is_heard and notifier.watchdog_s == 30.0
    assert environment == {"A": "b"}


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, id="another process is watched"),
        pytest.param({"WATCHDOG_USEC": "soon"}, id="no number"),
        pytest.param({"WATCHDOG_USEC": "0"}, id="nothing"),
        pytest.param({}, id="no supervisor"),
    ],
)
def test_a_watchdog_that_does_not_watch_us_is_none(environment: dict[str, str]) -> None:
    assert from_environment(environment).watchdog_s is None
