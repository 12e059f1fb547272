"""Writing past the page cache (O_DIRECT, open(2)), for much that nobody reads soon: `Files.pwrite_much`.

The kernel makes no copy of it, and the sync behind it finds the bytes on the disk. What lies before the first and
behind the last block boundary goes through the page cache, so no block is rewritten but as with any append.
"""

import errno
import fcntl
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence

from rustfsfs.units import MIB

BLOCK = 4096  # of offset, size and memory: disks ask for 512 or 4096 (statx(2), stx_dio_offset_align)
SIZE_MIN = MIB  # less goes through the page cache as a whole
AT_ONCE = 4 * MIB  # of 1 MiB, 10 % more CPU (measured)


class PastCache:
    """The aligned memory that direct writes need; one thread uses it at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room: memoryview | None = None

    def pwrite(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        """As `Files.pwrite_much`. Nobody else uses this descriptor meanwhile."""
        total = sum(map(len, parts))
        if total < SIZE_MIN or not _set_direct(fd, on=True):
            return _pwrite_each(fd, parts, offset)
        with self._lock:
            if self._room is None:
                self._room = memoryview(mmap.mmap(-1, AT_ONCE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            return _pwrite_steps(fd, deque(memoryview(part) for part in parts), offset, total, self._room)


def steps(offset: int, size: int) -> Iterator[tuple[int, bool]]:
    """(size, is it whole blocks?) of each write that `size` bytes at `offset` take."""
    head = min(-offset % BLOCK, size)
    tail = (size - head) % BLOCK
    if head:
        yield head, False
    for at in range(head, size - tail, AT_ONCE):
        yield min(AT_ONCE, size - tail - at), True
    if tail:
        yield tail, False


def _pwrite_steps(fd: int, left: deque[memoryview], offset: int, total: int, room: memoryview) -> int:
    done, can = 0, True
    try:
        for size, is_whole in steps(offset, total):
            _fill(room[:size], left)
            _set_direct(fd, on=can and is_whole)
            try:
                written = os.pwrite(fd, room[:size], offset + done)
            except OSError as exc:
                if exc.errno != errno.EINVAL or not is_whole:
                    raise
                can = False  # this disk wants another alignment, or nothing of it
                _set_direct(fd, on=False)
                written = os.pwrite(fd, room[:size], offset + done)
            done += written
            if written < size:
                break
    finally:
        _set_direct(fd, on=False)
    return done


def _fill(room: memoryview, left: deque[memoryview]) -> None:
    while room:
        part = left.popleft()
        size = min(len(part), len(room))
        room[:size] = part[:size]
        room = room[size:]
        if size < len(part):
            left.appendleft(part[size:])


def _set_direct(fd: int, *, on: bool) -> bool:
    """False if this file cannot."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
    except OSError:
        return False
    return True


def _pwrite_each(fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
    done = 0
    for part in parts:
        written = os.pwrite(fd, part, offset + done)
        done += written
        if written < len(part):
            break
    return done
