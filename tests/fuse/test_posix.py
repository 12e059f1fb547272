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


@pytest.mark.parametrize("seconds", [-(2**34), 9_223_372_036, 10_413_792_000, 2**40])
def test_times_that_do_not_fit_are_stored_as_near_as_can_be(mounted: Mounted, seconds: int) -> None:
    """64 bits of nanoseconds end in 1678 and in 2262; ext4 ends in 1901 and 2446, and does the same."""
    path = mounted.point / "f"
    path.write_bytes(b"")
    for _ in range(3):
        os.utime(path, (seconds, seconds))
    assert abs(path.stat().st_mtime) >= min(abs(seconds), 9_000_000_000) - 1
    path.write_bytes(b"still writable")


def as_user(script: str, folder: Path, *, uid: int, gid: int) -> None:
    """Run a piece of Python in a folder as somebody else, who need not be let in above it."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=folder, user=uid, group=gid, extra_groups=[], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("before", "after"), [(0o6777, 0o777), (0o4777, 0o777), (0o2767, 0o767)])
def test_emptying_a_file_at_open_takes_set_id_bits_off(mounted: Mounted, before: int, after: int) -> None:
    path = mounted.point / "f"
    path.write_bytes(b"data")
    path.chmod(before)
    mounted.point.chmod(0o755)
    as_user("open('f', 'wb').close()", mounted.point, uid=12345, gid=12345)
    assert (mode_of(path), path.stat().st_size) == (after, 0)
    path.chmod(before)
    open(path, "wb").close()
    assert mode_of(path) == before, "root may"


def test_an_owner_outside_the_group_loses_setgid_with_an_acl(mounted: Mounted) -> None:
    path = mounted.point / "f"
    path.write_bytes(b"")
    os.chown(path, 12345, 54321)
    path.chmod(0o2755)
    entries = [(1, 7, -1), (2, 4, 5), (4, 5, -1), (16, 5, -1), (32, 5, -1)]
    value = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in entries
    )
    setting = f"import os; os.setxattr('f', 'system.posix_acl_access', {value!r})"
    mounted.point.chmod(0o755)
    as_user(setting, mounted.point, uid=12345, gid=12345)
    assert mode_of(path) == 0o755
    path.chmod(0o2755)
    as_user(setting, mounted.point, uid=12345, gid=54321)
    assert mode_of(path) == 0o2755


def test_a_file_in_use_without_a_handle_outlives_its_name(mounted: Mounted) -> None:
    path, other = mounted.point / "f", mounted.point / "g"
    path.write_bytes(b"in use")
    held = os.open(path, os.O_PATH)
    other.write_bytes(b"new")
    os.rename(other, path)
    assert Path(f"/proc/self/fd/{held}").read_bytes() == b"in use"
    assert os.fstat(held).st_nlink == 0
    os.close(held)
    deadline = time.monotonic() + 10
    while mounted.status()["files"] != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mounted.status()["files"] == 1, "and goes once nobody uses it"


def test_unknown_rename_flags_are_refused(mounted: Mounted) -> None:
    (mounted.point / "f").write_bytes(b"")
    whiteout = 4
    old, new = os.fsencode(mounted.point / "f"), os.fsencode(mounted.point / "g")
    assert _libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, whiteout) == -1
    assert ctypes.get_errno() == errno.EINVAL


def test_a_wrong_clock_spoils_no_later_time(mounted: Mounted) -> None:
    """ctime never goes back, for each inode by itself."""
    path, later = mounted.point / "f", mounted.point / "g"
    path.write_bytes(b"")
    future_ns = (int(time.time()) + 10**8) * 10**9
    os.utime(path, ns=(future_ns, future_ns))
    later.write_bytes(b"x")
    assert abs(later.stat().st_mtime - time.time()) < 60


@pytest.mark.parametrize("name", [b"user.", b"trusted.", b"security."])
def test_an_attribute_needs_a_name_behind_its_namespace(mounted: Mounted, name: bytes) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        os.setxattr(mounted.point, name, b"x")


def test_listing_and_reading_a_link_move_access_times(mounted: Mounted) -> None:
    folder, link = mounted.point / "d", mounted.point / "l"
    folder.mkdir()
    link.symlink_to("d")
    for path in (folder, link):
        os.utime(path, ns=(10**9, 2 * 10**9), follow_symlinks=False)
    os.listdir(folder)
    os.readlink(link)
    mounted.remount()
    assert folder.stat().st_atime_ns > 2 * 10**9
    assert link.lstat().st_atime_ns > 2 * 10**9


def test_blocks_are_right_once_a_long_tail_is_trimmed(mounted: Mounted) -> None:
    path = mounted.point / "crumbs"
    with open(path, "wb", buffering=0) as file:
        for number in range(2000):
            os.pwrite(file.fileno(), b"x", number * 2)
        os.ftruncate(file.fileno(), 1)
    deadline = time.monotonic() + 10
    while path.stat().st_blocks > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.stat().st_blocks == 1
