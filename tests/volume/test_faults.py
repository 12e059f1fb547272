"""Every call to a disk fails, one run for each: what was acknowledged stays (see `faulty`). Here a sample of them."""

import logging
import random
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rustfsfs.config import Config, Journal
from rustfsfs.errors import NoSpace, StoreUnavailable
from rustfsfs.tasks.collector import run_collector
from rustfsfs.tasks.epochs import run_epochs
from rustfsfs.tasks.reaper import run_reaper
from rustfsfs.tasks.sealer import run_sealer
from rustfsfs.tasks.segments import run_segments
from rustfsfs.units import KIB, MIB, ROOT
from rustfsfs.volume import admission, epochs, names, writing
from rustfsfs.volume.volume import Volume
from tests.crash.story import tree
from tests.faults import Fault
from tests.volume.faulty import FaultyVolume, Run, every_fault
from tests.volume.in_memory import NOISE, new_file

RUNS = 24  # `make test-faults` does them all


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand failures are logged."""
    monkeypatch.setattr(logging.getLogger("rustfsfs"), "disabled", True)


@pytest.mark.slow  # opens a volume three times for each fault
@pytest.mark.usefixtures("_quiet")
async def test_whatever_fails_nothing_acknowledged_disappears(tmp_path: Path) -> None:
    home = FaultyVolume(tmp_path)
    well = Run(home)
    await well.tell(killed=False)
    assert not well.refused and well.read_only is None
    for number, fault in enumerate(random.Random(1).sample(every_fault(well.calls), RUNS)):
        try:
            await Run(home).tell(fault, killed=bool(number % 2))
        except BaseException as exc:
            exc.add_note(f"{fault}, killed: {bool(number % 2)}")
            raise


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
async def test_whatever_fails_at_opening_the_next_one_finds_it_all(tmp_path: Path) -> None:
    home = FaultyVolume(tmp_path)
    well = Run(home)
    await well.open_again()
    assert not well.refused
    for fault in random.Random(2).sample(every_fault(well.calls), RUNS // 2):
        try:
            await Run(home).open_again(fault)
        except BaseException as exc:
            exc.add_note(str(fault))
            raise


async def test_a_failed_read_of_the_database_takes_nothing_away(tmp_path: Path) -> None:
    """SQLite throws the open transaction away for it, and what came next was committed statement by statement."""
    home = FaultyVolume(tmp_path)
    async with home.killed() as volume:
        for number in range(400):
            new_file(volume, b"%d" % number + b"n" * 200)
        await epochs.commit(volume)
        new_file(volume, b"not committed yet")
        before = await tree(volume)
        home.faults.plan(Fault(action="xRead"))
        with pytest.raises(StoreUnavailable):
            await tree(volume)
        assert volume.metadata.db.in_transaction
        assert await tree(volume) == before
        assert volume.health.read_only_reason is None
        new_file(volume, b"and it goes on")
        before = await tree(volume)
    async with home.opened() as volume:
        assert await tree(volume) == before


async def test_a_full_disk_under_the_database_never_makes_the_volume_read_only(tmp_path: Path) -> None:
    """COMMITs fail, one after the other; everything is in the journal, and the next one that works has it all."""
    home = FaultyVolume(tmp_path)
    async with home.killed() as volume:
        inode = new_file(volume, b"f")
        home.faults.plan(Fault(action="xWrite", word="metadata.db-wal", how="ENOSPC", count=1000))
        for number in range(3):
            await writing.write(volume, inode, number * 10, b"0123456789")
            for _ in range(2):
                await epochs.commit(volume)
            assert "commit" in volume.health.tasks
        assert volume.health.read_only_reason is None
        assert (await tree(volume))["/f"][2] == 30
        home.faults.plan()
        await epochs.commit(volume)
        assert "commit" not in volume.health.tasks
        before = await tree(volume)
    async with home.opened() as volume:
        assert await tree(volume) == before


async def test_a_disk_under_the_database_that_fails_twice_makes_it_read_only(tmp_path: Path) -> None:
    home = FaultyVolume(tmp_path)
    async with home.killed() as volume:
        new_file(volume, b"f")
        home.faults.plan(Fault(action="xSync", word="metadata.db-wal", count=2))
        await epochs.commit(volume)
        new_file(volume, b"g")
        assert volume.health.read_only_reason is None
        await epochs.commit(volume)
        assert "COMMIT failed twice" in str(volume.health.read_only_reason)
        assert names.lookup(volume, ROOT, b"g").nlink == 1


TASKS = (run_sealer, run_epochs, run_reaper, run_collector, run_segments)


async def overwrite(volume: Volume, inode: int) -> bytes:
    data = NOISE.randbytes(256 * KIB)
    await volume.gate.opened()
    await writing.write(volume, inode, 0, data)
    return data


@pytest.mark.slow  # fills a journal of 16 MiB
@pytest.mark.usefixtures("_quiet")
async def test_the_packs_disk_is_full_and_the_journal_at_its_limit(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Writers hear ENOSPC, rm works, and all goes on by itself once there is room."""
    home = FaultyVolume(tmp_path, disk_count=1)
    async with (
        home.killed(config=Config(journal=Journal(limit_bytes=16 * MIB))) as volume,
        trio.open_nursery() as tasks,
    ):
        home.faults.plan(
            Fault(action="create", word="/d1/packs/", how="ENOSPC", count=1 << 30),
            Fault(action="pwrite", word="/d1/packs/", how="ENOSPC", count=1 << 30),
        )
        for task in TASKS:
            tasks.start_soon(task, volume)
        inodes = [new_file(volume, b"%03d" % number) for number in range(100)]  # together more than the journal takes
        there = dict.fromkeys(inodes, b"")
        with pytest.raises(NoSpace):
            for inode in inodes:
                there[inode] = await overwrite(volume, inode)
        assert volume.journal.used_bytes >= volume.journal_limit_bytes
        async with volume.commit_lock:  # else the gate may shut between two looks
            assert [found[3] for found in (await tree(volume)).values()] == [there[inode] for inode in inodes]
        for number in range(4):
            if admission.freeing_must_wait(volume):
                await admission.admit_freeing(volume)
            await volume.gate.opened()
            names.unlink(volume, ROOT, b"%03d" % number)
        home.faults.plan()
        until_s = time.monotonic() + 60  # trio's clock goes on while threads work
        while True:
            try:
                there[inodes[-1]] = await overwrite(volume, inodes[-1])
                break
            except NoSpace:
                assert time.monotonic() < until_s
                await trio.sleep(1)
        assert volume.health.read_only_reason is None
        async with volume.commit_lock:
            assert [found[3] for found in (await tree(volume)).values()] == [there[inode] for inode in inodes[4:]]
        tasks.cancel_scope.cancel()
    async with home.opened() as volume:
        assert [found[3] for found in (await tree(volume)).values()] == [there[inode] for inode in inodes[4:]]


async def test_while_commits_fail_writers_hear_enospc_before_too_much_waits(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    home = FaultyVolume(tmp_path)
    async with home.killed() as volume, trio.open_nursery() as tasks:
        inode = new_file(volume, b"f")
        home.faults.plan(Fault(action="xWrite", word="metadata.db-wal", how="ENOSPC", count=1 << 30))
        tasks.start_soon(run_epochs, volume)
        volume.activity.uncommitted_rows = admission.UNCOMMITTED_ROWS_MAX + 1
        with pytest.raises(NoSpace, match="cannot be committed"):
            await writing.write(volume, inode, 0, b"x")
        await volume.gate.opened()
        names.unlink(volume, ROOT, b"f")
        home.faults.plan()
        while volume.activity.uncommitted_rows:
            await trio.sleep(1)
        await writing.write(volume, new_file(volume, b"g"), 0, b"x")
        tasks.cancel_scope.cancel()
