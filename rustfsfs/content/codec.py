"""Frames: a chunk's bytes, compressed, then sealed, as packs keep them (DESIGN.md §6).

    salt 24 | sealed header 59 | sealed body: stored plain, zstd, or zstd in parts, and its tag

    zstd in parts: u32 for each part, its packed size | the packed parts

Parts hold PART_SIZE plain bytes each, the last one the rest, and are compressed by themselves: who reads a little of a
chunk decompresses as much only. A chunk that would be one part has no table.

Every frame has keys of its own, derived from a random 192-bit salt, so its nonces can be zero: no key ever seals two
things. The header's key needs the salt only, so that a pack can be read without any row; the body's needs the chunk id
too, so a frame filed under another name does not open.
"""

import functools
import struct
import threading
from enum import IntEnum
from typing import NamedTuple

import zstandard

from rustfsfs.content.aead import NONCE_SIZE, TAG_SIZE, Aead, Buffer
from rustfsfs.content.keys import Keys, derive
from rustfsfs.content.noise import is_noise
from rustfsfs.errors import DamagedData
from rustfsfs.units import KIB, MIB, ChunkId

MAGIC = b"rffr\x01"  # frame, format 1
KEY_VERSION = 1
SALT_SIZE = 24  # bytes; 192 random bits never meet twice
PLAIN_SIZE_MAX = 4 * MIB  # bound before anything is allocated
_HEADER = struct.Struct("<32sIIBH")  # chunk id, plain size, stored size (body without tag), codec, key version
HEADER_SIZE = SALT_SIZE + _HEADER.size + TAG_SIZE
OVERHEAD = HEADER_SIZE + TAG_SIZE
NO_NONCE = bytes(NONCE_SIZE)
PART_SIZE = 128 * KIB  # plain bytes; 64 KiB: 6 to 7 % more bytes of source code than with 128 (measured)
GAIN = 0.98  # compressed bytes are kept only if they save 2 %


class Codec(IntEnum):
    RAW = 0
    ZSTD = 1
    ZSTD_PARTS = 2


class FrameHeader(NamedTuple):
    chunk_id: ChunkId
    plain_bytes: int
    body_bytes: int  # without its tag
    codec: Codec

    @property
    def frame_bytes(self) -> int:
        return OVERHEAD + self.body_bytes


