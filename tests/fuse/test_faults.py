"""Disks that fail under a real mount: what was acknowledged stays, the mount goes on, or says why it cannot.

A few faults of each kind on one mount, one after the other; `make test-faults` draws many, and
`tests/volume/test_faults.py` goes through them all, one by one, without a mount.
"""

import contextlib
import errno
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.journal.journal import PREPARED
from rustfsfs.service.client import CallFailed
from tests.daemon import FaultyMount, wait_for
from tests.faults import SHORT, Fault
from tests.mounted import Mounted, attach_disk, small_disk

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # every test mounts
PREPARED_S = 0.2  # a file is there a little before it is synced
NOISE = random.Random(1).randbytes(300_000)


@pytest.fixture
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyMount]:
    made = FaultyMount(tmp_path_factory.mktemp("v"))
    made.format()
    made.mount()
    try:
        yield made
    finally:
        made.clean_up()


def put(path: Path, data: bytes) -> None:
    """A new file, acknowledged by fsync."""
    with open(path, "xb", buffering=0) as file:
        assert file.write(data) == len(data)
        os.fsync(file.fileno())


def wait_until_prepared(faulty: FaultyMount) -> None:
    """Two segments beyond those in use: then nobody but a request writes or syncs a file of the journal."""

    def is_so() -> bool:
        numbers = {path.name.split(".")[0] for path in (faulty.volume / "journal").iterdir()}
        return len(numbers) == int(faulty.call("status")["journal"]["segments"]) + PREPARED

    wait_for(is_so, "no segments were prepared")
    time.sleep(PREPARED_S)


def tree(mounted: Mounted) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in mounted.point.iterdir()}


JOURNAL_WRITES = [Fault(action="pwrite", word="/journal/", how=how) for how in ("EIO", "ENOSPC", SHORT)]
SEALING = [
    Fault(action="pwrite", word="/packs/", how="EIO"),
    Fault(action="pwrite", word="/packs/", how="ENOSPC", skip=1),
    Fault(action="pwrite", word="/packs/", how=SHORT, skip=1),
    Fault(action="sync", word="/packs/"),
    Fault(action="sync_dir", word="/packs"),
    Fault(action="create", word="/packs/", how="ENOSPC"),
    Fault(action="xWrite", word="metadata.db-wal", how="EIO"),
    Fault(action="xWrite", word="metadata.db-wal", how="ENOSPC"),
    Fault(action="xSync", word="metadata.db-wal"),
]


def test_a_disk_may_fail_once_at_many_places(faulty: FaultyMount) -> None:
    """Of the journal, the packs, the database, and of the snapshot at the end: each time it goes on by itself."""
    files: dict[str, bytes] = {}

    def put_next() -> None:
        name, data = f"f{len(files)}", NOISE[len(files) :]
        put(faulty.point / name, data)
        files[name] = data

    for number, fault in enumerate(JOURNAL_WRITES, start=1):
        wait_until_prepared(faulty)
        faulty.plan(fault)
        with pytest.raises(OSError) as caught:
            os.mkdir(faulty.point / "never")
        assert caught.value.errno == errno.EIO
        assert len(faulty.failed(number)) == number
        put_next()
    failures = len(JOURNAL_WRITES) + 1
    wait_until_prepared(faulty)
    faulty.plan(Fault(action="sync", word="/journal/"))
    put_next()
    segment, incarnation, _salt = os.path.basename(faulty.failed(failures)[-1].split()[1]).split(".")
    written_anew = list((faulty.volume / "journal").glob(f"{segment}.*"))
    assert incarnation == "0000" and len(written_anew) == 2, "I10: the same file is not synced again"
    for fault in SEALING:
        put_next()
        faulty.plan(fault)
        with contextlib.suppress(CallFailed):
            faulty.call("seal")
        failures += 1
        assert len(faulty.failed(failures)) == failures, fault
        assert tree(faulty) == files, fault
        faulty.call("seal")
        assert faulty.call("status")["hot_bytes"] == 0, fault
        wait_for(lambda: faulty.call("status")["healthy"], f"{fault}: not healthy any more")
    faulty.kill()
    faulty.mount()
    assert tree(faulty) == files
    put_next()
    faulty.plan(Fault(action="sync", word="/snapshots/"))
    faulty.umount()
    assert "no metadata snapshot was taken at unmount" in faulty.log
    assert faulty.fsck("--data") == []
    faulty.mount()
    assert tree(faulty) == files


def test_a_journal_that_cannot_be_made_durable_makes_the_volume_read_only(faulty: FaultyMount) -> None:
    """I10: after the second failure in a row no fsync succeeds any more, even when the disk is well again."""
    put(faulty.point / "before", NOISE)
    faulty.plan(Fault(action="sync", word="/journal/", count=2))
    with open(faulty.point / "within", "xb", buffering=0) as file:
        file.write(b"within")
        for _ in range(3):
            with pytest.raises(OSError) as caught:
                os.fsync(file.fileno())
            assert caught.value.errno == errno.EIO
    assert len(faulty.failed(2)) == 2
    with pytest.raises(OSError) as caught:
        os.mkdir(faulty.point / "never")
    assert caught.value.errno == errno.EROFS
    assert tree(faulty) == {"before": NOISE, "within": b"within"}
    status = faulty.call("status")
    assert not status["healthy"] and "the journal could not be made durable" in status["volume"]["read_only"]
    faulty.run("umount", faulty.point, check=False)
    faulty.mount()
    found = tree(faulty)
    assert found.pop("within", b"") in (b"", b"within") and found == {"before": NOISE}
    put(faulty.point / "later", b"and it goes on")


