"""The bytes of the journal, format 1. Pure. Numbers are little-endian.

File name: SEGMENT.INCARNATION.SALT, in hex: 16, 4 and 48 digits. Segment key = derive(journal key, uuid, segment u64,
incarnation u32, salt), so a file has a key of its own, and a file whose header is destroyed still opens.

Header, 4096 bytes:
    0    magic 8 | segment u64 | incarnation u32 | volume uuid 16 | salt 24 | sealed length u32
    64   nonce 12 | sealed msgpack [first_seq, [seq, tag, segment] of the cut, from_position, watermark, epoch], zeros

Record, from 4096 on, one behind the other; a total length of 0 (or the end of the file) ends them:
    0    total length u32 | op length u32 | data length u32 | seq u64 | watermark u64 | nonce 12        (the prefix)
    40   sealed op: op length + 16
    ...  pieces of the data: nonce 12 | sealed: at most 32 KiB + 16

The prefix is authenticated with the op; AAD = "rfjo" | uuid | segment | incarnation | position | prefix. A piece is
opened by its address alone; AAD = "rfjp" | uuid | segment | incarnation | position of the piece | plain length u32.
Nonces are 96 random bits each, never derived from seq, which repeats after a torn tail.
"""

import re
import struct
from typing import NamedTuple

import msgspec

from rustfsfs.content.aead import NONCE_SIZE, TAG_SIZE, Aead, Buffer
from rustfsfs.content.keys import derive
from rustfsfs.errors import DamagedData
from rustfsfs.units import MIB, PIECE_SIZE, WRITE_SIZE_MAX

MAGIC = b"rfjrnl\x00\x01"
HEADER_SIZE = 4096
SALT_SIZE = 24
PREFIX = struct.Struct("<IIIQQ12s")
OP_SIZE_MAX = 4 * MIB
PIECE_OVERHEAD = NONCE_SIZE + TAG_SIZE
SEALED_PIECE_SIZE = PIECE_SIZE + PIECE_OVERHEAD
_HEAD = struct.Struct("<8sQI16s24sI")
_SEALED_AT = 64
_PIECE_AAD = struct.Struct("<QI")
_NAME = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{4})\.([0-9a-f]{48})\Z")


class SegmentName(NamedTuple):
    """What a file name says; sorts in the order in which the files were begun."""

    segment: int
    incarnation: int
    salt: bytes

    def __str__(self) -> str:
        return f"{self.segment:016x}.{self.incarnation:04x}.{self.salt.hex()}"


def parse_name(name: str) -> SegmentName | None:
    """None for a file that is not a segment."""
    found = _NAME.match(name)
    return SegmentName(int(found[1], 16), int(found[2], 16), bytes.fromhex(found[3])) if found else None


class Cut(NamedTuple):
    """A point beyond which nothing counts that was written before: `seq` and `tag` are of the last good record.

    Void are the records later than `seq` in segments below `segment`. Every file of a life names that life's newest
    cut, so that it outlives the file it was made for.
    """

    seq: int
    tag: bytes
    segment: int


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The sealed part of a header."""

    first_seq: int  # of the first record in the file; 0: made before that was known
    cut: Cut | None  # None: the header is lost
    from_position: int  # where this incarnation takes over from the one before
    watermark: int  # durable seq known when it was written
    epoch: int


class Prefix(NamedTuple):
    total: int  # bytes of the whole record
    op_size: int
    data_size: int
    seq: int
    watermark: int
    nonce: bytes


class Cipher:
    """One segment file's key, and the AADs of what lies in it."""

    __slots__ = ("_op_aad", "_piece_aad", "aead")

    def __init__(self, key: bytes, uuid: bytes, name: SegmentName) -> None:
        where = struct.pack("<QI", name.segment, name.incarnation)
        self.aead = Aead(derive(key, uuid, where, name.salt))
        self._op_aad = b"rfjo" + uuid + where
        self._piece_aad = b"rfjp" + uuid + where

    def op_aad(self, position: int, prefix: bytes) -> bytes:
        return self._op_aad + position.to_bytes(8, "little") + prefix

    def piece_aad(self, position: int, plain_size: int) -> bytes:
        return self._piece_aad + _PIECE_AAD.pack(position, plain_size)


