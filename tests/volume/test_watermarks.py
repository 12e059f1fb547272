"""Writers and the mover agree on when a disk is full, and who waits for the mover hears no ENOSPC."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from rustfsfs import ops
from rustfsfs.errors import NoSpace
from rustfsfs.store.breaker import Breaker, BreakerPolicy, Verdict
from rustfsfs.store.cold import Door
from rustfsfs.units import MIB
from rustfsfs.volume import admission, tiering, watermarks
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space
from tests.crash.disk import CrashFiles
from tests.store.membucket import MemBucket
from tests.volume.in_memory import new_volume
from tests.volume.on_bucket import opened_with
from tests.volume.on_disk import format_in

DISK = 256 * MIB


class Filled(CrashFiles):
    """A disk that is as full as a test says."""

    free_bytes = DISK // 2

    def space(self, path: str) -> Space:
        return Space(DISK, self.free_bytes, 1 << 20, 1 << 19, read_only=False)


def with_bucket(volume: Volume) -> None:
    record(volume, ops.AttachBucket())
    mem, breaker = MemBucket(), Breaker(policy=BreakerPolicy(), clock_s=trio.current_time)
    volume.tier.door = Door(front=mem, uploads=mem, reads=mem, writes=mem, breaker=breaker)


@pytest.mark.parametrize("free_mib", [10, 25, 26, 30, 40, 50, 52, 60])
async def test_where_writers_wait_the_mover_has_something_to_do(tmp_path: Path, free_mib: int) -> None:
    files = Filled()
    async with new_volume(tmp_path, files) as volume:
        with_bucket(volume)
        files.free_bytes = free_mib * MIB
        volume.metadata.running.pack_bytes = DISK  # ours is what fills it
        (disk,) = (await tiering.gather(volume)).disks
        waits = watermarks.is_above(volume, 0, with_margin=True)
        assert waits == (disk.above_bytes(volume.config.demote.high) > 0)
        assert waits == (free_mib < 52)  # a fifth: the watermark, and as much again


async def test_what_does_not_fit_yet_waits_for_the_mover(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = Filled()
    async with new_volume(tmp_path, files) as volume:
        with_bucket(volume)
        files.free_bytes = 60 * MIB  # below the watermark, and yet

        async def moves() -> None:
            for _ in range(4):
                await trio.sleep(20.0)
                volume.tier.traffic.uploaded_packs += 1
            files.free_bytes = 100 * MIB

        async with trio.open_nursery() as nursery:
            nursery.start_soon(moves)
            began_s = trio.current_time()
            await admission.admit(volume, 70 * MIB)
            assert trio.current_time() - began_s == pytest.approx(80.0, abs=1.0)


@pytest.mark.parametrize("failing_s", [0.0, 9.0, 11.0])
async def test_a_request_that_failed_is_no_outage(tmp_path: Path, autojump_clock: MockClock, failing_s: float) -> None:
    files = Filled()
    async with new_volume(tmp_path, files) as volume:
        with_bucket(volume)
        assert volume.tier.door is not None
        breaker = volume.tier.door.breaker
        files.free_bytes = 60 * MIB

        async def fails_and_moves() -> None:
            breaker.leave(Verdict.FAILED, was_probe=False, error="502")
            await trio.sleep(failing_s)
            breaker.leave(Verdict.ANSWERED, was_probe=False, error="")
            files.free_bytes = 100 * MIB

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_and_moves)
            if failing_s < BreakerPolicy().failing_s_min:
                await admission.admit(volume, 70 * MIB)
            else:
                with pytest.raises(NoSpace):
                    await admission.admit(volume, 70 * MIB)


async def test_a_mover_that_can_do_nothing_is_not_waited_for(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = Filled()
    async with new_volume(tmp_path, files) as volume:
        with_bucket(volume)
        files.free_bytes = 60 * MIB
        began_s = trio.current_time()
        with pytest.raises(NoSpace):
            await admission.admit(volume, 70 * MIB)
        assert trio.current_time() - began_s == pytest.approx(watermarks.NO_PROGRESS_S_MAX, abs=1.0)


async def test_metadata_never_waits_for_the_mover_and_has_a_reserve(tmp_path: Path, autojump_clock: MockClock) -> None:
    files = Filled()
    async with new_volume(tmp_path, files) as volume:
        with_bucket(volume)
        volume.metadata.running.pack_bytes = DISK
        reserve_bytes = int(DISK * admission.RESERVE_SHARE)
        files.free_bytes = reserve_bytes * 3 // 4  # for contents there is nothing, for metadata half of the reserve
        began_s = trio.current_time()
        await admission.admit(volume, 1024)
        files.free_bytes = reserve_bytes // 2
        await trio.sleep(2 * admission.LOOK_EVERY_S)
        with pytest.raises(NoSpace):
            await admission.admit(volume, 1024)
        assert trio.current_time() - began_s < 1.0


@pytest.mark.parametrize("ours_mib", [0, 10, 200])
async def test_nobody_waits_for_a_disk_that_others_have_filled(
    tmp_path: Path, autojump_clock: MockClock, ours_mib: int
) -> None:
    files = Filled()
    async with new_volume(tmp_path, files) as volume:
        with_bucket(volume)
        files.free_bytes = 10 * MIB
        volume.metadata.running.pack_bytes = ours_mib * MIB
        took_s = []
        for _ in range(3):
            began_s = trio.current_time()
            await watermarks.wait_below(volume, 4096, with_margin=True)
            took_s.append(round(trio.current_time() - began_s))
        assert took_s == ([30, 0, 0] if ours_mib == 200 else [0, 0, 0])  # a mover that is stuck is waited for once


async def test_nobody_looks_at_the_disks_while_a_commit_has_the_database(tmp_path: Path) -> None:
    """`look` reads the table of disks."""
    looked = 0

    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:

        def is_full() -> bool:
            nonlocal looked
            assert not volume.gate.shut
            looked += 1
            return looked < 3

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watermarks.wait_while, volume, is_full)
            while not looked:
                await trio.sleep(0.001)
            async with volume.gate.closed():
                await trio.sleep(0.15)
        assert looked == 3
