"""The double leaves what a power cut could: here the corners that no story shows by failing."""

from tests.crash.disk import CrashFiles


def sizes(disk: CrashFiles) -> set[int]:
    return {left.size("/d/f") for left in disk.states(limit=50, seed=1)}


def test_a_truncation_or_an_allocation_that_was_not_synced_may_not_have_happened() -> None:
    disk = CrashFiles()
    disk.mkdir("/d")
    fd = disk.create("/d/f", allocate_bytes=5000)
    disk.sync_dir("/d")
    assert sizes(disk) == {0, 5000}
    disk.sync(fd)
    disk.truncate(fd, 100)
    assert sizes(disk) == {100, 5000}


def test_states_share_what_they_have_in_common_and_no_more() -> None:
    disk = CrashFiles()
    disk.mkdir("/d")
    fd = disk.create("/d/f")
    disk.pwrite(fd, b"old", 0)
    disk.sync(fd)
    disk.sync_dir("/d")
    left, digest = disk.copy(), disk.digest()
    assert left.digest() == digest
    written = left.open("/d/f", write=True)
    left.pwrite(written, b"new", 0)
    left.sync(written)
    assert left.digest() != digest and disk.digest() == digest and disk.pread(fd, 3, 0) == b"old"
