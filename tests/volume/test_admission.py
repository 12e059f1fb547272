"""Backpressure: who waits for what, and who hears ENOSPC."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rustfsfs.config import Config, Journal
from rustfsfs.errors import NoSpace
from rustfsfs.meta import chunks
from rustfsfs.units import MIB
from rustfsfs.volume import admission, collecting, snapshots
from rustfsfs.volume.reasons import REFUSED_S, reasons
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import InMemory, new_file, new_volume, put


def at_its_limit(volume: Volume, extra_bytes: int = 0) -> None:
    object.__setattr__(volume, "journal_limit_bytes", volume.journal.used_bytes - extra_bytes)


@pytest.mark.parametrize("writers", [3, admission.WAITING_MAX + 30])
async def test_writers_at_the_limit_wait_as_long_as_sealing_goes_on(
    tmp_path: Path, writers: int, autojump_clock: MockClock
) -> None:
    async with new_volume(tmp_path) as volume:
        at_its_limit(volume)
        with trio.move_on_after(40) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(progress, volume)
                for _ in range(min(writers, admission.WAITING_MAX)):
                    nursery.start_soon(admission.admit, volume, 4096)
                await trio.sleep(2)
                for _ in range(writers - admission.WAITING_MAX):
                    await admission.admit(volume, 4096)  # beyond so many nobody waits: some must be left to free
        assert scope.cancelled_caught, "none gave up"


async def progress(volume: Volume) -> None:
    while True:
        volume.activity.sealed_bytes += 1
        await trio.sleep(1)


async def test_without_progress_a_writer_hears_enospc(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with new_volume(tmp_path) as volume:
        at_its_limit(volume)
        started_s = trio.current_time()
        with pytest.raises(NoSpace):
            await admission.admit(volume, 4096)
        assert trio.current_time() - started_s >= admission.NO_PROGRESS_S_MAX


class Full(CrashFiles):
    """Others have taken all of the disks while `is_full`."""

    is_full = False

    def space(self, path: str) -> Space:
        found = super().space(path)
        return found._replace(free_bytes=0) if self.is_full else found


async def test_full_disks_are_a_reason_until_there_is_room_or_nobody_has_written_for_long(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    files = Full()
    async with new_volume(tmp_path, files) as volume:
        for ends in ("room", "time"):
            files.is_full = True
            await trio.sleep(1)
            with pytest.raises(NoSpace):
                await admission.admit(volume, 4096)
            (why,) = reasons(volume)
            assert "the disks are full" in why
            files.is_full = False
            await trio.sleep(1 if ends == "room" else REFUSED_S)
            if ends == "room":
                await admission.admit(volume, 4096)
            assert reasons(volume) == []


async def test_freeing_goes_on_past_the_limit_but_not_for_ever(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with new_volume(tmp_path) as volume:
        at_its_limit(volume)
        assert not admission.freeing_must_wait(volume)
        at_its_limit(volume, admission.FREEING_BYTES_EXTRA)
        assert admission.freeing_must_wait(volume)
        with pytest.raises(NoSpace):
            await admission.admit_freeing(volume)


async def test_a_journal_full_of_what_only_a_snapshot_names_asks_for_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with new_volume(tmp_path) as volume:
        at_its_limit(volume)
        with trio.move_on_after(5):
            await admission.admit(volume, 4096)
        assert volume.wishes.snapshot.is_set()


async def test_a_full_disk_whose_dead_packs_only_snapshots_name_makes_room(tmp_path: Path) -> None:
    """They are no pack's dead bytes any more, but files that wait for the snapshots to go."""
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        await put(volume, inode)
        await snapshots.take(volume)
        await snapshots.take(volume)
        await put(volume, inode)
        await collecting.collect(volume, live_share=0.5)
        assert chunks.doomed(volume.metadata)
        before = len(volume.disks[1].packs())
        volume.room.looked_s, volume.room.free_bytes = trio.current_time(), 0
        await admission.admit(volume, 4096)
        assert chunks.doomed(volume.metadata) == []
        assert len(volume.disks[1].packs()) < before


async def test_the_smallest_limit_that_can_be_set_still_takes_writes(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened(config=Config(journal=Journal(limit_bytes=64 * MIB))) as volume:
        assert volume.journal_limit_bytes >= 4 * volume.header.segment_bytes
