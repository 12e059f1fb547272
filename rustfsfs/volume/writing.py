"""Verbs that change contents: write and resize. The bytes are in the journal when they return."""

import stat

import trio

from rustfsfs import ops
from rustfsfs.content.ranges import zero_runs_removed
from rustfsfs.errors import FileTooLarge, InvalidArgument, IsDirectory
from rustfsfs.meta import extents, inodes
from rustfsfs.meta.apply import EXTENTS_PER_OP
from rustfsfs.meta.inodes import Attributes
from rustfsfs.units import FILE_SIZE_MAX, KIB, PIECE_SIZE, WRITE_SIZE_MAX
from rustfsfs.volume import admission
from rustfsfs.volume.attributes import get
from rustfsfs.volume.caller import Caller, mode_after_change
from rustfsfs.volume.recording import ensure_writable, now, record
from rustfsfs.volume.volume import Volume

MANY_FROM = 4 * KIB  # a smaller write cannot meet enough extents to matter: at most 20 ms
TRIM_COUNT = 250  # extents per op while others wait between: about 2 ms
LAST_WRITES_MAX = 100_000  # forks whose last write is remembered


async def write(volume: Volume, inode: int, offset: int, data: bytes | memoryview) -> int:
    """Put `data` at `offset`; returns its length. Zeros become holes.

    Raises NoSpace, FileTooLarge, NoSuchInode, IsDirectory, ReadOnlyVolume, JournalFailed. Not yet durable.
    """
    size = len(data)
    if admission.must_wait(volume, size):
        await admission.admit(volume, size)
    if volume.gate.shut:
        await volume.gate.opened()
    row = _writable_file(volume, inode)
    if offset + size > FILE_SIZE_MAX:
        raise FileTooLarge("the file would be too large")
    if row.stale_tail and offset + size > row.size_bytes:
        row = await _trimmed(volume, inode)
    view = memoryview(data)
    for start in range(0, size, WRITE_SIZE_MAX):
        _write_once(volume, row, offset + start, view[start : start + WRITE_SIZE_MAX])
    _remember(volume, row.fork)
    volume.barriers.flow()
    return size


def _write_once(volume: Volume, row: Attributes, offset: int, data: memoryview) -> None:
    """One Write op, or several if it meets so many extents that one would hold the others up."""
    size = len(data)
    if size > MANY_FROM and extents.many(volume.metadata, row.fork, offset, offset + size, EXTENTS_PER_OP):
        half = size // 2
        _write_once(volume, row, offset, data[:half])
        _write_once(volume, row, offset + half, data[half:])
        return
    runs = zero_runs_removed(data, offset, grain=PIECE_SIZE)
    kept = [data[skip : skip + length] for skip, length in runs]
    op = ops.Write(inode=row.inode, offset=offset, size_bytes=size, runs=runs, now_ns=now(volume))
    record(volume, op, kept, sum(map(len, kept)))


def _writable_file(volume: Volume, inode: int) -> Attributes:
    ensure_writable(volume)
    row = inodes.get(volume.metadata, inode)
    if not row.is_file:
        raise (IsDirectory if row.is_directory else InvalidArgument)("not a regular file")
    return row


def _remember(volume: Volume, fork: int) -> None:
    """When a file was last written to: the sealer takes quiet ones first."""
    last = volume.activity.last_write_s
    last[fork] = trio.current_time()
    last.move_to_end(fork)
    if len(last) > LAST_WRITES_MAX:
        last.popitem(last=False)


async def resize(volume: Volume, inode: int, size_bytes: int, *, mode: int | None = None) -> Attributes:
    """truncate(2), both ways: the new part is a hole. `mode`: the permission bits that come with it, in the same op.

    Raises FileTooLarge, InvalidArgument, as `write`.
    """
    if volume.gate.shut:
        await volume.gate.opened()
    row = _writable_file(volume, inode)
    if not 0 <= size_bytes <= FILE_SIZE_MAX:
        raise FileTooLarge("the file would be too large")
    if row.stale_tail and size_bytes > row.size_bytes:
        row = await _trimmed(volume, inode)
    if mode is not None:
        mode = stat.S_IFMT(row.mode) | (mode & 0o7777)
    record(volume, ops.Truncate(inode=inode, size_bytes=size_bytes, now_ns=now(volume), mode=mode))
    volume.wishes.reap.set()
    _remember(volume, row.fork)
    return get(volume, inode)


async def empty_at_open(volume: Volume, inode: int, caller: Caller) -> bool:
    """O_TRUNC: takes set-user-ID and set-group-ID off as well, which the kernel leaves to us here. True if it did."""
    row = inodes.get(volume.metadata, inode)
    mode = mode_after_change(row.mode, row.gid, caller)
    await resize(volume, inode, 0, mode=mode)
    return mode != row.mode


async def _trimmed(volume: Volume, inode: int) -> Attributes:
    """Free what a truncation left behind the end of a file, before the file may grow over it."""
    while (row := _writable_file(volume, inode)).stale_tail:
        record(volume, ops.Trim(inode=inode, count=TRIM_COUNT))
        await trio.lowlevel.checkpoint()
        if volume.gate.shut:
            await volume.gate.opened()
    return row
