"""Frames: a chunk's bytes, compressed, then sealed, as packs keep them (DESIGN.md §6).

    salt 24 | sealed header 59 | sealed body: stored plain or zstd, and its tag

Every frame has keys of its own, derived from a random 192-bit salt, so its nonces can be zero: no key ever seals two
things. The header's key needs the salt only, so that a pack can be read without any row; the body's needs the chunk id
too, so a frame filed under another name does not open.
"""

import struct
import threading
from enum import IntEnum
from typing import NamedTuple

import zstandard

from rustfsfs.content.aead import NONCE_SIZE, TAG_SIZE, Aead, Buffer
from rustfsfs.content.keys import Keys, derive
from rustfsfs.content.noise import is_noise
from rustfsfs.errors import DamagedData
from rustfsfs.units import MIB, ChunkId

MAGIC = b"rffr\x01"  # frame, format 1
KEY_VERSION = 1
SALT_SIZE = 24  # bytes; 192 random bits never meet twice
PLAIN_SIZE_MAX = 4 * MIB  # bound before anything is allocated
_HEADER = struct.Struct("<32sIIBH")  # chunk id, plain size, stored size (body without tag), codec, key version
HEADER_SIZE = SALT_SIZE + _HEADER.size + TAG_SIZE
OVERHEAD = HEADER_SIZE + TAG_SIZE
NO_NONCE = bytes(NONCE_SIZE)
GAIN = 0.98  # compressed bytes are kept only if they save 2 %


class Codec(IntEnum):
    RAW = 0
    ZSTD = 1


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
    compress = _local.compressor(level).compress
    if is_noise(plain, compress):
        return plain, Codec.RAW
    packed = compress(plain)
    return (packed, Codec.ZSTD) if len(packed) < GAIN * len(plain) else (plain, Codec.RAW)


def open_frame_header(data: Buffer, *, keys: Keys, uuid: bytes) -> FrameHeader:
    """The header at the front of `data` (at least HEADER_SIZE bytes). Raises DamagedData."""
    view = memoryview(data)
    if len(view) < HEADER_SIZE:
        raise DamagedData("a frame ends within its header")
    salt = bytes(view[:SALT_SIZE])
    header = Aead(derive(keys.frame_header, salt)).open(NO_NONCE, view[SALT_SIZE:HEADER_SIZE], MAGIC + uuid)
    found, plain_bytes, body_bytes, codec, version = _HEADER.unpack(header)
    if version != KEY_VERSION or codec not in (Codec.RAW, Codec.ZSTD) or plain_bytes > PLAIN_SIZE_MAX:
        raise DamagedData("a frame's header says what no version of rustfsfs writes")
    return FrameHeader(ChunkId(found), plain_bytes, body_bytes, Codec(codec))


def open_frame(
    frame: Buffer, *, chunk_id: bytes, plain_bytes: int, keys: Keys, uuid: bytes, check_header: bool = True
) -> bytes:
    """The plain bytes of a whole frame. Raises DamagedData on anything else than what was sealed under this name.

    Verified before it is decompressed, and the output is bounded by `plain_bytes`.
    check_header  False: if the sizes say what a sound header must say, it need not be opened (25 us of 140, measured).
                  The body's tag covers every word of it.
    """
    view = memoryview(frame)
    if not check_header and len(view) == OVERHEAD + plain_bytes:
        header = FrameHeader(ChunkId(chunk_id), plain_bytes, plain_bytes, Codec.RAW)  # compressed it would be shorter
    else:
        header = open_frame_header(view, keys=keys, uuid=uuid)
    if header.chunk_id != chunk_id or header.plain_bytes != plain_bytes or header.frame_bytes != len(view):
        raise DamagedData("a frame is not the one that its row names")
    sealed_header = _HEADER.pack(chunk_id, plain_bytes, header.body_bytes, header.codec, KEY_VERSION)
    aead = Aead(derive(keys.content, bytes(view[:SALT_SIZE]), chunk_id))
    body = aead.open(NO_NONCE, view[HEADER_SIZE:], MAGIC + uuid + sealed_header)
    if header.codec is Codec.ZSTD:
        try:
            body = _local.decompressor.decompress(body, max_output_size=plain_bytes)
        except zstandard.ZstdError as exc:
            raise DamagedData("a frame opens but does not decompress") from exc
    if len(body) != plain_bytes:
        raise DamagedData("a frame holds another number of bytes than it says")
    return body
