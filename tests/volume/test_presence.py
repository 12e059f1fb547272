"""A disk that goes while the volume is open stops nobody who can do without it, and is itself again when it is back."""

import errno
import logging
import os
import random
import time
from pathlib import Path

import pytest
import trio

from rustfsfs.content.slots import SlotKind
from rustfsfs.errors import InUse, StoreUnavailable
from rustfsfs.meta import chunks, disks
from rustfsfs.store.disks import LocalDisk
from rustfsfs.store.headers import DISK_HEADER, DISK_HEADER_COPY
from rustfsfs.tasks import sealer
from rustfsfs.tasks.disks import run_disks
from rustfsfs.tasks.scrubber import is_due
from rustfsfs.tasks.sealer import run_sealer
from rustfsfs.units import ROOT
from rustfsfs.volume import (
    admission,
    attributes,
    collecting,
    diskspace,
    drives,
    keys,
    names,
    packing,
    presence,
    reading,
    reaping,
    scrubbing,
    sealing,
    snapshots,
    status,
    tiering,
    watermarks,
    windows,
    writing,
)
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.locking import DiskLocks
from rustfsfs.volume.presence import Watch
from rustfsfs.volume.reasons import reasons
from rustfsfs.volume.volume import Volume
from tests.crash.story import Key, world_on
from tests.volume.going import Going
from tests.volume.in_memory import InMemory, new_file, put, seal
from tests.volume.test_drives import copies_by_chunk, put_on

ALL = 1 << 20
NOISE = random.Random(9)


def disks_named(volume: Volume, inode: int) -> set[int]:
    """Where the chunks of a file lie."""
    sql = (
        "SELECT DISTINCT p.disk FROM inodes i JOIN extents e ON e.fork = i.fork JOIN places p ON p.chunk = e.base"
        " WHERE i.inode = ? AND e.segment = 0"
    )
    return {disk for (disk,) in volume.metadata.rows(sql, (inode,))}


async def put_open(volume: Volume, name: bytes, disk: int) -> bytes:
    """A file whose chunks lie in a pack of a disk that is open yet."""

    async def nothing(_sealed_bytes: int) -> None:
        return

    data, inode = NOISE.randbytes(150_000), new_file(volume, name)
    await writing.write(volume, inode, 0, data)
    volume.metadata.run("UPDATE disks SET draining = 1 WHERE disk <> ?", (disk,))
    await sealing.seal_forks(volume, windows.hot_forks(volume), is_busy=lambda _fork: False, after_batch=nothing)
    volume.metadata.run("UPDATE disks SET draining = 0")
    assert [*volume.writers] == [disk]
    return data


