"""The one seam to the outside: time, randomness and file I/O; and what the C library is told.

Everything that journal, packs, headers and caches do to a disk goes through `Files`, so that the tests' double
(`tests/crash/disk.py`) can record writes and syncs and produce every state a power cut could leave. SQLite's
own files come through a VFS (sqlite.org/vfs.html): the system's, or the double's.
"""

import errno
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import CDLL, c_char_p, c_int, c_long, c_size_t, c_void_p, create_string_buffer, get_errno, sizeof
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rustfsfs.direct import PastCache
from rustfsfs.units import Nanoseconds

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2  # fallocate(2)
elapsed_s = time.perf_counter  # 0.1 us, where trio.current_time takes 0.6; for what each request needs
WANTED_AT_ONCE = 128 * 1024  # bytes; of more the kernel reads only the beginning (its read-ahead, by default)
CACHED_SIZE_MIN = 1 << 20  # bytes kept for what is read from the page cache: most chunks
M_ARENA_MAX = -8  # mallopt(3); glibc's malloc.h


class Space(NamedTuple):
    """Of the file system a path lies on; bytes. `free_bytes` leaves out what the system reserves."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int
    read_only: bool
    reserved_bytes: int = 0  # of total_bytes: what only the system may use

    @property
    def usable_bytes(self) -> int:
        return self.total_bytes - self.reserved_bytes

    @property
    def used_bytes(self) -> int:
        """With `free_bytes` it makes `usable_bytes`, as df counts."""
        return self.usable_bytes - self.free_bytes


class Files(Protocol):
    """File I/O as the rest sees it: descriptors are small integers, errors are OSError.

    Durable only after `sync` (contents, size) or `sync_dir` (names). Nothing else may be assumed.
    """

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        """A new file, 0600, open for reading and writing; its blocks allocated, read as zeros.

        Raises FileExistsError, OSError(ENOSPC): then no file is left.
        """
        ...

    def open(self, path: str, *, write: bool = False) -> int: ...
    def close(self, fd: int) -> None: ...
    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Bytes written; fewer than asked for means trouble (a full disk). Raises OSError."""
        ...

    def pwrite_much(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        """As `pwrite`, of the parts one behind the other; past the page cache if it is much and the disk can.

        Nobody else uses this descriptor meanwhile.
        """
        ...

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """At most `size` bytes; fewer only at the end of the file."""
        ...

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | memoryview | None:
        """`size` bytes if all are in the page cache, else None: never waits for a disk (RWF_NOWAIT).

        For one thread, and good until its next call: memory that is used again is neither found nor zeroed.
        """
        ...

    def will_need(self, fd: int, offset: int, size_bytes: int) -> None:
        """These bytes are read soon: have the disk begin. No promise, no waiting for it, and no error."""
        ...

    def sync(self, fd: int) -> None:
        """fdatasync(2). After an error never call it again for this file and call it good (I10)."""
        ...

    def sync_dir(self, path: str) -> None: ...
    def truncate(self, fd: int, size_bytes: int) -> None: ...
    def size(self, path: str) -> int: ...
    def exists(self, path: str) -> bool: ...
    def names(self, path: str) -> list[str]:
        """Sorted names in a directory."""
        ...

    def mkdir(self, path: str) -> None:
        """0700; fine if it exists."""
        ...

    def rename(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None:
        """Fine if it is gone already."""
        ...

    def punch(self, fd: int, offset: int, size_bytes: int) -> None: ...
    def forget_pages(self, fd: int) -> None:
        """Drop clean pages, so that the next read shows what the disk holds."""
        ...

    def missing_pages(self, path: str) -> int:
        """How many pages of a file are not in the page cache. Blocking, 10 to 15 ms for a GiB. Raises OSError."""
        ...

    def want_pages(self, path: str) -> None:
        """Have the kernel read what is missing of a file; it does not wait for all of it."""
        ...

    def space(self, path: str) -> Space: ...


class RealFiles:
    """`Files` on the running system."""

    def __init__(self) -> None:
        self._past_cache = PastCache()
        self._cached = memoryview(bytearray())  # what `pread_cached` gave last

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if allocate_bytes:
                _allocate(fd, allocate_bytes)
        except BaseException:
            os.close(fd)
            os.unlink(path)
            raise
        return fd

    def open(self, path: str, *, write: bool = False) -> int:
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def pwrite_much(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        return self._past_cache.pwrite(fd, parts, offset)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]  # a short read before the end is legal on some file systems
        while (done := sum(map(len, parts))) < size and (more := os.pread(fd, size - done, offset + done)):
            parts.append(more)
        return b"".join(parts)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | memoryview | None:
        if len(self._cached) < size:
            self._cached = memoryview(bytearray(max(size, CACHED_SIZE_MIN)))
        buffer = self._cached[:size]
        try:
            done = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as exc:
            if exc.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                return None
            raise
        return buffer if done == size else None

    def will_need(self, fd: int, offset: int, size_bytes: int) -> None:
        try:
            os.posix_fadvise(fd, offset, size_bytes, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def names(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def mkdir(self, path: str) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def punch(self, fd: int, offset: int, size_bytes: int) -> None:
        if _libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size_bytes):
            raise OSError(get_errno(), os.strerror(get_errno()))

    def forget_pages(self, fd: int) -> None:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def missing_pages(self, path: str) -> int:
        with opened(self, path) as fd:
            return _missing_pages(fd, os.fstat(fd).st_size)

    def want_pages(self, path: str) -> None:
        with opened(self, path) as fd:
            for offset in range(0, os.fstat(fd).st_size, WANTED_AT_ONCE):
                os.posix_fadvise(fd, offset, WANTED_AT_ONCE, os.POSIX_FADV_WILLNEED)

    def space(self, path: str) -> Space:
        stat = os.statvfs(path)
        return Space(
            total_bytes=stat.f_blocks * stat.f_frsize,
            free_bytes=stat.f_bavail * stat.f_frsize,
            total_inodes=stat.f_files,
            free_inodes=stat.f_ffree,
            read_only=bool(stat.f_flag & os.ST_RDONLY),
            reserved_bytes=(stat.f_bfree - stat.f_bavail) * stat.f_frsize,
        )


_libc = CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [c_int, c_int, c_long, c_long]
_libc.mmap.restype = c_void_p
_libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_long]
_libc.munmap.argtypes = [c_void_p, c_size_t]
_libc.mincore.argtypes = [c_void_p, c_size_t, c_char_p]
MAP_FAILED = (1 << 8 * sizeof(c_void_p)) - 1


def _missing_pages(fd: int, size_bytes: int) -> int:
    """mincore(2) of a mapping that nobody reads through: such a read would meet a failing disk as SIGBUS."""
    if not size_bytes:
        return 0
    address = _libc.mmap(None, size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == MAP_FAILED:
        raise OSError(get_errno(), os.strerror(get_errno()))
    try:
        pages = create_string_buffer(-(-size_bytes // mmap.PAGESIZE))
        if _libc.mincore(address, size_bytes, pages):
            raise OSError(get_errno(), os.strerror(get_errno()))
        return len(pages) - pages.raw.count(b"\1")
    finally:
        _libc.munmap(address, size_bytes)


def _allocate(fd: int, size_bytes: int) -> None:
    """fallocate(2), and nothing else: glibc's posix_fallocate writes zeros where that is missing, slowly."""
    if _libc.fallocate(fd, 0, 0, size_bytes):
        number = get_errno()
        if number != errno.EOPNOTSUPP:
            raise OSError(number, os.strerror(number))
        os.ftruncate(fd, size_bytes)


def share_one_heap() -> None:
    """All threads of this process allocate from one heap. To be called before there are any; no error without glibc.

    Left alone, glibc gives the threads up to eight heaps a core, and what is free in one is of no use to the others:
    buffers that pass between the loop and its workers left 250 MiB free in them, beside 30 in use (DESIGN.md §14).
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a Volume may know of the outside."""

    files: Files
    now_ns: Callable[[], Nanoseconds]  # wall clock; durations are trio's business
    random_bytes: Callable[[int], bytes]  # from the kernel
    sqlite_vfs: str | None = None  # SQLite's name of the VFS for the database; None: the system's


def real_world() -> World:
    return World(
        files=RealFiles(),
        now_ns=lambda: Nanoseconds(time.time_ns()),
        random_bytes=os.urandom,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What worker threads that wait for a network need of time and chance; their tests own all three."""

    clock_s: Callable[[], float]  # never goes back; its zero means nothing
    sleep: Callable[[float], None]  # seconds; blocks the thread
    jitter: Callable[[], float]  # evenly from 0 up to 1


def real_timing() -> Timing:
    return Timing(
        clock_s=time.monotonic,
        sleep=time.sleep,
        jitter=lambda: int.from_bytes(os.urandom(4)) / (1 << 32),
    )


@contextmanager
def opened(files: Files, path: str, *, write: bool = False) -> Iterator[int]:
    """A descriptor for the length of a `with` block."""
    fd = files.open(path, write=write)
    try:
        yield fd
    finally:
        files.close(fd)


def publish(files: Files, path: str, data: bytes) -> None:
    """Put all of `data` at `path`, or leave what was there. Durable on return."""
    temporary = path + ".new"
    files.unlink(temporary)
    fd = files.create(temporary)
    try:
        if files.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        files.sync(fd)
    finally:
        files.close(fd)
    files.rename(temporary, path)
    files.sync_dir(os.path.dirname(path))
