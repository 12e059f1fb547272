"""Barriers: durable on return, one sync for all who wait, and no lie after a failure."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
import trio.testing

from rustfsfs.errors import JournalFailed
from rustfsfs.journal import barriers
from rustfsfs.journal.barriers import FLOW_BYTES, UNSYNCED_BYTES_MAX, Barriers
from rustfsfs.journal.journal import Journal
from rustfsfs.units import MIB
from tests.crash.disk import CrashFiles
from tests.journal.lives import FOLDER, append, found_ops, scan, start


class SlowSync(CrashFiles):
    """A sync waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.held = False
        self.syncs = 0

    def sync(self, fd: int) -> None:
        if self.held:
            self.syncs += 1
            self.began.release()
            assert self.go_on.acquire(timeout=10)
        super().sync(fd)


@contextmanager
def slow() -> Iterator[tuple[SlowSync, Journal, Barriers]]:
    files = SlowSync()
    files.mkdir(FOLDER)
    journal = start(files, segment_bytes=128 * MIB)
    files.held = True
    try:
        yield files, journal, Barriers(journal)
    finally:
        files.held = False
        files.go_on.release(100)


async def begun(files: SlowSync) -> None:
    """Raises TimeoutError instead of hanging for ever."""
    if not await trio.to_thread.run_sync(partial(files.began.acquire, timeout=10)):
        raise TimeoutError("no sync began")


def on_a_disk() -> tuple[CrashFiles, Journal, Barriers]:
    files = CrashFiles()
    files.mkdir(FOLDER)
    journal = start(files, segment_bytes=1 << 16)
    return files, journal, Barriers(journal)


async def test_what_was_appended_is_durable_on_return() -> None:
    files, journal, barriers = on_a_disk()
    for number in range(20):  # the first ones in the thread, later ones on the spot
        append(journal, f"op {number}".encode(), b"d" * 5000)
        await barriers.barrier()
        assert journal.durable_seq == number + 1
        for state in files.states(limit=3, seed=number):
            assert len(found_ops(scan(state))) == number + 1
    await barriers.aclose()


async def test_with_nothing_new_it_returns_at_once() -> None:
    files, journal, barriers = on_a_disk()
    append(journal, b"op")
    await barriers.barrier()
    before = files.actions
    await barriers.barrier()
    assert files.actions == before
    await barriers.aclose()


async def test_a_fast_disk_is_synced_on_the_spot() -> None:
    _files, journal, one = on_a_disk()
    one._average_s = barriers.INLINE_S_MAX / 2
    append(journal, b"op")
    await one.barrier()
    assert journal.durable_seq == 1
    assert one._thread is None
    await one.aclose()


async def test_one_slow_sync_does_not_send_the_next_ones_to_the_thread() -> None:
    """It met somebody else's work. Two in a row are believed."""
    _files, _journal, one = on_a_disk()
    one._average_s = barriers.INLINE_S_MAX / 2
    one._note(5.0)
    assert one._average_s < barriers.INLINE_S_MAX
    one._note(5.0)
    assert one._average_s > barriers.INLINE_S_MAX


async def test_a_sync_on_the_spot_has_zeros_written_ahead() -> None:
    files, journal, one = on_a_disk()
    one._average_s = barriers.INLINE_S_MAX / 2
    append(journal, b"op")
    before = files.actions
    await one.barrier()
    assert files.actions == before + 2  # the zeros and the sync
    append(journal, b"op")
    before = files.actions
    await one.barrier()
    assert files.actions == before + 1
    await one.aclose()


