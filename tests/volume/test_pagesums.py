"""An older page of the database, put back at its place, is never believed."""

import errno
from pathlib import Path

import pytest
import trio

from rustfsfs.config import Config
from rustfsfs.errors import DamagedMetadata, DamagedVolume, ReadOnlyVolume, UsageError
from rustfsfs.meta import entries
from rustfsfs.meta.database import PAGE_SIZE
from rustfsfs.units import ROOT
from rustfsfs.volume import epochs, names, offline, scrubbing
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.volume.restoring import restore_metadata
from rustfsfs.volume.volume import Volume
from rustfsfs.world import publish, real_world
from tests.crash.disk import CrashFiles, PowerLoss
from tests.faults import Fault, Faults, FaultyFiles
from tests.volume.on_disk import FILE, Key, change, format_in

KEY = bytes(range(32))


async def fill(volume: Volume) -> None:
    for number in range(300):
        names.create(volume, ROOT, b"name%d" % number, mode=FILE, uid=0, gid=0)


async def drop(volume: Volume) -> None:
    for number in range(300):
        names.unlink(volume, ROOT, b"name%d" % number)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with 300 names, all of them removed; `put_back` brings some of the pages that had them."""
    made = format_in(tmp_path / "v")
    change(made, fill)
    (tmp_path / "older").write_bytes((made / "metadata.db").read_bytes())
    change(made, drop)
    return made


def put_back(volume: Path) -> int:
    """Put one older page in the place of its newer self; its number."""
    older, newer = (volume.parent / "older").read_bytes(), bytearray((volume / "metadata.db").read_bytes())
    for at in range(PAGE_SIZE * 4, len(older), PAGE_SIZE):
        if older[at : at + PAGE_SIZE] != newer[at : at + PAGE_SIZE]:
            newer[at : at + PAGE_SIZE] = older[at : at + PAGE_SIZE]
            (volume / "metadata.db").write_bytes(newer)
            return at // PAGE_SIZE + 1
    raise AssertionError("nothing changed")


def test_a_volume_at_rest_has_all_its_pages_in_one_file(volume: Path) -> None:
    wal = volume / "metadata.db-wal"
    assert not wal.exists() or wal.stat().st_size == 0


def test_it_can_only_be_read_then(volume: Path) -> None:
    number = put_back(volume)
    with pytest.raises((DamagedVolume, ReadOnlyVolume), match=f"the first is {number}"):
        change(volume, fill)
    with pytest.raises((DamagedVolume, ReadOnlyVolume), match="not those that were written last"):
        change(volume, fill)


def test_read_only_what_is_on_it_is_an_error(volume: Path) -> None:
    """The page that had the names in it is the one that fails: without its sum the names would be there again."""
    before = (volume / "metadata.db").read_bytes()
    older = (volume.parent / "older").read_bytes()
    (volume / "metadata.db").write_bytes(older[: len(before)] + before[len(older) :])
    for suffix in ("-wal", "-shm"):
        Path(f"{volume}/metadata.db{suffix}").unlink(missing_ok=True)

    async def main() -> None:
        how = Opening(path=str(volume), secret=Key(), config=Config(), read_only=True)
        async with opened_volume(real_world(), how) as opened:
            entries.find_attributes(opened.metadata, ROOT, b"name7")

    with pytest.raises((DamagedMetadata, DamagedVolume)):
        trio.run(main)


def test_a_snapshot_helps(volume: Path) -> None:
    with pytest.raises(UsageError):
        restore_metadata(str(volume), Key())
    put_back(volume)
    assert "epoch" in restore_metadata(str(volume), Key())
    change(volume, fill)
    assert offline.fsck(str(volume), Key(), data=True) == []


def test_a_person_may_believe_it_all_the_same(volume: Path) -> None:
    put_back(volume)
    (volume / "metadata.pages").unlink()

    async def nothing(_volume: Volume) -> None:
        return

    change(volume, nothing)
    assert (volume / "metadata.pages").exists()


def test_scrubbing_finds_it_while_the_volume_is_open(volume: Path) -> None:
    found: list[str] = []

    async def work(opened: Volume) -> None:
        await fill(opened)
        await epochs.commit(opened)
        (volume.parent / "older").write_bytes((volume / "metadata.db").read_bytes())
        await drop(opened)
        await epochs.commit(opened)
        await epochs.commit(opened)
        number = put_back(volume)
        done = await scrubbing.scrub(opened, repair=True, rate_bytes_s=0)
        found.extend(line for line in done.lines if f"page {number} of the metadata" in line)

    change(volume, work)
    assert len(found) == 1
    with pytest.raises((DamagedVolume, ReadOnlyVolume)):
        change(volume, fill)


def test_damaged_sums_are_a_finding_and_made_anew(volume: Path) -> None:
    data = bytearray((volume / "metadata.pages").read_bytes())
    data[100] ^= 1
    (volume / "metadata.pages").write_bytes(data)
    found: list[str] = []

    async def work(opened: Volume) -> None:
        found.extend((await scrubbing.scrub(opened, repair=False, rate_bytes_s=0)).lines)
        found.extend((await scrubbing.scrub(opened, repair=False, rate_bytes_s=0)).lines)

    change(volume, work)
    assert found == [f"1 blocks of {volume}/metadata.pages are damaged: repaired"]
    change(volume, fill)


def test_what_the_wal_holds_is_not_judged(volume: Path, tmp_path: Path) -> None:
    """A crash between a checkpoint and its sums: the WAL still has every page that has none."""
    files = real_world().files

    async def work(opened: Volume) -> None:
        await fill(opened)
        await epochs.commit(opened)
        sums = PageSums(files, f"{volume}/metadata.db", opened.keys.database)
        assert sums.in_wal()
        assert sums.stale(adopt=False) == []

    change(volume, work)


def on_double() -> tuple[CrashFiles, PageSums]:
    """Two pages in a database file, one of them with a newer version in the WAL; sums known and durable."""
    files = CrashFiles()
    files.mkdir("/v")
    publish(files, "/v/metadata.db", b"a" * PAGE_SIZE + b"b" * PAGE_SIZE)
    sums = PageSums(files, "/v/metadata.db", KEY)
    assert sums.stale(adopt=True) == []
    sums.save(durably=True)
    files.sync_dir("/v")
    salts = b"saltsalt"
    frame = (2).to_bytes(4) + bytes(4) + salts + bytes(8) + b"B" * PAGE_SIZE
    publish(files, "/v/metadata.db-wal", bytes(16) + salts + bytes(8) + frame)
    return files, sums


def test_what_cannot_be_read_keeps_nobody_from_opening() -> None:
    """A bad sector under the sums, or under a page: nothing is known of it, and all else is judged."""
    files, _sums = on_double()
    files.unlink("/v/metadata.db-wal")
    fd = files.open("/v/metadata.db", write=True)
    files.pwrite(fd, b"o" * PAGE_SIZE, PAGE_SIZE)
    faults = Faults()
    faulty = FaultyFiles(files, faults)
    faults.plan(Fault(action="pread", word="metadata.pages"))
    sums = PageSums(faulty, "/v/metadata.db", KEY)
    assert (sums.damaged_blocks, sums.stale(adopt=False)) == (1, [])
    sums = PageSums(faulty, "/v/metadata.db", KEY)
    for count, stale in ((1, [2]), (2, [2]), (3, [])):  # the whole stretch, the first page, the second too
        faults.plan(Fault(action="pread", word="metadata.db", count=count))
        assert sums.stale(adopt=True) == stale


def checkpoint(files: CrashFiles, sums: PageSums) -> None:
    with sums.kept(1, 0):
        fd = files.open("/v/metadata.db", write=True)
        files.pwrite(fd, b"B" * PAGE_SIZE, PAGE_SIZE)
        files.sync(fd)
    wal = files.open("/v/metadata.db-wal", write=True)  # the next COMMIT begins it anew
    files.pwrite(wal, bytes(16) + b"new salt" + bytes(8), 0)
    files.sync(wal)


def test_a_power_cut_at_any_moment_of_a_checkpoint_makes_no_page_stale() -> None:
    states = 0
    for die_at in range(100):
        files, sums = on_double()
        files.die_at = files.actions + die_at
        try:
            checkpoint(files, sums)
        except PowerLoss:
            pass
        is_over = files.actions < files.die_at
        for left in files.states(limit=200, seed=die_at):
            states += 1
            assert PageSums(left, "/v/metadata.db", KEY).stale(adopt=False) == [], die_at
        if is_over:
            break
    assert is_over and states > 20
    assert PageSums(files, "/v/metadata.db", KEY).stale(adopt=False) == []
    fd = files.open("/v/metadata.db", write=True)
    files.pwrite(fd, b"b" * PAGE_SIZE, PAGE_SIZE)  # what it was before
    assert PageSums(files, "/v/metadata.db", KEY).stale(adopt=False) == [2]


@pytest.mark.parametrize("action", ["pwrite", "sync"])
def test_sums_that_cannot_be_written_are_gone_for_good(action: str) -> None:
    """Those from before would call the pages of the checkpoint stale."""
    files, sums = on_double()
    files.failing[action] = [errno.EIO]
    checkpoint(files, sums)
    for left in files.states(limit=200, seed=1):
        assert PageSums(left, "/v/metadata.db", KEY).stale(adopt=False) == []


def test_without_sums_that_can_be_let_go_there_is_no_checkpoint() -> None:
    files, sums = on_double()
    files.failing["pwrite"] = [errno.EIO]
    files.failing["unlink"] = [errno.EIO]
    with pytest.raises(OSError, match="Input/output"):
        checkpoint(files, sums)