class Dead(Going):
    """Below `dead` only what the page cache holds can be read: the header, that is."""

    dead = "-"

    def open(self, path: str, *, write: bool = False) -> int:
        if path.startswith(f"{self.dead}/packs"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return super().open(path, write=write)

    def forget_pages(self, fd: int) -> None:
        if self._paths.get(fd, "").startswith(f"{self.dead}/"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().forget_pages(fd)


async def test_while_data_is_sealed_a_disk_is_asked_past_its_page_cache(tmp_path: Path) -> None:
    """What is sealed may be there already, on a disk that died since (I6)."""
    files = Dead()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"a", (2, 2))
        volume.disks[2].close()
        watch = Watch(volume)
        watch._proved_s, watch._sealed_bytes = trio.current_time(), volume.activity.sealed_bytes
        files.dead = str(home.disks[1])
        await watch.look()
        assert set(volume.disks) == {1, 2}, "nothing is asked of disks that may sleep"
        watch._proved_s -= presence.PROVE_EVERY_S
        await watch.look()
        assert set(volume.disks) == {1, 2}, "nothing was sealed"
        await put_on(volume, b"b", (1, 1))
        await watch.look()
        assert set(volume.disks) == {1}
        await writing.write(volume, new_file(volume, b"again"), 0, data)
        await seal(volume)
        assert 1 in disks_named(volume, 4), "all it has lies on a disk that is gone"


async def read(volume: Volume, inode: int) -> bytes:
    volume.cache.clear()
    return bytes(await reading.read(volume, inode, 0, ALL))


async def test_writes_go_to_the_disks_that_are_left_and_what_the_lost_one_has_is_there_again_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        on_lost, on_other = await put_on(volume, b"a", (2, 2)), await put_on(volume, b"b", (1, 1))
        assert await read(volume, 2) == on_lost
        store = volume.disks[2]
        assert isinstance(store, LocalDisk) and store._open
        volume.health.left_alone.leave((1, 2), Why.UNREADABLE, "", now_s=trio.current_time())
        total = attributes.space(volume).total_blocks
        watch = Watch(volume)
        files.gone = str(home.disks[1])
        await writing.write(volume, new_file(volume, b"hot"), 0, b"hot" * 10_000)
        for _ in range(3):
            await watch.look()
        assert set(volume.disks) == {1} and not store._open, "else it could not be unmounted"
        why, _left_alone = reasons(volume)
        assert why == f"a disk is missing: {files.gone}: there is no rustfsfs-disk in it; is the disk mounted?"
        assert attributes.space(volume).total_blocks == total // 2
        await admission.admit(volume, ALL)
        new = await put(volume, new_file(volume, b"c"))
        assert volume.metadata.running.hot_bytes == 0 and disks_named(volume, 5) == {1}
        await writing.write(volume, new_file(volume, b"again"), 0, on_lost)
        await seal(volume)
        assert await read(volume, 6) == on_lost, "a chunk of a disk that is gone answers for no copy (I6)"
        assert (await read(volume, 3), await read(volume, 5)) == (on_other, new)
        await snapshots.take(volume)
        assert files.written_beneath == []
        files.gone = "-"
        await watch.look()
        assert set(volume.disks) == {1, 2} and reasons(volume) == []
        assert await read(volume, 2) == on_lost
        await snapshots.take(volume)
        lines = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(lines) == 2, "when it went, and when it came back"
    async with home.opened() as volume:
        assert volume.health.missing_disks == {} and await read(volume, 2) == on_lost


async def test_a_disk_that_does_not_say_its_space_stops_nothing_before_anybody_notices_that_it_is_gone(
    tmp_path: Path,
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        files.mute = str(home.disks[1])
        await admission.admit(volume, ALL)
        assert attributes.space(volume).free_blocks
        assert not watermarks.is_above(volume, 0, with_margin=True)
        assert [watermarks.has_room(volume, disk, 0) for disk in (1, 2)] == [True, False]
        assert [disk.disk for disk in tiering._disks(volume)] == [1]
        await put(volume, new_file(volume, b"f"))
        assert disks_named(volume, 2) == {1}
        assert reasons(volume) == [f"a disk does not answer: {files.mute} is missing"]
        await Watch(volume).look()
        assert set(volume.disks) == {1}
        files.mute = "-"


async def test_two_copies_wait_until_it_is_known_whether_a_silent_disk_is_gone(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume:
        await writing.write(volume, new_file(volume, b"f"), 0, b"waits in the journal" * 1000)
        files.mute = str(home.disks[1])
        with pytest.raises(StoreUnavailable):
            await seal(volume)
        assert volume.wishes.disks.is_set() and not volume.health.short_batches
        await Watch(volume).look()
        await seal(volume)
        assert copies_by_chunk(volume) == {(1, 1)} and volume.health.short_batches
        files.mute = "-"


async def test_what_could_only_be_read_there_is_an_error_and_no_damage(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"f", (2, 2))
        volume.disks[2].close()
        files.gone = str(home.disks[1])
        for is_noticed in (False, True):
            if is_noticed:
                assert 2 in volume.health.suspects
                await Watch(volume).look()
            with pytest.raises(StoreUnavailable if is_noticed else Exception):
                await read(volume, 2)
            assert volume.metadata.running.bad_chunks == 0
        files.gone = "-"
        await Watch(volume).look()
        assert await read(volume, 2) == data


async def test_an_open_pack_of_a_disk_that_went_is_given_up_and_what_rows_name_in_it_stays(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        data = await put_open(volume, b"f", 2)
        row, writer = chunks.packs_on(volume.metadata, 2, 1), volume.writers[2]
        writer.append([])
        files.gone = str(home.disks[1])
        watch = Watch(volume)
        await watch.look()
        assert 2 not in volume.writers
        files.gone = "-"
        await watch.look()
        assert row == chunks.packs_on(volume.metadata, 2, 1)
        more = await put(volume, new_file(volume, b"g"))
        assert await read(volume, 2) == data
    async with home.opened() as volume:
        assert (await read(volume, 2), await read(volume, 3)) == (data, more)
        assert all(row.is_closed for row in chunks.packs(volume.metadata))


async def test_a_disk_that_takes_no_writes_gets_none_and_is_tried_again_a_minute_later(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"a", (2, 2))
        await put_open(volume, b"b", 2)  # its open pack makes it the first choice
        free = attributes.space(volume).free_blocks
        files.fixed = str(home.disks[1])
        for number in range(3):
            await put(volume, new_file(volume, b"%d" % number))
        assert volume.wishes.disks.is_set(), "it may be gone altogether"
        assert all(disks_named(volume, inode) == {1} for inode in (4, 5, 6))
        assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 1
        (why,) = reasons(volume)
        assert why.startswith("a disk takes no new data: ") and "Read-only file system" in why
        assert attributes.space(volume).free_blocks <= free // 2
        assert await read(volume, 2) == data
        files.fixed = "-"
        await trio.sleep(diskspace.AGAIN_S)
        await packing.close_full(volume, everything=True)
        volume.metadata.run("UPDATE disks SET draining = 1 WHERE disk = 1")
        await put(volume, new_file(volume, b"later"))
        assert disks_named(volume, 7) == {2} and reasons(volume) == []


async def test_the_only_disk_is_tried_again_at_once_though_it_failed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=1)
    async with home.opened() as volume:
        await writing.write(volume, new_file(volume, b"f"), 0, b"waits in the journal" * 1000)
        files.fixed = str(home.disks[0])
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await seal(volume)
            await trio.sleep(diskspace.PATIENCE_S - 5)
            await admission.admit(volume, ALL)
        files.fixed = "-"
        await seal(volume)
        assert volume.metadata.running.hot_bytes == 0 and reasons(volume) == []


async def test_a_dead_disk_fills_no_log_and_is_tried_every_few_seconds(
    tmp_path: Path, mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=1)
    async with home.opened() as volume, trio.open_nursery() as nursery:
        await writing.write(volume, new_file(volume, b"f"), 0, b"waits in the journal" * 1000)
        volume.activity.last_write_s.clear()
        files.fixed = str(home.disks[0])
        await nursery.start(run_sealer, volume)
        for tries in range(1, 6):
            while files.refused < tries:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert files.refused == tries
            mock_clock.jump(sealer.TROUBLE_S)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(sealer.ROUND_S)
        assert len([one for one in caplog.records if "sealing waits" in one.message]) == 1
        files.fixed = "-"
        while volume.metadata.running.hot_bytes:
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_batch_that_hung_for_an_hour_is_not_rested_from_for_an_hour(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with InMemory(tmp_path).opened() as volume:
        throttle = sealer._Throttle(volume)
        await trio.sleep(3600)
        volume.activity.last_request_s = begun_s = trio.current_time()
        await throttle.after_batch(1)
        assert trio.current_time() - begun_s == sealer.REST_S_MAX


async def test_of_two_copies_none_is_left_out_until_a_disk_has_failed_for_a_while(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume:
        await writing.write(volume, new_file(volume, b"f"), 0, b"waits in the journal" * 1000)
        files.fixed = str(home.disks[1])
        for seconds in (diskspace.PATIENCE_S / 2, diskspace.PATIENCE_S / 2 + 1):
            with pytest.raises(StoreUnavailable):
                await seal(volume)
            assert volume.metadata.running.hot_bytes > 0 and not volume.health.short_batches
            await trio.sleep(seconds)
        await seal(volume)
        assert volume.metadata.running.hot_bytes == 0 and copies_by_chunk(volume) == {(1, 1)}
        assert any("fewer copies than it should" in why for why in reasons(volume))
        files.fixed = "-"


async def test_a_third_disk_takes_the_second_copy_at_once(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=3, copies=2)
    async with home.opened() as volume:
        files.fixed = str(home.disks[0])
        await put(volume, new_file(volume, b"f"))
        assert copies_by_chunk(volume) == {(2, 2)} and disks_named(volume, 2) == {2, 3}
        assert not volume.health.short_batches


async def test_second_copies_that_a_missing_disk_did_not_get_are_made_once_it_is_back(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume:
        both = await put(volume, new_file(volume, b"f"))
        watch = Watch(volume)
        files.gone = str(home.disks[1])
        await watch.look()
        assert await read(volume, 2) == both
        one = await put(volume, new_file(volume, b"g"))
        assert copies_by_chunk(volume) == {(1, 1), (2, 2)}
        assert [why.split(":")[0] for why in reasons(volume)] == [
            "a disk is missing",
            "some data has fewer copies than it should, since a disk was missing",
        ]
        assert not is_due(volume), "there is no disk yet for more copies"
        files.gone = "-"
        await watch.look()
        assert is_due(volume)
        await scrubbing.scrub_on(volume)
        assert copies_by_chunk(volume) == {(2, 2)} and reasons(volume) == [] and not is_due(volume)
        assert await read(volume, 3) == one


async def one_copy(volume: Volume, files: Going, disk: Path) -> Watch:
    """A chunk that was stored while one of two disks was missing; it is back."""
    watch = Watch(volume)
    files.gone = str(disk)
    await watch.look()
    await put(volume, new_file(volume, b"f"))
    files.gone = "-"
    await watch.look()
    assert copies_by_chunk(volume) == {(1, 1)} and is_due(volume)
    return watch


async def test_second_copies_that_cannot_be_stored_are_told_of_until_they_are(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume:
        await one_copy(volume, files, home.disks[1])
        mock_clock.autojump_threshold = 0
        files.fixed = str(home.disks[1])
        done = await scrubbing.scrub(volume, repair=True, rate_bytes_s=0)
        assert done.has_few and any("fewer copies than it should" in why for why in reasons(volume))
        await trio.sleep(diskspace.AGAIN_S)
        assert not is_due(volume), "it would read everything all day"
        files.fixed = "-"
        await trio.sleep(scrubbing.SHORT_AGAIN_S)
        assert is_due(volume)
        await scrubbing.scrub_on(volume)
        assert copies_by_chunk(volume) == {(2, 2)} and reasons(volume) == []


async def test_a_pass_is_not_due_for_a_disk_that_takes_no_packs(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume:
        await one_copy(volume, files, home.disks[1])
        diskspace.note_failed(volume, 2, "it is read-only")
        assert not is_due(volume)


@pytest.mark.parametrize("is_missing_copy", [True, False])
async def test_what_a_pass_did_not_look_at_may_lack_its_second_copy_yet(tmp_path: Path, is_missing_copy: bool) -> None:
    """A disk went while the pass came by."""
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume:
        watch = await one_copy(volume, files, home.disks[1])
        await packing.close_full(volume, everything=True)
        one = scrubbing.Pass(repair=True, is_polite=False, begun_ns=1)
        files.gone = str(home.disks[is_missing_copy])
        await watch.look()
        await scrubbing._scrub_packs(volume, one, collecting.no_progress)
        assert one.findings.has_few
        files.gone = "-"
        await watch.look()


async def test_without_any_disk_writes_and_statfs_say_so_and_go_on_with_it(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=1)
    async with home.opened() as volume:
        watch = Watch(volume)
        files.gone = str(home.disks[0])
        await watch.look()
        for ask in (admission.look, attributes.space):
            with pytest.raises(StoreUnavailable, match="disk"):
                ask(volume)
        files.gone = "-"
        await watch.look()
        admission.look(volume)
        assert attributes.space(volume).free_blocks
        await put(volume, new_file(volume, b"f"))


async def test_without_any_disk_nothing_is_full_and_no_snapshot_is_let_go_of(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=1)
    async with home.opened() as volume:
        await put(volume, new_file(volume, b"f"))
        await packing.close_full(volume, everything=True)
        await snapshots.take(volume)
        names.unlink(volume, ROOT, b"f")
        await reaping.reap(volume)
        await collecting.collect(volume, live_share=0.5)
        await writing.write(volume, new_file(volume, b"g"), 0, b"waits in the journal" * 1000)
        kept = disks.snapshots(volume.metadata)
        watch = Watch(volume)
        files.gone = str(home.disks[0])
        await watch.look()
        with pytest.raises(StoreUnavailable, match="is the disk mounted"):
            await seal(volume)
        with pytest.raises(StoreUnavailable):
            await collecting.collect_now(volume, live_share=0.5)
        assert chunks.doomed(volume.metadata) and disks.snapshots(volume.metadata) == kept
        files.gone = "-"
        await watch.look()
        await seal(volume)


async def test_only_the_disk_itself_comes_back(tmp_path: Path) -> None:
    """An older copy of it has not all that it should, and another disk in its place has nothing of it."""
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    names = [f"{home.disks[1]}/{name}" for name in (DISK_HEADER, DISK_HEADER_COPY)]

    def header_of(disk: Path) -> bytes:
        return files.pread(files.open(f"{disk}/{DISK_HEADER}"), 4096, 0)

    def put_header(data: bytes) -> None:
        for name in names:
            files.unlink(name)
            files.pwrite(files.create(name), data, 0)

    async with home.opened() as volume:
        older = header_of(home.disks[1])
        await put(volume, new_file(volume, b"f"))
        await snapshots.take(volume)
        whole = header_of(home.disks[1])
        watch = Watch(volume)
        for data, why in (
            (header_of(home.disks[0]), "holds another disk of this volume (number 1)"),
            (older, "is an older copy"),
            (b"", "is damaged"),
        ):
            put_header(data)
            if not data:
                files.gone = str(home.disks[1])
                await watch.look()
                files.gone = "-"
            await watch.look()
            assert set(volume.disks) == {1} and why in volume.health.missing_disks[2]
            put_header(whole)
            await watch.look()
            assert set(volume.disks) == {1, 2}


async def test_a_header_that_rotted_is_no_missing_disk(tmp_path: Path) -> None:
    """Scrubbing mends it, and reads go on."""
    home = InMemory(tmp_path, disk_count=1)
    async with home.opened() as volume:
        data = await put(volume, new_file(volume, b"f"))
        for name in (DISK_HEADER, DISK_HEADER_COPY):
            home.files.pwrite(home.files.open(f"{home.disks[0]}/{name}", write=True), b"rot", 40)
        await Watch(volume).look()
        assert set(volume.disks) == {1} and await read(volume, 2) == data
        await scrubbing.scrub(volume, repair=True, rate_bytes_s=0)
        assert volume.disks[1].answers()


async def test_a_disk_that_comes_back_opens_with_the_keys_of_now(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    world = world_on(files, 7)
    recovery = Key(kind=SlotKind.RECOVERY, value=b"r" * 32)
    async with home.opened() as volume:
        watch = Watch(volume)
        files.gone = str(home.disks[1])
        await watch.look()
        keys.remove_slot(world, str(home.path), opened_with=recovery, number=0)
        files.gone = "-"
        await watch.look()
        here, there = (files.pread(files.open(f"{path}/header"), 1 << 16, 0) for path in (home.path, home.disks[1]))
        assert here == there and set(volume.disks) == {1, 2}


async def test_a_disk_that_hangs_is_missing_and_keeps_no_other_from_being_asked(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=3)
    async with home.opened() as volume:
        data = await put_on(volume, b"f", (1, 1))
        watch = Watch(volume, answer_s_max=0.5)
        files.hanging, files.gone = str(home.disks[0]), str(home.disks[1])
        volume.health.suspects.add(1)
        await watch.look()
        assert set(volume.disks) == {3}
        assert "has not answered" in volume.health.missing_disks[1]
        files.gone = "-"
        await watch.look()
        assert set(volume.disks) == {2, 3} and "still does not answer" in volume.health.missing_disks[1]
        await put(volume, new_file(volume, b"g"))
        files.hanging = "-"
        files.go.set()
        while 1 not in volume.disks:
            await trio.sleep(0.01)
            await watch.look()
        assert await read(volume, 2) == data and reasons(volume) == []


async def test_a_write_that_does_not_end_is_told_of_and_its_disk_asked(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume, trio.open_nursery() as nursery:
        both = await put(volume, new_file(volume, b"f"))
        await writing.write(volume, new_file(volume, b"g"), 0, b"waits in the journal" * 1000)
        watch = Watch(volume, answer_s_max=0.5)
        files.hanging = str(home.disks[1])
        nursery.start_soon(seal, volume)
        while volume.activity.storing is None:
            await trio.sleep(0.01)
        assert reasons(volume) == []
        volume.activity.storing = volume.activity.storing._replace(
            since_s=trio.current_time() - diskspace.STORING_S_MAX - 1
        )
        (why,) = reasons(volume)
        assert f"{home.disks[0]} and {home.disks[1]} does not end" in why
        await watch.look()
        assert set(volume.disks) == {1} and await read(volume, 2) == both
        await snapshots.take(volume)
        files.hanging = "-"
        files.go.set()
        while 2 not in volume.disks or volume.metadata.running.hot_bytes:
            await trio.sleep(0.01)
            await watch.look()


async def test_a_disk_that_goes_while_a_write_to_another_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=3)
    async with home.opened() as volume, trio.open_nursery() as nursery:
        data = await put_open(volume, b"f", 2)
        watch = Watch(volume, answer_s_max=0.2)

        async def hang(*, task_status: trio.TaskStatus[trio.Event]) -> None:
            async with volume.pack_lock:
                task_status.started(over := trio.Event())
                await over.wait()

        over = await nursery.start(hang)
        files.gone = str(home.disks[1])
        with trio.fail_after(10):
            await watch.look()
            assert set(volume.disks) == {1, 3} and 2 in volume.writers
            files.gone = "-"
            await watch.look()
        assert set(volume.disks) == {1, 3} and "does not end" in volume.health.missing_disks[2]
        over.set()
        await watch.look()
        assert set(volume.disks) == {1, 2, 3} and 2 not in volume.writers
        assert await read(volume, 2) == data


async def test_a_lock_that_somebody_else_holds_is_left_to_them(tmp_path: Path) -> None:
    """As `disk add`, which names the disk at the same moment."""
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        watch, path = Watch(volume), str(home.disks[1])
        files.gone = path
        await watch.look()
        files.gone = "-"
        volume.disk_locks.take(path)
        await watch.look()
        assert set(volume.disks) == {1} and "in use" in volume.health.missing_disks[2]
        with pytest.raises(InUse):
            DiskLocks().take(path)
        volume.disk_locks.release(path)


async def test_one_that_answered_while_the_process_was_stopped_does_not_hang(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=1)
    async with home.opened() as volume, trio.open_nursery() as nursery:
        watch = Watch(volume)
        files.hanging = str(home.disks[0])
        volume.health.suspects.add(1)
        nursery.start_soon(watch.look)
        await trio.testing.wait_all_tasks_blocked()
        files.go.set()
        while watch._asking:  # its thread ends, and the loop does not come to hear of it
            time.sleep(0.001)
        mock_clock.jump(100)
        mock_clock.rate = 1
        await trio.testing.wait_all_tasks_blocked()
    assert volume.health.missing_disks == {}


async def test_a_disk_that_hangs_keeps_no_volume_from_closing(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    with trio.fail_after(10):
        async with home.opened() as volume:
            data = await put_open(volume, b"f", 2)
            files.hanging = str(home.disks[1])
            volume.health.suspects.add(2)
            await Watch(volume, answer_s_max=0.3).look()
            assert set(volume.disks) == {1} and set(volume.writers) == {2}
    files.hanging = "-"
    files.go.set()
    async with home.opened() as volume:
        assert volume.health.unclean_start is False and await read(volume, 2) == data
        assert all(row.is_closed for row in chunks.packs(volume.metadata))


async def test_one_that_does_not_say_its_space_keeps_nobody_from_status_nor_the_others(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        files.silent = str(home.disks[1])
        with trio.fail_after(10):
            for _ in range(2):
                shown = await status.status(volume, state="mounted", mount_point=None, pid=None)
                assert [disk.get("missing") for disk in shown["disks"]] == [None, True]
            assert [disk["state"] for disk in await drives.list_(volume)] == ["ready", "missing"]
        files.silent = "-"
        files.go.set()
        both: list[list[str]] = []

        async def list_() -> None:
            both.append([disk["state"] for disk in await drives.list_(volume)])

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(list_)
        assert both == [["ready", "ready"]] * 2


async def test_one_that_was_missing_from_the_beginning_comes_back_too(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        data = await put_on(volume, b"f", (2, 2))
    files.gone = str(home.disks[1])
    async with home.opened(degraded=True) as volume:
        await put(volume, new_file(volume, b"g"))
        files.gone = "-"
        number = volume.numbers.pack + 2  # of a pack that its last life did not record
        files.mkdir(f"{home.disks[1]}/packs/00")
        files.create(f"{home.disks[1]}/packs/00/{number:016x}.pack")
        await Watch(volume).look()
        assert await read(volume, 2) == data and volume.numbers.pack == number + 1


async def test_one_that_hung_and_is_named_at_another_place_has_no_open_pack_at_the_old_one(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        data = await put_open(volume, b"f", 2)
        files.hanging = str(home.disks[1])
        volume.health.suspects.add(2)
        watch = Watch(volume, answer_s_max=0.3)
        await watch.look()
        assert set(volume.disks) == {1} and set(volume.writers) == {2}
        assert await drives.add(volume, moved(files, home.disks[1], f"{tmp_path}/elsewhere")) == 2
        assert set(volume.writers) == set()
        await watch.look()
        assert set(volume.disks) == {1, 2}, "it is the old place that hangs"
        files.go.set()
        assert await read(volume, 2) == data


def moved(files: Going, disk: Path, new: str) -> str:
    for path in [path for path in files._names if path.startswith(f"{disk}/")]:
        files._names[new + path[len(str(disk)) :]] = files._names[path]
        files._folders.add(str(Path(new + path[len(str(disk)) :]).parent))
    return new


async def test_a_disk_that_went_may_be_named_at_another_place_or_removed(tmp_path: Path) -> None:
    files = Going()
    home = InMemory(tmp_path, files, disk_count=3, copies=2)
    async with home.opened() as volume:
        data = [await put_on(volume, b"%d" % disk, (1, disk)) for disk in (2, 3)]
        watch = Watch(volume)
        for disk in (2, 3):
            files.gone = str(home.disks[disk - 1])
            await watch.look()
            if disk == 2:
                new = moved(files, home.disks[1], f"{tmp_path}/elsewhere")
                assert await drives.add(volume, new) == 2
            else:
                await drives.remove(volume, files.gone)
            await watch.look()
        assert [(row.disk, row.path) for row in disks.all_(volume.metadata)] == [
            (1, str(home.disks[0])),
            (2, new),
        ]
        assert copies_by_chunk(volume) == {(2, 2)} and reasons(volume) == []
        assert [await read(volume, inode) for inode in (2, 3)] == data


async def test_the_sealer_goes_on_by_itself_without_the_disk(tmp_path: Path) -> None:
    """What the tasks do together: nobody asks for anything."""
    files = Going()
    home = InMemory(tmp_path, files, disk_count=2, copies=2)
    async with home.opened() as volume, trio.open_nursery() as nursery:
        volume.health.tasks["sealer"] = ""
        await put(volume, new_file(volume, b"f"))
        files.gone = str(home.disks[1])
        await writing.write(volume, new_file(volume, b"g"), 0, b"sealed on one disk" * 5000)
        volume.activity.last_write_s.clear()
        await nursery.start(run_disks, volume)
        await nursery.start(run_sealer, volume)
        with trio.fail_after(20):
            while volume.metadata.running.hot_bytes:
                await trio.sleep(0.05)
        assert set(volume.disks) == {1} and disks_named(volume, 3) == {1}
        assert files.written_beneath == []
        files.gone = "-"
        volume.wishes.disks.set()
        with trio.fail_after(20):
            while 2 not in volume.disks:
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
