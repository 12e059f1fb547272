"""The background takes short turns: it rests while requests come, and lets a checkpoint end."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rustfsfs.volume import turns
from rustfsfs.volume.volume import Volume
from tests.volume.on_disk import change, format_in


@pytest.mark.parametrize("why", ["requests come", "the next COMMIT is due"])
def test_it_waits_for_a_checkpoint_only_when_somebody_would_suffer(tmp_path: Path, why: str) -> None:
    """Two of them wait at once: neither keeps the other from its turn."""
    taken: list[str] = []

    async def take(volume: Volume, name: str) -> None:
        await turns.wait_for_turn(volume, "reap")
        taken.append(name)

    async def work(volume: Volume) -> None:
        async with volume.commit_lock:
            await take(volume, "idle")
            if why == "requests come":
                volume.activity.last_request_s = trio.current_time() + 60
            else:
                volume.activity.uncommitted_rows = volume.activity.epoch_rows
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, volume, "reaper")
                nursery.start_soon(take, volume, "collector")
                await wait_all_tasks_blocked()
                assert taken == ["idle"]
                volume.commit_lock.release()
                with trio.fail_after(5):
                    while len(taken) < 3:
                        await trio.sleep(0.001)
                await volume.commit_lock.acquire()

    change(format_in(tmp_path / "v"), work)
    assert sorted(taken[1:]) == ["collector", "reaper"]


def test_it_rests_as_long_as_it_worked_while_requests_come(tmp_path: Path) -> None:
    took_s: dict[bool, float] = {}

    async def work(volume: Volume) -> None:
        for is_busy in (False, True):
            volume.activity.last_request_s = trio.current_time() + (60 if is_busy else -60)
            began_s = trio.current_time()
            async with turns.turn(volume):
                while trio.current_time() < began_s + 0.05:
                    pass
            took_s[is_busy] = trio.current_time() - began_s

    change(format_in(tmp_path / "v"), work)
    assert took_s[True] >= 0.1 > 0.09 > took_s[False] >= 0.05
