"""Scrubbing finds every kind of damage while the volume is open, and mends what has a good copy."""

import errno
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio

from rustfsfs.config import Config, Scrub
from rustfsfs.errors import DamagedData, PackMissing, StoreError
from rustfsfs.meta import chunks
from rustfsfs.store.headers import DISK_HEADER, DISK_HEADER_COPY
from rustfsfs.tiers.pace import EPOCH_ROWS_MAX
from rustfsfs.volume import (
    auditing,
    checking,
    collecting,
    commands,
    epochs,
    mending,
    reading,
    scrubbing,
    snapshots,
    writing,
)
from rustfsfs.volume.mending import LINES_MAX, Findings
from rustfsfs.volume.volume import Volume
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import NOISE, InMemory, new_file, put, seal


async def scrub(volume: Volume, *, repair: bool) -> Findings:
    return await scrubbing.scrub(volume, repair=repair, rate_bytes_s=0)


async def filled(volume: Volume) -> dict[int, bytes]:
    """Three sealed files, in closed packs; forgotten by the cache."""
    kept = {}
    for name in (b"a", b"b", b"c"):
        inode = new_file(volume, name)
        kept[inode] = await put(volume, inode, 300_000)
    await snapshots.take(volume)
    forget(volume)
    return kept


def forget(volume: Volume) -> None:
    for (chunk,) in volume.metadata.rows("SELECT chunk FROM chunks"):
        volume.cache.remove(chunk)


def flip(home: InMemory, path: str, at: int) -> None:
    fd = home.files.open(path, write=True)
    byte = home.files.pread(fd, 1, at)
    home.files.pwrite(fd, bytes([byte[0] ^ 0x40]), at)
    home.files.close(fd)


def frames(volume: Volume, disk: int) -> list[tuple[str, int, int]]:
    """(pack's path, offset, size) of all live frames on a disk."""
    found = volume.metadata.rows(
        "SELECT pack, offset, stored_bytes FROM places WHERE disk = ? ORDER BY pack, offset", (disk,)
    )
    return [(volume.disks[disk].pack_path(pack), offset, size) for pack, offset, size in found]  # type: ignore[attr-defined]


async def read_all(volume: Volume, kept: dict[int, bytes]) -> bool:
    forget(volume)
    for inode, data in kept.items():
        if bytes(await reading.read(volume, inode, 0, 1 << 20)) != data:
            return False
    return True


def is_sound(volume: Volume) -> bool:
    return not list(checking.check_metadata(volume.metadata))


async def test_a_whole_volume_gives_no_finding(tmp_path: Path) -> None:
    async with InMemory(tmp_path, disk_count=2, copies=2).opened() as volume:
        await filled(volume)
        await writing.write(volume, new_file(volume, b"hot"), 0, NOISE.randbytes(50_000))
        done = await scrub(volume, repair=True)
        assert (done.lines, done.found) == ([], 0)
        assert done.verified_bytes == volume.metadata.running.stored_bytes > 1_500_000
        assert volume.metadata.running.scrub_ended_ns > 0


@dataclass(frozen=True)
class Damage:
    do: Callable[[InMemory, Volume], None]
    needs_copy: bool  # cannot be mended from itself


