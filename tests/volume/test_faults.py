"""Every call to a disk fails, one run for each: what was acknowledged stays (see `faulty`). Here a sample of them."""

import logging
import random
from pathlib import Path

import pytest

from rustfsfs.errors import StoreUnavailable
from rustfsfs.units import ROOT
from rustfsfs.volume import epochs, names, writing
from tests.crash.story import tree
from tests.faults import Fault
from tests.volume.faulty import FaultyVolume, Run, every_fault
from tests.volume.in_memory import new_file

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
