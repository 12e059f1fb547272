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