class _PerThread(threading.local):
    """zstd contexts are large and not for two threads; making one costs 30 us at level 3."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self.compressors:
            self.compressors[level] = zstandard.ZstdCompressor(level=level, write_checksum=False)
        return self.compressors[level]


_local = _PerThread()


def seal_frame(plain: Buffer, *, chunk_id: ChunkId, keys: Keys, uuid: bytes, salt: bytes, level: int) -> bytes:
    """As `seal_frame_into`: the frame itself."""
    out = memoryview(bytearray(OVERHEAD + len(plain)))
    return bytes(out[: seal_frame_into(out, plain, chunk_id=chunk_id, keys=keys, uuid=uuid, salt=salt, level=level)])


def seal_frame_into(
    out: memoryview, plain: Buffer, *, chunk_id: ChunkId, keys: Keys, uuid: bytes, salt: bytes, level: int
) -> int:
    """Compress one chunk, then seal it, at the beginning of a buffer; returns the frame's size.

    out    at least OVERHEAD + len(plain) bytes
    plain  1 .. PLAIN_SIZE_MAX bytes        salt  SALT_SIZE random bytes, never used before
    level  zstd's, 1 .. 19; bytes that do not shrink are kept as they are
    Inverse: `open_frame`.
    """
    size = len(plain)
    assert 1 <= size <= PLAIN_SIZE_MAX, size
    assert len(salt) == SALT_SIZE
    body, codec = _compress(plain, level)
    header = _HEADER.pack(chunk_id, size, len(body), codec, KEY_VERSION)
    end = OVERHEAD + len(body)
    out[:SALT_SIZE] = salt
    Aead(derive(keys.frame_header, salt)).seal_into(NO_NONCE, header, MAGIC + uuid, out[SALT_SIZE:HEADER_SIZE])
    aad = MAGIC + uuid + header
    Aead(derive(keys.content, salt, chunk_id)).seal_into(NO_NONCE, body, aad, out[HEADER_SIZE:end])
    return end


def _compress(plain: Buffer, level: int) -> tuple[Buffer, Codec]:
    view, compress = memoryview(plain), _local.compressor(level).compress
    if is_noise(view, compress):
        return plain, Codec.RAW
    parts = [compress(view[start : start + PART_SIZE]) for start in range(0, len(view), PART_SIZE)]
    sizes = [len(part) for part in parts]
    if len(parts) > 1:
        parts.insert(0, _table(len(parts)).pack(*sizes))
    if sum(map(len, parts)) >= GAIN * len(view):
        return plain, Codec.RAW
    return b"".join(parts), Codec.ZSTD_PARTS if len(parts) > 1 else Codec.ZSTD


@functools.cache
def _table(count: int) -> struct.Struct:
    """Of the packed sizes of `count` parts."""
    return struct.Struct(f"<{count}I")


def open_frame_header(data: Buffer, *, keys: Keys, uuid: bytes) -> FrameHeader:
    """The header at the front of `data` (at least HEADER_SIZE bytes). Raises DamagedData."""
    view = memoryview(data)
    if len(view) < HEADER_SIZE:
        raise DamagedData("a frame ends within its header")
    salt = bytes(view[:SALT_SIZE])
    header = Aead(derive(keys.frame_header, salt)).open(NO_NONCE, view[SALT_SIZE:HEADER_SIZE], MAGIC + uuid)
    found, plain_bytes, body_bytes, codec, version = _HEADER.unpack(header)
    if version != KEY_VERSION or codec not in Codec.__members__.values() or plain_bytes > PLAIN_SIZE_MAX:
        raise DamagedData("a frame's header says what no version of rustfsfs writes")
    return FrameHeader(ChunkId(found), plain_bytes, body_bytes, Codec(codec))


def open_frame(frame: Buffer, *, chunk_id: bytes, plain_bytes: int, keys: Keys, uuid: bytes) -> bytes:
    """The plain bytes of a whole frame. Raises DamagedData on anything else than what was sealed under this name.

    Verified before it is decompressed, and the output is bounded by `plain_bytes`.
    """
    header = open_frame_header(frame, keys=keys, uuid=uuid)
    return _inflated(_open_body(frame, header, chunk_id, plain_bytes, keys, uuid), header.codec, plain_bytes)


def open_part(
    frame: Buffer, number: int | None, *, chunk_id: bytes, plain_bytes: int, keys: Keys, uuid: bytes
) -> bytes:
    """As `open_frame`, for a reader in a hurry: of a frame in parts only that part, of any other all.

    number  of the part, which begins at number * PART_SIZE; None: all of them
    The header is not opened when the sizes say what it must say (10 to 25 us of 140, measured): the body's tag covers
    every word of it.
    """
    if len(frame) == OVERHEAD + plain_bytes:  # compressed it would be shorter
        header = FrameHeader(ChunkId(chunk_id), plain_bytes, plain_bytes, Codec.RAW)
    else:
        header = open_frame_header(frame, keys=keys, uuid=uuid)
    body = _open_body(frame, header, chunk_id, plain_bytes, keys, uuid)
    if number is not None and header.codec is Codec.ZSTD_PARTS:
        return _inflate_part(body, number, plain_bytes)
    return _inflated(body, header.codec, plain_bytes)


def _inflated(body: bytes, codec: Codec, plain_bytes: int) -> bytes:
    match codec:
        case Codec.RAW:
            if len(body) != plain_bytes:
                raise DamagedData("a frame holds another number of bytes than it says")
            return body
        case Codec.ZSTD:
            return _inflate(body, plain_bytes)
        case Codec.ZSTD_PARTS:
            count = -(-plain_bytes // PART_SIZE)
            return b"".join([_inflate_part(body, number, plain_bytes) for number in range(count)])


def _open_body(frame: Buffer, header: FrameHeader, chunk_id: bytes, plain_bytes: int, keys: Keys, uuid: bytes) -> bytes:
    if header.chunk_id != chunk_id or header.plain_bytes != plain_bytes or header.frame_bytes != len(frame):
        raise DamagedData("a frame is not the one that its row names")
    view = memoryview(frame)
    sealed_header = _HEADER.pack(chunk_id, plain_bytes, header.body_bytes, header.codec, KEY_VERSION)
    aead = Aead(derive(keys.content, bytes(view[:SALT_SIZE]), chunk_id))
    return aead.open(NO_NONCE, view[HEADER_SIZE:], MAGIC + uuid + sealed_header)


def _inflate_part(body: bytes, number: int, plain_bytes: int) -> bytes:
    table = _table(-(-plain_bytes // PART_SIZE))
    if len(body) < table.size:
        raise DamagedData("a frame ends within its table of parts")
    sizes = table.unpack_from(body)
    if table.size + sum(sizes) != len(body):
        raise DamagedData("a frame's table of parts does not fit it")
    start = table.size + sum(sizes[:number])
    packed = memoryview(body)[start : start + sizes[number]]
    return _inflate(packed, min(PART_SIZE, plain_bytes - number * PART_SIZE))


def _inflate(packed: Buffer, plain_bytes: int) -> bytes:
    """Exactly `plain_bytes`. Raises DamagedData."""
    try:
        plain = _local.decompressor.decompress(packed, max_output_size=plain_bytes)
    except zstandard.ZstdError as exc:
        raise DamagedData("a frame opens but does not decompress") from exc
    if len(plain) != plain_bytes:
        raise DamagedData("a frame holds another number of bytes than it says")
    return plain
