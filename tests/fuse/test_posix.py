"""What ext4 comparisons do not show: handles across remounts, large directories, times, space, users."""

import ctypes
import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mounted import Mounted

pytestmark = [pytest.mark.fuse, pytest.mark.slow]
AT_FDCWD = -100
ENTRIES = int(os.environ.get("RUSTFSFS_ENTRIES", "20000"))
_libc = ctypes.CDLL(None, use_errno=True)


class FileHandle(ctypes.Structure):
    """struct file_handle, open_by_handle_at(2)."""

    _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]


def handle_of(path: Path) -> FileHandle:
    handle, mount_id = FileHandle(size=128), ctypes.c_int()
    if _libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount_id), 0):
        raise OSError(ctypes.get_errno(), "name_to_handle_at")
    return handle


def open_handle(point: Path, handle: FileHandle, flags: int) -> int:
    mount = os.open(point, os.O_RDONLY)
    try:
        fd = int(_libc.open_by_handle_at(mount, ctypes.byref(handle), flags))
        if fd < 0:
            raise OSError(ctypes.get_errno(), "open_by_handle_at")
        return fd
    finally:
        os.close(mount)


def test_file_handles_stay_valid_over_a_remount_and_a_kill(mounted: Mounted) -> None:
    """What an NFS server keeps: the kernel asks for '.' and '..' of inodes never looked up since the mount."""
    folder = mounted.point / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "f").write_bytes(b"by its handle")
    file, directory = handle_of(folder / "f"), handle_of(folder)
    for end in (mounted.umount, mounted.kill):
        end()
        mounted.mount()
        fd = open_handle(mounted.point, file, os.O_RDONLY)
        assert os.read(fd, 100) == b"by its handle"
        os.close(fd)
        fd = open_handle(mounted.point, directory, os.O_RDONLY | os.O_DIRECTORY)
        assert os.listdir(fd) == ["f"]
        assert os.readlink(f"/proc/self/fd/{fd}").endswith("/a/b")
        os.close(fd)
    os.unlink(folder / "f")
    mounted.remount()
    with pytest.raises(OSError) as caught:
        open_handle(mounted.point, file, os.O_RDONLY)
    assert caught.value.errno == errno.ESTALE


def test_a_large_directory_lists_every_name_once_whatever_comes_and_goes(mounted: Mounted) -> None:
    folder = mounted.point / "many"
    folder.mkdir()
    for number in range(ENTRIES):
        os.close(os.open(folder / f"stays{number}", os.O_CREAT | os.O_WRONLY))
    seen: list[str] = []
    with os.scandir(folder) as listing:
        for count, entry in enumerate(listing):
            seen.append(entry.name)
            if count % 500 == 0:
                (folder / f"comes{count}").write_bytes(b"")
            if count % 500 == 100 and (folder / f"comes{count - 100}").exists():
                (folder / f"comes{count - 100}").unlink()
            if count > 3 * ENTRIES:
                pytest.fail("the listing does not end")
    stayed = [name for name in seen if name.startswith("stays")]
    assert len(stayed) == len(set(stayed)) == ENTRIES
    started = time.perf_counter()
    assert os.path.exists(folder / f"stays{ENTRIES // 2}")
    assert time.perf_counter() - started < 0.05


def test_access_times_follow_relatime(mounted: Mounted) -> None:
    path = mounted.point / "f"
    path.write_bytes(b"data")
    os.utime(path, ns=(10**9, 2 * 10**9))
    mounted.remount()
    path.read_bytes()
    read_at = path.stat().st_atime_ns
    assert read_at > 2 * 10**9, "atime was older than mtime, so a read moves it"
    mounted.remount()
    assert path.stat().st_atime_ns == read_at
    path.read_bytes()
    assert path.stat().st_atime_ns == read_at, "a second read within the day does not"


def test_change_times_never_go_back_even_if_the_clock_does(mounted: Mounted) -> None:
    path = mounted.point / "f"
    path.write_bytes(b"")
    last = 0
    for number in range(50):
        os.utime(path, ns=(number, number))
        assert path.stat().st_ctime_ns > last
        last = path.stat().st_ctime_ns


def test_space_and_blocks_are_honest(mounted: Mounted) -> None:
    space = os.statvfs(mounted.point)
    assert space.f_namemax == 255
    assert 0 < space.f_bavail <= space.f_bfree <= space.f_blocks
    path = mounted.point / "holey"
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
        file.seek(10_000_000)
        file.write(b"y" * 50_000)
    assert path.stat().st_size == 10_050_000
    assert 150_000 <= path.stat().st_blocks * 512 <= 151_000
    assert mounted.status()["logical_bytes"] == 150_000


@pytest.mark.parametrize(
    ("kind", "name"), [(stat.S_IFIFO, "fifo"), (stat.S_IFSOCK, "socket"), (stat.S_IFCHR, "device")]
)
def test_special_files_survive_a_remount(mounted: Mounted, kind: int, name: str) -> None:
    os.mknod(mounted.point / name, kind | 0o640, os.makedev(1, 3))
    mounted.remount()
    found = os.lstat(mounted.point / name)
    assert stat.S_IFMT(found.st_mode) == kind
    if kind == stat.S_IFCHR:
        assert found.st_rdev == os.makedev(1, 3)


def test_writing_past_the_largest_size_is_efbig(mounted: Mounted) -> None:
    fd = os.open(mounted.point / "f", os.O_CREAT | os.O_RDWR)
    with pytest.raises(OSError) as caught:
        os.pwrite(fd, b"x", (1 << 63) - 2)
    assert caught.value.errno in (errno.EFBIG, errno.EINVAL)
    with pytest.raises(OSError) as caught:
        os.ftruncate(fd, (1 << 63) - 1)
    assert caught.value.errno == errno.EFBIG
    os.close(fd)


def test_locks_work_between_processes(mounted: Mounted) -> None:
    path = mounted.point / "lock"
    path.write_bytes(b"")
    script = "import fcntl,sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with open(path) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=False).returncode == 1
    assert subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=False).returncode == 0


def test_default_acls_are_inherited(mounted: Mounted) -> None:
    folder = mounted.point / "shared"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", SET_DEFAULT_ACL, folder], check=True)
    (folder / "f").write_bytes(b"")
    (folder / "d").mkdir()
    assert os.getxattr(folder / "f", "system.posix_acl_access")
    assert os.getxattr(folder / "d", "system.posix_acl_default") == os.getxattr(folder, "system.posix_acl_default")


SET_DEFAULT_ACL = """
import os, struct, sys
entries = [(1, 7, -1), (2, 6, 1001), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xFFFFFFFF) for t, p, i in entries)
os.setxattr(sys.argv[1], "system.posix_acl_default", value)
"""


def test_noxattr_answers_that_there_are_none(mounted: Mounted) -> None:
    mounted.remount("-o", "noxattr")
    (mounted.point / "f").write_bytes(b"works")
    with pytest.raises(OSError) as caught:
        os.setxattr(mounted.point / "f", "user.x", b"y")
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError) as caught:
        os.getxattr(mounted.point / "f", "user.x")
    assert caught.value.errno == errno.EOPNOTSUPP
