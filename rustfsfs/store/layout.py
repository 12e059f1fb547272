"""The bytes of a pack around its frames (DESIGN.md §6). Pure.

header, 96 bytes: magic 8 | pack u64 | volume uuid 16 | disk uuid 16 | 0... | checksum 16
frames
directory: salt 24 | sealed list of entries
trailer, 64 bytes: magic 8 | directory offset u64 | directory length u64 | 0... | checksum 16
"""

import struct

import msgspec

from rustfsfs.content.aead import NONCE_SIZE, Aead
from rustfsfs.content.keys import checksum, derive
from rustfsfs.errors import DamagedData

HEADER_MAGIC, TRAILER_MAGIC = b"rfpack\x00\x01", b"rfpend\x00\x01"
HEADER_SIZE, TRAILER_SIZE, CHECKSUM_SIZE = 96, 64, 16
DIRECTORY_SALT_SIZE = 24
DIRECTORY_SIZE_MAX = 64 << 20  # bound before anything is allocated
_HEADER = struct.Struct("<8sQ16s16s")
_TRAILER = struct.Struct("<8sQQ")


class DirectoryEntry(msgspec.Struct, frozen=True, array_like=True):
    """One frame of a pack, so that the chunk index can be rebuilt from packs alone."""

    offset: int
    stored_bytes: int
    chunk_id: bytes
    plain_bytes: int


def _closed(body: bytes, size: int) -> bytes:
    body = body.ljust(size - CHECKSUM_SIZE, b"\0")
    return body + checksum(body)


def _opened(data: bytes, size: int, magic: bytes, what: str) -> bytes:
    if len(data) != size or data[:8] != magic or checksum(data[:-CHECKSUM_SIZE]) != data[-CHECKSUM_SIZE:]:
        raise DamagedData(f"the {what} of a pack is damaged")
    return data


def encode_header(pack: int, *, volume_uuid: bytes, disk_uuid: bytes) -> bytes:
    return _closed(_HEADER.pack(HEADER_MAGIC, pack, volume_uuid, disk_uuid), HEADER_SIZE)


def decode_header(data: bytes) -> tuple[int, bytes, bytes]:
    """(pack, volume uuid, disk uuid). Raises DamagedData."""
    _magic, pack, volume_uuid, disk_uuid = _HEADER.unpack_from(_opened(data, HEADER_SIZE, HEADER_MAGIC, "header"))
    return pack, volume_uuid, disk_uuid


def encode_directory(
    entries: list[DirectoryEntry], *, pack: int, offset: int, key: bytes, uuid: bytes, salt: bytes
) -> bytes:
    """Directory and trailer, to stand at `offset`. `salt` never used before: the key is for this directory only."""
    body = msgspec.msgpack.encode(entries)
    sealed = Aead(derive(key, salt)).seal(bytes(NONCE_SIZE), body, _aad(uuid, pack, offset))
    length = DIRECTORY_SALT_SIZE + len(sealed)
    return salt + sealed + _closed(_TRAILER.pack(TRAILER_MAGIC, offset, length), TRAILER_SIZE)


def decode_trailer(data: bytes) -> tuple[int, int]:
    """(offset, length) of the directory. Raises DamagedData."""
    _magic, offset, length = _TRAILER.unpack_from(_opened(data, TRAILER_SIZE, TRAILER_MAGIC, "trailer"))
    if length > DIRECTORY_SIZE_MAX:
        raise DamagedData("the directory of a pack is larger than any rustfsfs writes")
    return offset, length


def decode_directory(data: bytes, *, pack: int, offset: int, key: bytes, uuid: bytes) -> list[DirectoryEntry]:
    """Raises DamagedData."""
    salt, sealed = data[:DIRECTORY_SALT_SIZE], data[DIRECTORY_SALT_SIZE:]
    body = Aead(derive(key, salt)).open(bytes(NONCE_SIZE), sealed, _aad(uuid, pack, offset))
    return msgspec.msgpack.decode(body, type=list[DirectoryEntry])


def _aad(uuid: bytes, pack: int, offset: int) -> bytes:
    return HEADER_MAGIC + uuid + struct.pack("<QQ", pack, offset)