def in_frame(home: InMemory, volume: Volume) -> None:
    for path, offset, size in frames(volume, 1)[::2]:
        flip(home, path, offset + size // 2)


def cut_pack(home: InMemory, volume: Volume) -> None:
    path, offset, _size = frames(volume, 1)[2]
    fd = home.files.open(path, write=True)
    home.files.truncate(fd, offset)
    home.files.close(fd)


def lose_pack(home: InMemory, volume: Volume) -> None:
    pack = volume.metadata.rows("SELECT pack FROM packs WHERE disk = 1 AND live_bytes > 0")[0][0]
    volume.disks[1].delete(pack)


def in_directory(home: InMemory, volume: Volume) -> None:
    path, offset, size = frames(volume, 1)[-1]
    flip(home, path, offset + size + 30)


def in_trailer(home: InMemory, volume: Volume) -> None:
    path = frames(volume, 1)[-1][0]
    flip(home, path, home.files.size(path) - 50)


def in_pack_header(home: InMemory, volume: Volume) -> None:
    flip(home, frames(volume, 1)[0][0], 20)


def in_volume_header(home: InMemory, volume: Volume) -> None:
    flip(home, f"{home.disks[0]}/header", 30)


def in_disk_header(home: InMemory, volume: Volume) -> None:
    flip(home, f"{home.disks[0]}/{DISK_HEADER}", 50)


def in_disk_header_copy(home: InMemory, volume: Volume) -> None:
    flip(home, f"{home.disks[1]}/{DISK_HEADER_COPY}", 50)


def in_snapshot(home: InMemory, volume: Volume) -> None:
    folder = f"{home.disks[0]}/snapshots"
    flip(home, f"{folder}/{home.files.names(folder)[0]}", 5000)


DAMAGES = {
    function.__name__: Damage(function, needs_copy)
    for function, needs_copy in (
        (in_frame, True),
        (cut_pack, True),
        (lose_pack, True),
        (in_directory, False),
        (in_trailer, False),
        (in_pack_header, False),
        (in_volume_header, False),
        (in_disk_header, False),
        (in_disk_header_copy, False),
        (in_snapshot, False),
    )
}


async def test_a_snapshot_is_verified_without_a_copy_of_it(tmp_path: Path) -> None:
    """There may be no room for one, or no way to write: that is no damage."""
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        await filled(volume)
        (home.path / "metadata.check" / "no").mkdir(parents=True)  # where a copy would go
        assert (await scrub(volume, repair=True)).lines == []


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_and_with_two_copies_all_of_it_mended(tmp_path: Path, name: str) -> None:
    home = InMemory(tmp_path, disk_count=2, copies=2)
    async with home.opened() as volume:
        kept = await filled(volume)
        DAMAGES[name].do(home, volume)
        forget(volume)
        found = await scrub(volume, repair=False)
        assert found.found > 0 and found.repaired == 0
        assert all("no file" not in line for line in found.lines), "what has a copy names no file as lost"
        forget(volume)
        mended = await scrub(volume, repair=True)
        assert mended.repaired == mended.found == found.found, mended.lines
        again = await scrub(volume, repair=False)
        assert again.lines == []
        assert await read_all(volume, kept)
        assert is_sound(volume)
        assert volume.metadata.running.bad_chunks == 0
    async with home.opened() as volume:
        assert await read_all(volume, kept)


@pytest.mark.parametrize("name", DAMAGES)
async def test_damage_is_found_and_with_one_copy_the_files_are_named(tmp_path: Path, name: str) -> None:
    home = InMemory(tmp_path, disk_count=2, copies=1)
    async with home.opened() as volume:
        volume.disks.pop(2)  # all packs on the first disk
        kept = await filled(volume)
        DAMAGES[name].do(home, volume) if name != "in_disk_header_copy" else flip(
            home, f"{home.disks[0]}/{DISK_HEADER_COPY}", 50
        )
        done = await scrub(volume, repair=True)
        assert done.found > 0
        if not DAMAGES[name].needs_copy:
            assert done.repaired == done.found, done.lines
            assert await read_all(volume, kept)
            return
        assert done.repaired < done.found
        assert any(f": /{file}" in line for line in done.lines for file in ("a", "b", "c")), done.lines
        assert volume.metadata.running.bad_chunks > 0
        with pytest.raises((DamagedData, PackMissing)):
            await read_all(volume, kept)
        await _write_again(volume, kept)
        assert volume.metadata.running.bad_chunks == 0
        assert await read_all(volume, kept)
        assert (await scrub(volume, repair=True)).found <= 1, "the damaged pack's own ends"
        assert (await scrub(volume, repair=True)).lines == []


async def _write_again(volume: Volume, kept: dict[int, bytes]) -> None:
    """The same content, written to other files, heals (I6)."""
    for number, data in enumerate(kept.values()):
        await writing.write(volume, new_file(volume, b"again%d" % number), 0, data)
    await seal(volume)


async def test_a_missing_disk_is_a_finding_of_a_mounted_volume_too(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2, copies=2)
    async with home.opened() as volume:
        await filled(volume)
    home.files.unlink(f"{home.disks[1]}/{DISK_HEADER}")
    home.files.unlink(f"{home.disks[1]}/{DISK_HEADER_COPY}")
    async with home.opened(degraded=True) as volume:
        done = await commands.scrub(volume, {}, collecting.no_progress)
    assert done["found"] == len(done["findings"]) == 1
    assert "is the disk mounted?" in done["findings"][0]


def test_findings_are_told_up_to_a_limit_and_all_counted() -> None:
    findings = Findings()
    for number in range(LINES_MAX + 10):
        findings.add(f"chunk {number}")
    assert (len(findings.lines), findings.found) == (LINES_MAX + 1, LINES_MAX + 10)


async def test_chunks_with_too_few_copies_get_them_back(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2, copies=2)
    async with home.opened() as volume:
        away = volume.disks.pop(2)
        kept = await filled(volume)
        volume.disks[2] = away
        done = await scrub(volume, repair=False)
        assert done.found and "fewer than 2 copies" in done.lines[0]
        await scrub(volume, repair=True)
        copies = volume.metadata.rows("SELECT count(*), count(DISTINCT disk) FROM places GROUP BY chunk")
        assert set(copies) == {(2, 2)}
        assert (await scrub(volume, repair=False)).lines == []
        assert is_sound(volume)
        assert await read_all(volume, kept)


async def test_chunks_that_went_while_more_copies_of_them_waited_stay_gone(tmp_path: Path) -> None:
    """And their content may have another number by then."""
    home = InMemory(tmp_path, disk_count=2, copies=2)
    async with home.opened() as volume:
        away = volume.disks.pop(2)
        kept = await filled(volume)
        volume.disks[2] = away
        async with trio.open_nursery() as nursery, volume.collect_lock:
            nursery.start_soon(partial(scrub, volume, repair=True))
            while not volume.collect_lock.statistics().tasks_waiting:
                await trio.sleep(0.01)
            for inode in kept:
                await writing.resize(volume, inode, 0)
            await collecting.bury(volume)
            await _write_again(volume, kept)
        assert volume.health.restored_in_a_row == 0
        assert is_sound(volume)
        assert (await scrub(volume, repair=False)).lines == []


async def test_a_disk_may_be_removed_while_it_is_scrubbed(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2)
    async with home.opened() as volume:
        await filled(volume)
        (row, *_rest) = chunks.packs(volume.metadata)
        volume.disks.pop(row.disk)
        await mending.verify_ends(volume, row, Findings(), repair=True)


async def test_a_chunk_that_reads_well_again_is_good_again(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        kept = await filled(volume)
        path, offset, _size = frames(volume, 1)[0]
        flip(home, path, offset + 40)
        await scrub(volume, repair=True)
        assert volume.metadata.running.bad_chunks == 1
        flip(home, path, offset + 40)  # a cable, not the disk
        done = await scrub(volume, repair=True)
        assert (done.lines, volume.metadata.running.bad_chunks) == ([], 0)
        assert await read_all(volume, kept)


async def test_damaged_hot_data_is_found(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        inode = new_file(volume, b"hot")
        await writing.write(volume, inode, 0, NOISE.randbytes(60_000))
        await epochs.commit(volume)
        segment, base = volume.metadata.rows("SELECT segment, base FROM extents WHERE segment > 0")[0]
        flip(home, next(file.path for file in volume.journal._segments[segment]), base + 5000)
        done = await scrub(volume, repair=True)
        assert done.found == 1 and "/hot" in done.lines[0], done.lines


async def test_of_a_lost_table_not_each_row_is_told(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        await filled(volume)
        volume.metadata.run("DELETE FROM packs")
        volume.metadata.run_many(
            "INSERT INTO places VALUES (?, 1, ?, 100, 1)",
            [
                (chunk, 1000 + more)
                for (chunk,) in volume.metadata.rows("SELECT chunk FROM chunks")
                for more in range(30)
            ],
        )
        await epochs.commit(volume)
        lines = await trio.to_thread.run_sync(partial(auditing.audit_metadata, volume, lambda: None, rows=True))
        assert len(lines) == auditing.LINES_MAX + 1 and "fsck tells it all" in lines[-1]
        volume.health.read_only_reason = "the test spoilt it"


def at_rate(bytes_s: int) -> Config:
    return Config(scrub=Scrub(rate_bytes_s=bytes_s))


async def test_a_pass_goes_on_where_it_was(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.opened() as volume:
        await filled(volume)
        await filled_more(volume)
        packs = [(row.disk, row.pack) for row in chunks.packs(volume.metadata)]
        assert len(packs) >= 2
        async with trio.open_nursery() as nursery:
            volume.settings.config = at_rate(1_000_000)
            nursery.start_soon(scrubbing.scrub_on, volume)
            while not volume.metadata.running.scrub_begun_ns:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    async with home.opened() as volume:
        running = volume.metadata.running
        assert running.scrub_begun_ns and not running.scrub_ended_ns
        verified = running.scrub_bytes
        volume.settings.config = at_rate(0)
        done = await scrubbing.scrub_on(volume)
        assert done.verified_bytes >= running.stored_bytes > verified > 0
        assert running.scrub_ended_ns and not running.scrub_begun_ns


async def test_a_person_does_not_wait_for_the_background(tmp_path: Path) -> None:
    """Whose pass takes days."""
    async with InMemory(tmp_path).opened() as volume:
        await filled(volume)
        await filled_more(volume)
        ended: list[Findings] = []
        volume.settings.config = at_rate(300_000)

        async def background() -> None:
            ended.append(await scrubbing.scrub_on(volume))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(background)
            while not volume.scrub_lock.locked():
                await trio.sleep(0)
            assert (await scrub(volume, repair=True)).lines == []
            assert ended == []
            nursery.cancel_scope.cancel()


async def filled_more(volume: Volume) -> None:
    for number in range(3):
        await put(volume, new_file(volume, b"more%d" % number), 300_000)


async def test_what_is_mended_does_not_pile_up_in_one_transaction(tmp_path: Path) -> None:
    """Of a volume that is not mounted no task ends the epochs."""
    async with InMemory(tmp_path, disk_count=2, copies=2).opened() as volume:
        await filled(volume)
        volume.activity.uncommitted_rows = EPOCH_ROWS_MAX
        waiting: list[int] = []
        await scrubbing.scrub(
            volume, repair=True, rate_bytes_s=0, progress=lambda *_: waiting.append(volume.activity.uncommitted_rows)
        )
        assert waiting[0] == EPOCH_ROWS_MAX and 0 in waiting[1:6]


async def test_a_rate_is_kept(tmp_path: Path) -> None:
    async with InMemory(tmp_path).opened() as volume:
        await filled(volume)
        before_s = trio.current_time()
        done = await scrubbing.scrub(volume, repair=False, rate_bytes_s=2_000_000)
        assert trio.current_time() - before_s >= done.verified_bytes / 2_000_000


async def test_scrubbing_while_others_write_and_collect(tmp_path: Path) -> None:
    """Whatever moves or goes meanwhile is no damage."""
    draw = random.Random(4)
    home = InMemory(tmp_path, disk_count=2, copies=2)
    async with home.opened() as volume:
        kept = await filled(volume)
        ended = False

        async def disturb() -> None:
            while not ended:
                inode = draw.choice(list(kept))
                kept[inode] = await put(volume, inode, 300_000)
                await collecting.collect_now(volume, live_share=0.9)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(disturb)
            for _ in range(8):
                assert (await scrub(volume, repair=True)).lines == []
            ended = True
        assert await read_all(volume, kept)
        assert is_sound(volume)


class SlowToOpen(CrashFiles):
    """Who opens a file whose path ends in `word` waits until `go`, the second time; then `reached` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.word = "-"
        self.opened = 0
        self.reached = threading.Event()
        self.go = threading.Event()

    def open(self, path: str, *, write: bool = False) -> int:
        if path.endswith(self.word):
            self.opened += 1
            if self.opened == 2:
                self.reached.set()
                assert self.go.wait(20)
        return super().open(path, write=write)


class FullPacks(CrashFiles):
    """No pack can be made while it `is_full`."""

    is_full = False

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        if self.is_full and "/packs/" in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return super().create(path, allocate_bytes=allocate_bytes)


async def test_without_room_a_person_hears_of_all_the_damage(tmp_path: Path) -> None:
    files = FullPacks()
    home = InMemory(tmp_path, files=files, disk_count=2, copies=2)
    async with home.opened() as volume:
        await filled(volume)
        for path, offset, size in frames(volume, 1):
            flip(home, path, offset + size // 2)
        files.is_full = True
        done = await scrub(volume, repair=True)
        assert len({line for line in done.lines if "was not stored anew" in line}) == 3, done.lines
        volume.settings.config = at_rate(0)
        done = await scrubbing.scrub_on(volume)
        assert len({line for line in done.lines if "was not stored anew" in line}) == 3, "it stays at none of them"
        files.is_full = False
        await scrub(volume, repair=True)
        assert (await scrub(volume, repair=True)).lines == []


@dataclass
class SlowVolume(InMemory):
    files: SlowToOpen = field(default_factory=SlowToOpen)


async def test_a_header_is_not_mended_to_an_older_epoch_than_a_snapshot_gave_it(tmp_path: Path) -> None:
    """Else the next mount would take the disk for an older copy, and refuse."""
    home = SlowVolume(tmp_path, disk_count=1)
    async with home.opened() as volume:
        await filled(volume)
        flip(home, f"{home.disks[0]}/{DISK_HEADER}", 50)
        home.files.word = DISK_HEADER_COPY
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(auditing.audit_headers, volume, Findings(), repair=True))
            while not home.files.reached.is_set():
                await trio.sleep(0.01)
            nursery.start_soon(snapshots.take, volume)
            await trio.sleep(0.3)  # enough for it, if nothing keeps it
            home.files.go.set()
        await epochs.commit(volume)
        volume.health.read_only_reason = "no snapshot at the end, which would hide it"
    async with home.opened() as volume:
        assert volume.health.missing_disks == {}


async def test_a_disk_that_went_away_is_not_taken_for_damage(tmp_path: Path) -> None:
    home = InMemory(tmp_path, disk_count=2, copies=1)
    async with home.opened() as volume:
        volume.disks.pop(2)
        kept = await filled(volume)
        folder = home.disks[0]
        away = {path: home.files._names.pop(path) for path in list(home.files._names) if path.startswith(f"{folder}/")}
        volume.disks[1]._open.clear()  # type: ignore[attr-defined]
        done = await scrub(volume, repair=True)
        assert any("does not answer any more" in line for line in done.lines), done.lines
        with pytest.raises((DamagedData, StoreError)):
            await read_all(volume, kept)
        while volume.readers.borrowed_tokens or volume.readers.statistics().tasks_waiting:
            await trio.sleep(0.01)  # other reads of the same file
        assert volume.metadata.running.bad_chunks == 0
        home.files._names.update(away)
        assert await read_all(volume, kept)


async def test_a_pass_under_way_keeps_to_new_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rate, and whether it is wanted at all: it takes days."""
    monkeypatch.setattr(scrubbing, "PAUSE_S", 0.01)
    async with InMemory(tmp_path).opened() as volume:
        await filled(volume)
        await filled_more(volume)
        volume.settings.config = at_rate(100_000)  # 12 s
        ended = trio.Event()

        async def background() -> None:
            await scrubbing.scrub_on(volume)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(background)
            while not volume.scrub_lock.locked():
                await trio.sleep(0)
            volume.settings.config = Config(scrub=Scrub(interval_s=0.0, rate_bytes_s=0))
            with trio.move_on_after(0.5):
                await ended.wait()
            assert not ended.is_set() and not volume.scrub_lock.locked(), "it is not wanted"
            volume.settings.config = at_rate(0)
            with trio.fail_after(20):
                await ended.wait()
