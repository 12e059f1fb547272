"""RealFiles and the power-cut double keep one contract: what the tests prove on the one holds on the other."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from rustfsfs.world import Files, RealFiles, opened, publish
from tests.crash.disk import CrashFiles

Place = tuple[Files, str]


def real(tmp_path: Path) -> Place:
    return RealFiles(), str(tmp_path)


def double(tmp_path: Path) -> Place:
    files = CrashFiles()
    files.mkdir("/d")
    return files, "/d"


@pytest.fixture(params=[real, double], ids=["real", "double"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    make: Callable[[Path], Place] = request.param
    return make(tmp_path)


def errno_of(action: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:
        action()
    return caught.value.errno


def test_what_is_written_is_read(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    assert files.pwrite(fd, b"hello world", 0) == 11
    assert files.pwrite(fd, memoryview(b"W"), 6) == 1
    assert files.pwrite(fd, bytearray(b"!"), 11) == 1
    files.sync(fd)
    files.sync_dir(folder)
    assert files.pread(fd, 5, 6) == b"World"
    files.close(fd)
    assert files.size(f"{folder}/f") == 12
    with opened(files, f"{folder}/f") as reading:
        files.forget_pages(reading)
        assert files.pread(reading, 100, 0) == b"hello World!"


@pytest.mark.parametrize(
    ("size", "offset", "want"),
    [
        pytest.param(4, 0, b"0123", id="within"),
        pytest.param(4, 8, b"89", id="over the end"),
        pytest.param(4, 10, b"", id="at the end"),
        pytest.param(4, 99, b"", id="behind the end"),
        pytest.param(0, 0, b"", id="nothing"),
    ],
)
def test_reading(place: Place, size: int, offset: int, want: bytes) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    files.pwrite(fd, b"0123456789", 0)
    assert files.pread(fd, size, offset) == want
    cached = files.pread_cached(fd, size, offset)
    assert cached in ((want, None) if len(want) == size else (None,)), "all of it or None"


def test_what_is_cached_is_good_until_the_next_is_asked_for(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    data = bytes(range(256)) * 8192  # 2 MiB
    files.pwrite(fd, data, 0)
    for size, offset in ((10, 5), (len(data), 0), (7, 0), (1 << 20, 77), (10, 5)):
        assert files.pread_cached(fd, size, offset) in (data[offset : offset + size], None)


def test_what_will_be_needed_may_lie_anywhere(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    files.pwrite(fd, b"0123456789", 0)
    files.will_need(fd, 0, 4)
    files.will_need(fd, 8, 100)
    files.will_need(fd, 1 << 20, 1 << 20)
    assert files.pread(fd, 10, 0) == b"0123456789"


def test_a_hole_reads_as_zeros(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    files.pwrite(fd, b"x", 1000)
    assert files.pread(fd, 2000, 0) == bytes(1000) + b"x"


def test_an_allocated_file_has_its_size_and_reads_as_zeros(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f", allocate_bytes=10_000)
    assert files.size(f"{folder}/f") == 10_000
    assert files.pread(fd, 20_000, 0) == bytes(10_000)


def test_truncating_both_ways(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    files.pwrite(fd, b"0123456789", 0)
    files.truncate(fd, 4)
    assert files.size(f"{folder}/f") == 4
    files.truncate(fd, 6)
    assert files.pread(fd, 100, 0) == b"0123\0\0"


def test_punching_leaves_zeros_and_the_size(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    files.pwrite(fd, b"x" * 12_288, 0)
    files.punch(fd, 4096, 4096)
    assert files.pread(fd, 20_000, 0) == b"x" * 4096 + bytes(4096) + b"x" * 4096
    files.punch(fd, 8192, 1 << 20)
    assert files.pread(fd, 20_000, 0) == b"x" * 4096 + bytes(8192)


def test_names(place: Place) -> None:
    files, folder = place
    assert files.names(folder) == []
    for name in ("b", "a"):
        files.close(files.create(f"{folder}/{name}"))
    files.mkdir(f"{folder}/c")
    files.mkdir(f"{folder}/c")
    files.close(files.create(f"{folder}/c/inside"))
    assert files.names(folder) == ["a", "b", "c"]
    assert files.names(f"{folder}/c") == ["inside"]
    assert [files.exists(f"{folder}/{name}") for name in ("a", "c", "x")] == [True, True, False]
    files.rename(f"{folder}/b", f"{folder}/a")
    assert files.names(folder) == ["a", "c"]
    files.unlink(f"{folder}/a")
    files.unlink(f"{folder}/a")
    assert files.names(folder) == ["c"]


def test_rename_replaces_and_open_files_stay(place: Place) -> None:
    files, folder = place
    publish(files, f"{folder}/old", b"old")
    publish(files, f"{folder}/new", b"new")
    reading = files.open(f"{folder}/old")
    files.rename(f"{folder}/new", f"{folder}/old")
    assert files.pread(reading, 10, 0) == b"old"
    files.unlink(f"{folder}/old")
    assert files.pread(reading, 10, 0) == b"old"


ERRORS: dict[str, tuple[int, Callable[[Files, str], object]]] = {
    "create what is there": (errno.EEXIST, lambda files, d: files.create(f"{d}/f")),
    "create in no folder": (errno.ENOENT, lambda files, d: files.create(f"{d}/no/f")),
    "open nothing": (errno.ENOENT, lambda files, d: files.open(f"{d}/no")),
    "size of nothing": (errno.ENOENT, lambda files, d: files.size(f"{d}/no")),
    "names of nothing": (errno.ENOENT, lambda files, d: files.names(f"{d}/no")),
    "rename nothing": (errno.ENOENT, lambda files, d: files.rename(f"{d}/no", f"{d}/f")),
    "mkdir over a file": (errno.EEXIST, lambda files, d: files.mkdir(f"{d}/f")),
    "sync a folder that is not there": (errno.ENOENT, lambda files, d: files.sync_dir(f"{d}/no")),
    "write to what is open for reading": (errno.EBADF, lambda files, d: files.pwrite(files.open(f"{d}/f"), b"x", 0)),
    "read from what is closed": (errno.EBADF, lambda files, d: files.pread(closed(files, d), 1, 0)),
    "write to what is closed": (errno.EBADF, lambda files, d: files.pwrite(closed(files, d), b"x", 0)),
    "sync what is closed": (errno.EBADF, lambda files, d: files.sync(closed(files, d))),
    "close twice": (errno.EBADF, lambda files, d: files.close(closed(files, d))),
}


def closed(files: Files, folder: str) -> int:
    fd = files.open(f"{folder}/f", write=True)
    files.close(fd)
    return fd


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_the_system(place: Place, name: str) -> None:
    files, folder = place
    publish(files, f"{folder}/f", b"as it was")
    want, action = ERRORS[name]
    assert errno_of(lambda: action(files, folder)) == want
    with opened(files, f"{folder}/f") as fd:
        assert files.pread(fd, 100, 0) == b"as it was"


def test_space_adds_up(place: Place) -> None:
    files, folder = place
    space = files.space(folder)
    assert 0 < space.free_bytes <= space.total_bytes
    assert space.read_only is False


def test_pages_that_are_missing_can_be_wanted(place: Place) -> None:
    files, folder = place
    fd = files.create(f"{folder}/f")
    assert files.missing_pages(f"{folder}/f") == 0
    files.pwrite(fd, bytes(10 * 4096), 0)
    files.sync(fd)
    files.forget_pages(fd)
    assert files.missing_pages(f"{folder}/f") in (0, 10), "a disk's, or nothing but memory"
    files.pread(fd, 1, 0)
    files.want_pages(f"{folder}/f")
    assert files.missing_pages(f"{folder}/f") < 10
