"""COMMIT with the gate shut waits for nobody."""

from pathlib import Path

import pytest

from rustfsfs.meta import database
from rustfsfs.tiers.pace import EPOCH_ROWS_MAX
from rustfsfs.volume import epochs, paths
from rustfsfs.volume.volume import WAL_SIZE_MAX, Volume
from tests.faults import Fault
from tests.volume.faulty import FaultyVolume
from tests.volume.on_disk import change, format_in, write_file


def test_who_reads_an_older_commit_does_not_hold_the_gate_shut(tmp_path: Path) -> None:
    """fsck and scrub may, for minutes, and meanwhile the WAL outgrows its size."""
    pauses_ms: list[float] = []

    async def work(volume: Volume) -> None:
        await write_file(volume, b"a", b"a")
        await epochs.commit(volume)
        with paths.reading_apart(volume):
            await write_file(volume, b"b", b"b")
            volume.activity.wal_bytes = WAL_SIZE_MAX + 1
            await epochs.commit(volume)
        pauses_ms.append(volume.health.pauses_ms[-1])

    change(format_in(tmp_path / "v"), work)
    assert pauses_ms[0] < 5000


def test_a_wal_that_grew_begins_anew_behind_a_commit_of_little(tmp_path: Path) -> None:
    """The frames that are copied with the gate shut are few, and the next COMMIT does not do it once more."""
    frames: list[int] = []

    async def work(volume: Volume) -> None:
        for number in range(100):
            await write_file(volume, b"%d" % number, b"a")
        await epochs.commit(volume)
        frames.append(database.wal_state(volume.reader.db)[0])
        volume.activity.wal_bytes = WAL_SIZE_MAX + 1
        await epochs.commit(volume)
        assert volume.activity.wal_bytes == 0 and volume.activity.wal_begins_anew
        await write_file(volume, b"b", b"b")
        await epochs.commit(volume)
        assert volume.activity.wal_bytes > 0 and not volume.activity.wal_begins_anew
        frames.append(database.wal_state(volume.reader.db)[0])

    change(format_in(tmp_path / "v"), work)
    assert frames[1] < frames[0]


@pytest.mark.parametrize(("floods", "rows_at_restart"), [([0], 0), ([400, 150, 10], 10), ([400, 300, 200, 200], 200)])
def test_the_wal_begins_anew_behind_the_first_commit_of_little_or_the_last_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floods: list[int], rows_at_restart: int
) -> None:
    """`floods`: rows that change while each COMMIT is copied; `rows_at_restart`: those of the COMMIT it is behind."""
    checkpoint, restart = epochs.checkpoint, epochs._restart_wal
    found: list[int] = []

    async def copy(volume: Volume) -> None:
        await checkpoint(volume)
        if not found:
            volume.activity.wal_bytes = WAL_SIZE_MAX + 1
            volume.activity.uncommitted_rows = floods.pop(0)

    async def begin_anew(volume: Volume) -> None:
        found.append(volume.activity.uncommitted_rows)
        await restart(volume)

    async def work(volume: Volume) -> None:
        await write_file(volume, b"a", b"a")
        monkeypatch.setattr(epochs, "checkpoint", copy)
        monkeypatch.setattr(epochs, "_restart_wal", begin_anew)
        await epochs.commit(volume)
        monkeypatch.undo()

    change(format_in(tmp_path / "v"), work)
    assert found == [rows_at_restart]


def test_while_somebody_reads_the_wal_may_grow_by_as_much_again_and_no_epoch_commits_twice(tmp_path: Path) -> None:
    epochs_of: list[int] = []

    async def work(volume: Volume) -> None:
        await write_file(volume, b"a", b"a")
        await epochs.commit(volume)
        with paths.reading_apart(volume):
            for number in range(3):
                await write_file(volume, b"b%d" % number, b"b")
                volume.activity.wal_bytes = WAL_SIZE_MAX + 1
                before = volume.metadata.running.epoch
                await epochs.commit(volume)
                epochs_of.append(volume.metadata.running.epoch - before)

    change(format_in(tmp_path / "v"), work)
    assert epochs_of == [1, 1, 1]


async def test_a_commit_that_failed_is_not_tried_again_at_once(tmp_path: Path) -> None:
    home = FaultyVolume(tmp_path)
    async with home.killed() as volume:
        await write_file(volume, b"a", b"a")
        volume.activity.wal_bytes = WAL_SIZE_MAX + 1
        home.faults.plan(Fault(action="xSync", word="metadata.db-wal", count=2))
        await epochs.commit(volume)
        home.faults.plan()
        assert volume.health.read_only_reason is None


def test_an_epoch_is_as_long_as_its_pages_allow(tmp_path: Path) -> None:
    """Names of one directory share pages, so more of them make an epoch than is reckoned with at first."""
    rows: list[int] = []

    async def work(volume: Volume) -> None:
        rows.append(volume.activity.epoch_rows)
        for number in range(1000):
            await write_file(volume, b"%d" % number, b"a")
        await epochs.commit(volume)
        rows.append(volume.activity.epoch_rows)

    change(format_in(tmp_path / "v"), work)
    assert rows[0] < rows[1] == EPOCH_ROWS_MAX
