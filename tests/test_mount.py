"""What the composition root does to its own process, and what it tells the kernel."""

import gc
import itertools
import weakref
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rustfsfs.errors import NoSpace, RustfsfsError, StoreUnavailable
from rustfsfs.mount import FULL_S, RETRY_S_MAX, MountOptions, _keep_running, fuse_options, spare_collector
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import new_volume


class Node:
    """Garbage that only the collector can free, once it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_left_out_of_collections_and_what_comes_later_is_not() -> None:
    try:
        spare_collector()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1000
        later = weakref.ref(Node())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        pytest.param([], {"nosuid", "nodev"}, id="careful"),
        pytest.param(["suid", "dev"], {"suid", "dev"}, id="asked otherwise"),
        pytest.param(["suid", "nosuid", "dev", "nodev"], {"nosuid", "nodev"}, id="by one, and not by the other"),
        pytest.param(["noexec", "exec", "noatime", "ro"], {"nosuid", "nodev", "noexec", "noatime", "ro"}, id="more"),
    ],
)
def test_what_the_kernel_is_told(asked: list[str], told: set[str]) -> None:
    options = MountOptions(
        volume="/srv/a,b",
        mount_point="/mnt",
        foreground=False,
        read_only=False,
        config_path=None,
        options=frozenset(asked),
        degraded=False,
        skip_seq=None,
    )
    always = {"fsname=/srv/a\\,b", "subtype=rustfsfs", "default_permissions"}
    assert fuse_options(options) - {"allow_other"} == told | always


@pytest.mark.parametrize(
    ("trouble", "pause_s"),
    [
        pytest.param(NoSpace("no disk has room for a pack"), FULL_S, id="full disks, which somebody makes room on"),
        pytest.param(StoreUnavailable("the disk fails"), RETRY_S_MAX, id="anything else"),
    ],
)
async def test_a_task_that_fails_is_started_again_after_a_while(
    tmp_path: Path, autojump_clock: MockClock, trouble: RustfsfsError, pause_s: float
) -> None:
    began_s: list[float] = []

    async def fails(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        began_s.append(trio.current_time())
        raise trouble

    async with new_volume(tmp_path) as volume:
        with trio.move_on_after(600.0):
            await _keep_running(volume, "mover", fails)
        assert volume.health.tasks["mover"] == str(trouble)
    pauses_s = [after_s - before_s for before_s, after_s in itertools.pairwise(began_s)]
    assert pauses_s[:3] == [1.0, 2.0, 4.0] and max(pauses_s) == pauses_s[-1] == pause_s