def piece_count(data_size: int) -> int:
    return -(-data_size // PIECE_SIZE)


def record_size(op_size: int, data_size: int) -> int:
    """Bytes a record takes in its segment."""
    return data_position(0, op_size) + data_size + piece_count(data_size) * PIECE_OVERHEAD


def data_position(position: int, op_size: int) -> int:
    """Where the first piece of a record at `position` lies."""
    return position + PREFIX.size + op_size + TAG_SIZE


def piece_size(data_size: int, index: int) -> int:
    """Plain bytes of the piece `index` (0-based)."""
    return min(PIECE_SIZE, data_size - index * PIECE_SIZE)


def encode_header(key: bytes, uuid: bytes, name: SegmentName, header: Header, nonce: bytes) -> bytes:
    body = msgspec.msgpack.encode(header)
    head = _HEAD.pack(MAGIC, name.segment, name.incarnation, uuid, name.salt, len(body))
    sealed = Cipher(key, uuid, name).aead.seal(nonce, body, b"rfjh" + head)
    block = (head.ljust(_SEALED_AT, b"\0") + nonce + sealed).ljust(HEADER_SIZE, b"\0")
    assert len(block) == HEADER_SIZE
    return block


def decode_header(block: bytes, key: bytes, uuid: bytes, name: SegmentName) -> Header:
    """Raises DamagedData, also for a header that belongs to another file."""
    if len(block) != HEADER_SIZE:
        raise DamagedData("a journal segment ends within its header")
    head = block[: _HEAD.size]
    magic, segment, incarnation, found, salt, size = _HEAD.unpack(head)
    if magic != MAGIC or found != uuid or SegmentName(segment, incarnation, salt) != name or size > HEADER_SIZE:
        raise DamagedData("the header of a journal segment is damaged")
    nonce = block[_SEALED_AT : _SEALED_AT + NONCE_SIZE]
    sealed = block[_SEALED_AT + NONCE_SIZE : _SEALED_AT + NONCE_SIZE + size + TAG_SIZE]
    body = Cipher(key, uuid, name).aead.open(nonce, sealed, b"rfjh" + head)
    return msgspec.msgpack.decode(body, type=Header)


def seal_record(
    cipher: Cipher, position: int, *, seq: int, watermark: int, op: bytes, data: memoryview, random: bytes
) -> bytearray:
    """A whole record for `position`. `random`: NONCE_SIZE fresh random bytes for the op and for each piece."""
    record = bytearray(record_size(len(op), len(data)))
    seal_record_into(
        memoryview(record), cipher, position, seq=seq, watermark=watermark, op=op, data=data, random=random
    )
    return record


def seal_record_into(
    view: memoryview,
    cipher: Cipher,
    position: int,
    *,
    seq: int,
    watermark: int,
    op: bytes,
    data: memoryview,
    random: bytes,
) -> None:
    """As `seal_record`, into memory of exactly that size; whatever it held is gone."""
    op_size, size = len(op), len(data)
    assert op_size <= OP_SIZE_MAX and size <= WRITE_SIZE_MAX, (op_size, size)
    total = record_size(op_size, size)
    assert len(view) == total, (len(view), total)
    prefix = PREFIX.pack(total, op_size, size, seq, watermark, random[:NONCE_SIZE])
    view[: PREFIX.size] = prefix
    at = data_position(0, op_size)
    cipher.aead.seal_into(random[:NONCE_SIZE], op, cipher.op_aad(position, prefix), view[PREFIX.size : at])
    for index in range(piece_count(size)):
        plain = data[index * PIECE_SIZE : (index + 1) * PIECE_SIZE]
        nonce = random[(index + 1) * NONCE_SIZE : (index + 2) * NONCE_SIZE]
        end = at + len(plain) + PIECE_OVERHEAD
        view[at : at + NONCE_SIZE] = nonce
        aad = cipher.piece_aad(position + at, len(plain))
        cipher.aead.seal_into(nonce, plain, aad, view[at + NONCE_SIZE : end])
        at = end
    assert at == total


def seal_small_record(
    cipher: Cipher, position: int, *, seq: int, watermark: int, op: bytes, data: Buffer, random: bytes
) -> bytes:
    """As `seal_record`, for at most one piece of data: joined from its parts, which takes fewer steps."""
    op_size, size = len(op), len(data)
    assert op_size <= OP_SIZE_MAX and size <= PIECE_SIZE, (op_size, size)
    total = PREFIX.size + op_size + TAG_SIZE + (size + PIECE_OVERHEAD if size else 0)
    nonce = random[:NONCE_SIZE]
    prefix = PREFIX.pack(total, op_size, size, seq, watermark, nonce)
    head = prefix + cipher.aead.seal(nonce, op, cipher.op_aad(position, prefix))
    if not size:
        return head
    nonce = random[NONCE_SIZE:]
    return b"".join((head, nonce, cipher.aead.seal(nonce, data, cipher.piece_aad(position + len(head), size))))


def parse_prefix(data: bytes) -> Prefix | None:
    """None at the end of the records. Raises DamagedData when the lengths cannot be."""
    if len(data) < PREFIX.size or data[:4] == b"\0\0\0\0":
        return None
    prefix = Prefix._make(PREFIX.unpack_from(data))
    if (
        prefix.op_size > OP_SIZE_MAX
        or prefix.data_size > WRITE_SIZE_MAX
        or prefix.total != record_size(prefix.op_size, prefix.data_size)
    ):
        raise DamagedData("the lengths of a journal record cannot be")
    return prefix


def open_op(cipher: Cipher, position: int, prefix: bytes, sealed: bytes) -> bytes:
    """The op of a record. Raises DamagedData."""
    return cipher.aead.open(prefix[-NONCE_SIZE:], sealed, cipher.op_aad(position, prefix))


def open_piece_into(cipher: Cipher, position: int, sealed: memoryview, out: memoryview) -> None:
    """As `open_piece`, into a buffer of the plain size; what it holds after an error is void."""
    size = len(out)
    aad = cipher.piece_aad(position, size)
    cipher.aead.open_into(sealed[:NONCE_SIZE], sealed[NONCE_SIZE : size + PIECE_OVERHEAD], aad, out)


def open_piece(cipher: Cipher, position: int, sealed: memoryview, plain_size: int) -> bytes:
    """The plain bytes of the piece at `position`; `sealed` begins with its nonce. Raises DamagedData."""
    aad = cipher.piece_aad(position, plain_size)
    return cipher.aead.open(sealed[:NONCE_SIZE], sealed[NONCE_SIZE : plain_size + PIECE_OVERHEAD], aad)
