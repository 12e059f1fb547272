"""Packs on a disk: what was synced stays, what failed is never called good, a crash leaves what can be mended."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from rustfsfs.content import codec
from rustfsfs.content.chunkid import chunk_id
from rustfsfs.content.keys import derive_keys
from rustfsfs.errors import DamagedData, NoSpace, NotAVolume, PackMissing, StoreUnavailable
from rustfsfs.store import layout
from rustfsfs.store.disks import LocalDisk
from rustfsfs.store.headers import DiskHeader, read_disk_header, write_disk_header
from rustfsfs.units import DiskNo, Nanoseconds, PackNo
from rustfsfs.world import Files, RealFiles, World
from tests.crash.disk import CrashFiles, PowerLoss

UUID, DISK_UUID = b"v" * 16, b"d" * 16
KEYS = derive_keys(b"m" * 32, UUID)
PACK = PackNo(0x1234)


def world(files: Files) -> World:
    return World(files=files, now_ns=lambda: Nanoseconds(1), random_bytes=os.urandom)


def disk_on(files: Files, path: str) -> LocalDisk:
    return LocalDisk(world=world(files), path=path, number=DiskNo(1), uuid=DISK_UUID, volume_uuid=UUID, keys=KEYS)


def new_disk(files: Files, path: str) -> LocalDisk:
    files.mkdir(path)
    files.mkdir(f"{path}/packs")
    header = DiskHeader(volume_uuid=UUID, disk_uuid=DISK_UUID, number=1, epoch=0)
    write_disk_header(world(files), path, header, keys=KEYS)
    return disk_on(files, path)


@pytest.fixture(params=["a real disk", "the double"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> LocalDisk:
    if request.param == "a real disk":
        return new_disk(RealFiles(), str(tmp_path))
    return new_disk(CrashFiles(), "/disk")


def frame(number: int) -> bytes:
    plain = b"chunk %d " % number * 100
    name = chunk_id(plain, KEYS.chunk_id)
    return codec.seal_frame(plain, chunk_id=name, keys=KEYS, uuid=UUID, salt=os.urandom(24), level=1)


def test_what_was_appended_is_read_back_and_named_by_the_directory(disk: LocalDisk) -> None:
    writer = disk.create_pack(PACK)
    frames = [frame(number) for number in range(5)]
    offsets = [*writer.append(frames[:2]), *writer.append(frames[2:])]
    writer.sync()
    for offset, one in zip(offsets, frames, strict=True):
        assert disk.read(PACK, offset, len(one)) == one
    size = writer.close()
    assert disk.pack_size(PACK) == size
    assert disk.packs() == [PACK]
    named = disk.read_directory(PACK)
    assert [(entry.offset, entry.stored_bytes) for entry in named] == [
        (o, len(f)) for o, f in zip(offsets, frames, strict=True)
    ]
    assert disk.scan_frames(PACK) == named


def test_deleting_twice_is_fine_and_reading_then_says_missing(disk: LocalDisk) -> None:
    disk.create_pack(PACK).close()
    disk.read(PACK, 0, 10)
    disk.delete(PACK)
    disk.delete(PACK)
    with pytest.raises(PackMissing):
        disk.read(PACK, 0, 10)
    assert disk.packs() == []


def test_what_is_in_the_page_cache_is_read_at_once_and_what_would_wait_is_not(disk: LocalDisk) -> None:
    writer = disk.create_pack(PACK)
    one = frame(1)
    [offset] = writer.append([one])
    assert disk.read_cached(PACK, offset, len(one)) is None, "opening the file may wait"
    disk.read(PACK, offset, 1)
    assert disk.read_cached(PACK, offset, len(one)) == one
    size = writer.close()
    assert disk.read_cached(PACK, size - 5, 10) is None, "it ends before: for `read` to say"
    with disk._lock:
        assert disk.read_cached(PACK, offset, len(one)) is None, "somebody may be opening a file"
    disk.delete(PACK)
    assert disk.read_cached(PACK, offset, len(one)) is None


def test_reading_past_the_end_is_damage(disk: LocalDisk) -> None:
    size = disk.create_pack(PACK).close()
    with pytest.raises(DamagedData):
        disk.read(PACK, size - 5, 10)


def test_a_pack_left_open_is_cut_and_closed_as_often_as_wanted(disk: LocalDisk) -> None:
    writer = disk.create_pack(PACK)
    [kept] = writer.append([frame(1)])
    end = writer.size_bytes
    writer.append([frame(2)])
    writer.sync()
    entries = disk.scan_frames(PACK)[:1]
    for _ in range(2):
        disk.finish_pack(PACK, end, entries)
        assert disk.read_directory(PACK) == entries
        assert disk.scan_frames(PACK) == entries
    assert entries[0].offset == kept


def test_a_pack_shorter_than_its_rows_say_is_damage(disk: LocalDisk) -> None:
    disk.create_pack(PACK)
    with pytest.raises(DamagedData):
        disk.finish_pack(PACK, 5000, [])


@pytest.mark.parametrize(
    ("how", "error"),
    [(errno.ENOSPC, NoSpace), (errno.EIO, StoreUnavailable), ("short", NoSpace)],
)
def test_after_a_failed_append_the_writer_takes_no_more(how: int | str, error: type[Exception]) -> None:
    files = CrashFiles()
    disk = new_disk(files, "/disk")
    writer = disk.create_pack(PACK)
    [offset], good = writer.append([frame(1)]), frame(2)
    writer.sync()
    files.failing["pwrite"] = [how]
    with pytest.raises(error):
        writer.append([good])
    with pytest.raises(StoreUnavailable):
        writer.append([good])
    assert disk.scan_frames(PACK)[0].offset == offset


def test_a_failed_sync_is_never_called_good_afterwards() -> None:
    files = CrashFiles()
    writer = new_disk(files, "/disk").create_pack(PACK)
    writer.append([frame(1)])
    files.failing["sync"] = [errno.EIO]
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            writer.sync()


def test_a_synced_frame_survives_every_power_cut() -> None:
    files = CrashFiles()
    one = frame(1)
    writer = new_disk(files, "/disk").create_pack(PACK)
    [offset] = writer.append([one])
    writer.sync()
    writer.append([frame(2)])
    for state in files.states(limit=50, seed=1):
        assert disk_on(state, "/disk").read(PACK, offset, len(one)) == one


def test_a_pack_that_comes_back_is_whole_or_not_there_and_stays_when_it_is_said_to_be_there() -> None:
    whole, states = os.urandom(5000), 0
    for die_at in range(100):
        files = CrashFiles()
        disk = new_disk(files, "/disk")
        files.new_folders_may_vanish = True
        files.die_at = files.actions + die_at
        is_there = False
        try:
            disk.adopt_pack(PACK, [whole[:3000], whole[3000:]])
            is_there = True
        except PowerLoss:
            pass
        for left in files.states(limit=200, seed=die_at):
            states += 1
            try:
                assert disk_on(left, "/disk").read(PACK, 0, len(whole)) == whole, die_at
            except PackMissing:
                assert not is_there
        if is_there:
            break
    assert is_there and states > 20


def test_more_packs_are_read_than_files_are_kept_open(tmp_path: Path) -> None:
    disk = new_disk(RealFiles(), str(tmp_path))
    for number in range(1, 301):
        disk.create_pack(PackNo(number)).close()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1, 301):
        assert layout.decode_header(disk.read(number, 0, layout.HEADER_SIZE))[0] == number
    assert len(os.listdir("/proc/self/fd")) - before <= 257
    disk.close()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("there", ["an empty folder", "one with packs", "another disk", "nothing"])
def test_no_pack_is_made_where_the_disk_is_not(there: str, tmp_path: Path) -> None:
    """Its file system was unmounted: its path is the mount point now, or not even that."""
    disk = new_disk(RealFiles(), str(tmp_path / "disk"))
    (tmp_path / "disk").rename(tmp_path / "away")
    if there == "another disk":
        other = DiskHeader(volume_uuid=UUID, disk_uuid=b"other" + bytes(11), number=2, epoch=0)
        (tmp_path / "disk" / "packs").mkdir(parents=True)
        write_disk_header(world(RealFiles()), disk.path, other, keys=KEYS)
    elif there != "nothing":
        (tmp_path / "disk" / ("packs" if there == "one with packs" else "")).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="is it mounted") as caught:
            disk.create_pack(PACK)
        assert caught.value.disk == 1
        with pytest.raises(StoreUnavailable, match="is it mounted"):
            disk.adopt_pack(PACK, [b"pack"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pack_whose_folder_is_gone_is_not_missing_but_takes_no_more(tmp_path: Path) -> None:
    disk = new_disk(RealFiles(), str(tmp_path / "disk"))
    writer = disk.create_pack(PACK)
    writer.append([frame(1)])
    (tmp_path / "disk").rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            writer.sync()
        assert caught.value.disk == 1


def test_the_disk_header_says_whose_the_directory_is(tmp_path: Path) -> None:
    header = DiskHeader(volume_uuid=UUID, disk_uuid=DISK_UUID, number=3, epoch=77)
    write_disk_header(world(RealFiles()), str(tmp_path), header, keys=KEYS)
    assert read_disk_header(RealFiles(), str(tmp_path), keys=KEYS, uuid=UUID) == header
    with pytest.raises(DamagedData):
        read_disk_header(RealFiles(), str(tmp_path), keys=KEYS, uuid=b"x" * 16)
    data = bytearray((tmp_path / "rustfsfs-disk").read_bytes())
    for at in range(len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 1
        (tmp_path / "rustfsfs-disk").write_bytes(spoilt)
        assert read_disk_header(RealFiles(), str(tmp_path), keys=KEYS, uuid=UUID) == header, "its copy"
        (tmp_path / "rustfsfs-disk.copy").write_bytes(spoilt)
        with pytest.raises(DamagedData):
            read_disk_header(RealFiles(), str(tmp_path), keys=KEYS, uuid=UUID)
        (tmp_path / "rustfsfs-disk.copy").write_bytes(data)
    with pytest.raises(NotAVolume):
        read_disk_header(RealFiles(), str(tmp_path / "nowhere"), keys=KEYS, uuid=UUID)


class TurnsReadOnly(CrashFiles):
    """At the first write to a pack."""

    def _raise(self) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def pwrite_much(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        self._raise()

    def unlink(self, path: str) -> None:
        if path.endswith(".pack"):
            self._raise()
        super().unlink(path)


def test_a_disk_that_turns_read_only_as_a_pack_begins_takes_no_pack() -> None:
    with pytest.raises(StoreUnavailable) as said:
        new_disk(TurnsReadOnly(), "/disk").create_pack(PACK)
    assert said.value.disk == 1