@contextlib.contextmanager
def two_disks(tmp_path: Path, *more: str) -> Iterator[tuple[Mounted, Path, Path]]:
    """A mount, and two disks of it that are file systems of their own: one is that, the other a folder in it."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with small_disk(tmp_path / "one", size_mib=200) as one, small_disk(tmp_path / "other", size_mib=220) as other:
        mounted = Mounted(tmp_path)
        (one / "folder").mkdir()
        mounted.format("--disk", one / "folder", "--disk", other, *more)
        mounted.mount()
        try:
            yield mounted, one / "folder", other
        finally:
            mounted.clean_up()


def reasons_of(mounted: Mounted) -> str:
    return "; ".join(mounted.status()["reasons"])


@pytest.mark.parametrize(("lost", "copies"), [("one", "1"), ("other", "1"), ("other", "2")])
def test_a_disk_that_is_unmounted_under_a_mount_stops_no_writes(tmp_path: Path, lost: str, copies: str) -> None:
    """Not even where its path is an empty directory by then. Nothing is written there; it is the disk again later."""
    with two_disks(tmp_path, "--copies", copies) as (mounted, one, other):
        files = {f"before{number}": NOISE[number:] for number in range(6)}
        for name, data in files.items():
            put(mounted.point / name, data)
            mounted.seal()
        sizes = [os.statvfs(path).f_blocks for path in (one, other)]
        beneath = tmp_path / lost / "disk"
        subprocess.run(["umount", "-l", str(beneath)], check=True)
        files |= {"while": NOISE[50:]}
        with contextlib.suppress(OSError):  # in the moments before that is noticed
            put(mounted.point / "at once", NOISE[60:])
            files |= {"at once": NOISE[60:]}
        wait_for(lambda: "a disk is missing" in reasons_of(mounted), "nobody noticed")
        put(mounted.point / "while", NOISE[50:])
        mounted.seal()
        assert mounted.status()["hot_bytes"] == 0
        shown = os.statvfs(mounted.point)
        assert shown.f_bavail and shown.f_blocks <= max(sizes)
        mounted.run("disk", "add", mounted.point, tmp_path / "third")  # which takes a snapshot
        assert list(beneath.iterdir()) == []
        unreadable = 0
        for name, data in files.items():
            try:
                assert (mounted.point / name).read_bytes() == data
            except OSError as exc:
                assert exc.errno == errno.EIO and name.startswith("before")
                unreadable += 1
        assert copies == "1" or not unreadable
        if copies == "2":
            assert "fewer copies" in reasons_of(mounted)
        attach_disk(tmp_path / lost)
        wait_for(lambda: "a disk is missing" not in reasons_of(mounted), "nobody noticed that it is back")
        assert {path.name: path.read_bytes() for path in mounted.point.iterdir()} == files
        mounted.kill()
        mounted.mount()
        assert tree(mounted) == files
        put(mounted.point / "later", b"and it goes on")
        mounted.umount()
        assert mounted.fsck("--data") == []


def test_a_disk_that_turns_read_only_leaves_new_data_to_the_others(tmp_path: Path) -> None:
    with two_disks(tmp_path) as (mounted, _one, other):
        for number in range(8):
            put(mounted.point / f"before{number}", NOISE[number:])
        mounted.seal()
        turn_read_only(other)
        for number in range(8):
            put(mounted.point / f"after{number}", NOISE[number:][::-1])
            mounted.seal()
        status = mounted.status()
        assert status["hot_bytes"] == 0
        assert "a disk takes no new data" in status["reasons"][0] and "Read-only" in status["reasons"][0]
        assert len(tree(mounted)) == 16


def turn_read_only(disk: Path) -> None:
    """The kernel finds an error in an ext4: from then on every write to it is refused."""
    device = subprocess.run(["findmnt", "-no", "SOURCE", str(disk)], check=True, capture_output=True, text=True).stdout
    Path(f"/sys/fs/ext4/{os.path.basename(device.strip())}/trigger_fs_error").write_text("1")
    with pytest.raises(OSError, match="Read-only"):
        (disk / "new").write_text("")


def test_a_disk_that_turns_read_only_under_a_mount(tmp_path: Path) -> None:
    """Reads go on, writes hear of it, status says why; and once the disk is well everything acknowledged is there."""
    with small_disk(tmp_path, size_mib=256) as disk:
        mounted = Mounted(tmp_path)
        mounted.volume = disk / "volume"
        files = {"sealed": NOISE, "hot": NOISE[::-1]}
        try:
            mounted.format()
            mounted.mount()
            put(mounted.point / "sealed", files["sealed"])
            mounted.seal()
            put(mounted.point / "hot", files["hot"])
            (mounted.point / "unsynced").write_bytes(NOISE[1000:])
            turn_read_only(disk)
            for _ in range(3):
                with pytest.raises(OSError) as caught:
                    os.mkdir(mounted.point / "never")
                assert caught.value.errno in (errno.EIO, errno.EROFS)
                assert tree(mounted) == files | {"unsynced": NOISE[1000:]}
            with pytest.raises(OSError) as caught, open(mounted.point / "hot", "r+b") as file:
                os.fsync(file.fileno())
            status = mounted.status()
            assert not status["healthy"] and "journal" in status["volume"]["read_only"], status
            assert tree(mounted) == files | {"unsynced": NOISE[1000:]}
            mounted.run("umount", mounted.point, check=False)
            subprocess.run(["umount", str(disk)], check=True)
            subprocess.run(["e2fsck", "-fy", str(tmp_path / "image")], check=False, capture_output=True)
            attach_disk(tmp_path)
            mounted.mount()
            found = tree(mounted)
            assert found.pop("unsynced", b"") in (b"", NOISE[1000:]) and found == files
            put(mounted.point / "later", b"and it goes on")
            mounted.umount()
            assert mounted.fsck("--data") == []
        finally:
            mounted.clean_up()