async def test_a_sync_that_began_before_the_record_does_not_count() -> None:
    with slow() as (files, journal, barriers):
        append(journal, b"one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(barriers.barrier)
            await begun(files)
            append(journal, b"two")
            done = trio.Event()

            async def second() -> None:
                await barriers.barrier()
                assert journal.durable_seq == 2
                done.set()

            nursery.start_soon(second)
            files.go_on.release()  # of the first sync
            await begun(files)
            assert journal.durable_seq == 1
            assert not done.is_set()
            files.go_on.release()
        await barriers.aclose()
        assert files.syncs == 2


async def test_one_sync_serves_all_who_wait() -> None:
    with slow() as (files, journal, barriers):
        append(journal, b"one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(barriers.barrier)
            await begun(files)
            for number in range(50):
                append(journal, f"op {number}".encode())
                nursery.start_soon(barriers.barrier)
            await trio.testing.wait_all_tasks_blocked()
            files.go_on.release(2)
        await barriers.aclose()
        assert (files.syncs, journal.durable_seq) == (2, 51)


async def test_a_waiter_that_is_cancelled_disturbs_no_other() -> None:
    with slow() as (files, journal, barriers):
        append(journal, b"one")
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(barriers.barrier)
                await begun(files)
                scope.cancel()
                await barriers.barrier()
            assert scope.cancelled_caught
            files.go_on.release()
        assert journal.durable_seq == 1
        await barriers.aclose()


async def test_a_long_stream_is_synced_without_anyone_asking() -> None:
    with slow() as (files, journal, barriers):
        size = MIB // 2
        for number in range(FLOW_BYTES // size + 1):
            barriers.flow()
            assert (barriers._running is not None) == (number * size >= FLOW_BYTES)
            append(journal, b"op", b"d" * size)
        barriers.flow()
        await begun(files)
        barriers.flow()
        files.go_on.release()
        await barriers.aclose()
        assert files.syncs == 1


async def test_writers_wait_while_too_much_is_unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barriers, "UNSYNCED_BYTES_MAX", MIB)
    assert UNSYNCED_BYTES_MAX == 64 * MIB
    with slow() as (files, journal, one):
        await one.admit()
        append(journal, b"op", b"d" * MIB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.admit)
            await begun(files)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            files.go_on.release()
        assert journal.unsynced_bytes == 0
        await one.aclose()


@pytest.mark.parametrize("average_s", [0.0, 1.0], ids=["on the spot", "in the thread"])
async def test_a_failed_sync_is_made_good_elsewhere(average_s: float) -> None:
    files, journal, barriers = on_a_disk()
    barriers._average_s = average_s
    append(journal, b"op", b"d" * 3000)
    files.failing["sync"] = [errno.EIO]
    await barriers.barrier()
    assert journal.durable_seq == 1
    for state in files.states(limit=20, seed=0):
        assert found_ops(scan(state)) == [b"op"]
    await barriers.aclose()


@pytest.mark.parametrize("average_s", [0.0, 1.0], ids=["on the spot", "in the thread"])
async def test_after_a_second_failure_every_barrier_says_so_for_ever(average_s: float) -> None:
    files, journal, barriers = on_a_disk()
    barriers._average_s = average_s
    append(journal, b"op")
    files.failing["sync"] = [errno.EIO, errno.EIO]
    for _ in range(3):
        with pytest.raises(JournalFailed):
            await barriers.barrier()
    assert journal.durable_seq == 0
    assert files.failing["sync"] == [], "and the disk is well again"
    barriers.flow()
    await barriers.aclose()


async def test_all_who_wait_hear_of_a_failure() -> None:
    files, journal, barriers = on_a_disk()
    barriers._average_s = 1.0
    append(journal, b"op")
    files.failing["sync"] = [errno.EIO, errno.EIO]
    heard = []

    async def wait() -> None:
        try:
            await barriers.barrier()
        except JournalFailed as exc:
            heard.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(wait)
    assert len(heard) == 5
    await barriers.aclose()


async def test_closing_waits_for_the_running_sync() -> None:
    with slow() as (files, journal, barriers):
        append(journal, b"op")
        barriers._start()
        await begun(files)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(barriers.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert journal.durable_seq == 0
            files.go_on.release()
        assert journal.durable_seq == 1
        assert barriers._thread is None
