"""The watchdog hears of us only while requests are answered; time is asked for only while some is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rustfsfs.errors import UsageError
from rustfsfs.service.notify import Notifier
from rustfsfs.service.supervision import EXTENDED_S_MAX, answered, run_alive, run_extending, told_reloading
from tests.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "notify") as found:
        yield found


async def answers() -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("watchdog_s", "in_a_minute"), [(3.0, 60), (60.0, 3), (600.0, 2)])
async def test_the_watchdog_is_fed_three_times_in_its_time(
    supervisor: Supervisor, autojump_clock: MockClock, watchdog_s: float, in_a_minute: int
) -> None:
    fed: list[dict[str, str]] = []

    async def ask() -> None:
        await trio.lowlevel.checkpoint()
        fed.extend(supervisor.heard())  # a socket's queue is short

    notifier = Notifier(str(supervisor.path), watchdog_s=watchdog_s)
    with trio.move_on_after(59.5):
        await run_alive(notifier, ask, lambda: "serves")
    assert fed + supervisor.heard() == [{"WATCHDOG": "1", "STATUS": "serves"}] * in_a_minute


async def test_a_mount_that_does_not_answer_is_not_alive(supervisor: Supervisor, autojump_clock: MockClock) -> None:
    hangs = trio.Event()
    asked = []

    async def ask() -> None:
        asked.append(trio.current_time())
        if len(asked) > 1:
            await hangs.wait()

    notifier = Notifier(str(supervisor.path), watchdog_s=30.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_alive, notifier, ask, lambda: "serves")
        await trio.sleep(300)
        assert supervisor.hear() == {"WATCHDOG": "1", "STATUS": "serves"}
        assert supervisor.heard() == []
        hangs.set()
        await trio.sleep(5)
        assert supervisor.hear()["WATCHDOG"] == "1"
        nursery.cancel_scope.cancel()


async def test_time_is_asked_for_while_opening_and_closing_and_not_without_end(
    supervisor: Supervisor, autojump_clock: MockClock
) -> None:
    notifier = Notifier(str(supervisor.path))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_extending, notifier)
        await trio.sleep(15)
        assert [supervisor.hear()["STATUS"] for _ in range(2)] == ["opening the volume"] * 2
        notifier.ready("serves")
        supervisor.heard()
        await trio.sleep(1000)
        assert supervisor.heard() == []
        notifier.stopping("told to")
        supervisor.heard()
        count = 0
        for _ in range(int(2 * EXTENDED_S_MAX / 10)):
            await trio.sleep(10)
            count += len(supervisor.heard())
        assert count == EXTENDED_S_MAX / 10
        nursery.cancel_scope.cancel()


async def test_a_reload_is_told_with_its_end_however_it_ends(supervisor: Supervisor) -> None:
    notifier = Notifier(str(supervisor.path))
    async with told_reloading(notifier, lambda: "serves"):
        pass
    assert supervisor.heard() == [], "READY=1 would have been taken for that of the mount"
    notifier.ready("serves")
    supervisor.heard()
    async with told_reloading(notifier, lambda: "serves still"):
        assert supervisor.hear()["RELOADING"] == "1"
    assert supervisor.heard() == [{"READY": "1", "STATUS": "serves still"}]
    with pytest.raises(UsageError):
        async with told_reloading(notifier, lambda: "serves still"):
            raise UsageError("an unknown key")
    assert [sorted(said) for said in supervisor.heard()] == [["MONOTONIC_USEC", "RELOADING"], ["READY", "STATUS"]]


async def test_a_reload_that_the_end_of_the_mount_cuts_short_is_not_ready(supervisor: Supervisor) -> None:
    notifier = Notifier(str(supervisor.path))
    notifier.ready("serves")
    with trio.CancelScope() as scope:
        async with told_reloading(notifier, lambda: "serves still"):
            scope.cancel()
            await trio.sleep_forever()
    notifier.stopping("closing")
    assert [next(iter(said)) for said in supervisor.heard()] == ["READY", "RELOADING", "STOPPING"]


async def test_without_a_supervisor_nothing_runs(autojump_clock: MockClock) -> None:
    with trio.fail_after(1):
        await run_alive(Notifier(None), answers, str)
        await run_extending(Notifier(None))
        async with told_reloading(Notifier(None), str):
            pass


async def test_who_asks_is_not_waited_for_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hang in the kernel until the mount is gone; here it takes no notice of SIGTERM."""
    asking = tmp_path / "stat"
    asking.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ >{tmp_path}/pid\nexec sleep 1000\n")
    asking.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with trio.fail_after(4):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answered, "/")
            while not (tmp_path / "pid").exists():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_a_request_that_is_answered_and_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.fail_after(20):
        await answered("/")
        monkeypatch.setenv("PATH", "/nowhere")
        await answered("/")
