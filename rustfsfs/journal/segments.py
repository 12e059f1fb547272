"""Segment files: making them, and reading the records of one from its beginning to its end."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rustfsfs import ops
from rustfsfs.content.aead import TAG_SIZE, Buffer
from rustfsfs.errors import DamagedData
from rustfsfs.journal import layout
from rustfsfs.journal.layout import HEADER_SIZE, PREFIX, Cipher, Header, Prefix, SegmentName
from rustfsfs.units import PIECE_SIZE
from rustfsfs.world import Files

READ_SIZE = 256 * 1024  # bytes read at once while searching records
PAGE_SIZE = 4096  # bytes that are lost at once where a disk cannot be read
AT_SEQ = 12  # of the seq in a prefix
SEARCHED = 100  # more records than a damaged page can have held


@dataclass(slots=True, eq=False)
class SegmentFile:
    """One file of the journal. Only the process that made it ever writes to it."""

    name: SegmentName
    path: str
    fd: int
    cipher: Cipher
    header: Header
    end: int = HEADER_SIZE  # behind the last record
    last_seq: int = 0  # of the last record in it; 0: none yet
    failed: bool = False  # an append or a sync failed: never written or synced again
    written_end: int = 0  # what lies before it was written, if only with zeros; behind it blocks are just allocated


class Record(NamedTuple):
    """A record as read back. `op` is None when a person said to go on without it."""

    address: ops.Address
    op: bytes | None
    watermark: int
    position: int
    data_size: int
    tag: bytes


def make(
    files: Files, folder: str, name: SegmentName, header: Header, *, key: bytes, uuid: bytes, size: int, nonce: bytes
) -> SegmentFile:
    """A preallocated file with its header, durable with its name on return. Raises OSError."""
    path = f"{folder}/{name}"
    fd = files.create(path, allocate_bytes=size)
    try:
        block = layout.encode_header(key, uuid, name, header, nonce)
        if files.pwrite(fd, block, 0) != len(block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        files.sync(fd)
        files.sync_dir(folder)
    except OSError:
        files.close(fd)
        files.unlink(path)
        raise
    return SegmentFile(name, path, fd, Cipher(key, uuid, name), header)


def walk(files: Files, file: SegmentFile, start: int, size: int, *, seq: int = 0) -> Iterator[Record | DamagedData]:
    """Records from `start` on, in order. At damage: one DamagedData, then on behind it if a way is found.

    seq   of the last record known to lie before `start`
    The claimed length of a damaged record leads on if a record is found there; else one of the next records is
    searched by its number. Data is not read; see `first_bad_piece`.
    """
    position = start
    while position + PREFIX.size <= size:
        try:
            found = read_record(files, file, position)
        except DamagedData as damage:
            yield damage
            step = _way_on(files, file, position, seq, size)
            if step is None:
                return
            position = step
            continue
        if found is None:
            return
        yield found
        seq = found.address.seq
        position = behind(found)


def behind(record: Record) -> int:
    """The position where a record ends."""
    op_size = record.address.data_position - layout.data_position(record.position, 0)
    return record.position + layout.record_size(op_size, record.data_size)


def read(files: Files, fd: int, size: int, position: int) -> bytes:
    """As `pread`, but what the disk cannot give reads as 0xff, which opens as nothing: damage, not the end."""
    try:
        return files.pread(fd, size, position)
    except OSError:
        end = position + size
        pages = range(position // PAGE_SIZE * PAGE_SIZE, end, PAGE_SIZE)
        return b"".join(_read_page(files, fd, max(page, position), min(page + PAGE_SIZE, end)) for page in pages)


def _read_page(files: Files, fd: int, start: int, end: int) -> bytes:
    try:
        return files.pread(fd, end - start, start)
    except OSError:
        return b"\xff" * (end - start)


def read_record(files: Files, file: SegmentFile, position: int) -> Record | None:
    """The record at `position`, its op opened; None where records end. Raises DamagedData."""
    head = read(files, file.fd, PREFIX.size + 512, position)
    prefix = layout.parse_prefix(head)
    if prefix is None:
        return None
    end = PREFIX.size + prefix.op_size + TAG_SIZE
    if len(head) < end:
        head = read(files, file.fd, end, position)
    sealed = head[PREFIX.size : end]
    op = layout.open_op(file.cipher, position, head[: PREFIX.size], sealed)
    return _record(file, position, prefix, op, sealed[-TAG_SIZE:])


def _record(file: SegmentFile, position: int, prefix: Prefix, op: bytes, tag: bytes) -> Record:
    address = ops.Address(prefix.seq, file.name.segment, layout.data_position(position, prefix.op_size))
    return Record(address, op, prefix.watermark, position, prefix.data_size, tag)


def _way_on(files: Files, file: SegmentFile, position: int, seq: int, size: int) -> int | None:
    """Where the next good record begins behind damage at `position`, the last good one having had `seq`."""
    try:
        prefix = layout.parse_prefix(read(files, file.fd, PREFIX.size, position))
        if prefix is not None and _opens(files, file, position + prefix.total):
            return position + prefix.total
    except DamagedData:
        pass
    return _search(files, file, position + 1, range(seq + 1, seq + 2 + SEARCHED), size)


def _search(files: Files, file: SegmentFile, start: int, wanted: range, size: int) -> int | None:
    """The first position from `start` on of a good record whose seq is in `wanted`; not beyond a stretch of zeros."""
    patterns = [seq.to_bytes(8, "little") for seq in wanted]
    for offset in range(start, size, READ_SIZE):
        block = read(files, file.fd, READ_SIZE + PREFIX.size, offset)
        if not block.strip(b"\0"):
            return None
        for position in sorted(offset + at - AT_SEQ for pattern in patterns for at in _all(block, pattern)):
            if position >= start and _opens(files, file, position):
                return position
    return None


def _all(block: bytes, pattern: bytes) -> Iterator[int]:
    at = block.find(pattern)
    while at >= 0:
        yield at
        at = block.find(pattern, at + 1)


def first_position(files: Files, file: SegmentFile, size: int) -> int | None:
    """Where the records of a file begin whose header is lost; None if it holds none."""
    for offset in range(HEADER_SIZE, size, READ_SIZE):
        block = read(files, file.fd, READ_SIZE, offset)
        if found := len(block.lstrip(b"\0")):
            last = offset + len(block) - found  # a total length may begin with zeros
            near = range(max(HEADER_SIZE, last - 3), last + 1)
            return next((position for position in near if _opens(files, file, position)), near[0])
    return None


def _opens(files: Files, file: SegmentFile, position: int) -> bool:
    try:
        return read_record(files, file, position) is not None
    except DamagedData:
        return False


def first_bad_piece(files: Files, file: SegmentFile, record: Record) -> int | None:
    """Index of the first piece that does not open, or None."""
    base = record.address.data_position
    for index in range(layout.piece_count(record.data_size)):
        plain_size = layout.piece_size(record.data_size, index)
        position = base + index * layout.SEALED_PIECE_SIZE
        try:
            sealed = read(files, file.fd, plain_size + layout.PIECE_OVERHEAD, position)
            layout.open_piece(file.cipher, position, memoryview(sealed), plain_size)
        except DamagedData:
            return index
    return None


def read_data(cipher: Cipher, data: Buffer, position: int, total: int, skip: int, size: int) -> bytes:
    """Bytes [skip, skip + size) of a record's data, from the sealed pieces that hold them.

    data      the pieces as they lie in the file, from the first one needed on
    position  of the record's first piece;    total  size of the record's whole data
    Raises DamagedData.
    """
    first, last = skip // PIECE_SIZE, (skip + size - 1) // PIECE_SIZE
    view, parts = memoryview(data), []
    for index in range(first, last + 1):
        plain_size = layout.piece_size(total, index)
        at = (index - first) * layout.SEALED_PIECE_SIZE
        sealed = view[at : at + plain_size + layout.PIECE_OVERHEAD]
        if len(sealed) < plain_size + layout.PIECE_OVERHEAD:
            raise DamagedData("a journal segment ends within a piece")
        parts.append(layout.open_piece(cipher, position + index * layout.SEALED_PIECE_SIZE, sealed, plain_size))
    skip -= first * PIECE_SIZE
    if len(parts) == 1:
        return parts[0] if len(parts[0]) == size else parts[0][skip : skip + size]
    parts[0] = parts[0][skip:]
    parts[-1] = parts[-1][: size - sum(map(len, parts[:-1]))]
    return b"".join(parts)


def read_data_into(cipher: Cipher, data: bytes, position: int, total: int, skip: int, out: memoryview) -> None:
    """As `read_data`, `len(out)` bytes into a buffer: a whole piece is opened where it belongs, without a copy."""
    first, end = skip // PIECE_SIZE, skip + len(out)
    view = memoryview(data)
    for index in range(first, (end - 1) // PIECE_SIZE + 1):
        plain_size = layout.piece_size(total, index)
        at = (index - first) * layout.SEALED_PIECE_SIZE
        sealed = view[at : at + plain_size + layout.PIECE_OVERHEAD]
        if len(sealed) < plain_size + layout.PIECE_OVERHEAD:
            raise DamagedData("a journal segment ends within a piece")
        start = index * PIECE_SIZE
        low, high = max(skip, start), min(end, start + plain_size)
        target, place = out[low - skip : high - skip], position + index * layout.SEALED_PIECE_SIZE
        if high - low == plain_size:
            layout.open_piece_into(cipher, place, sealed, target)
        else:
            target[:] = layout.open_piece(cipher, place, sealed, plain_size)[low - start : high - start]


def data_range(base: int, total: int, skip: int, size: int) -> tuple[int, int]:
    """(position, length) in the file of the pieces that hold bytes [skip, skip + size) of a record's data."""
    first, last = skip // PIECE_SIZE, (skip + size - 1) // PIECE_SIZE
    start = base + first * layout.SEALED_PIECE_SIZE
    end = base + last * layout.SEALED_PIECE_SIZE + layout.piece_size(total, last) + layout.PIECE_OVERHEAD
    return start, end - start
