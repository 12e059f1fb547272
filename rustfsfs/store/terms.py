"""Terms of the bucket's owner: the names and the bytes of what lies below meta/terms/ (DESIGN.md §17). Pure.

    meta/terms/TTTTTTTTTTTTTTTT   of term T (hex), create-only: magic "rfterm" 0 1, 8 | salt 24 | sealed id of a life

The key needs the salt, and the seal covers volume and term: an object renamed, or of another volume, does not open.
"""

import re

from rustfsfs.content.aead import NONCE_SIZE, TAG_SIZE, Aead
from rustfsfs.content.keys import Keys, derive
from rustfsfs.errors import DamagedData
from rustfsfs.store.cold import METADATA

TERMS = f"{METADATA}terms/"
MAGIC = b"rfterm\x00\x01"
SALT_SIZE = 24
LIFE_SIZE = 16  # bytes of an id: drawn at random, never twice
TERM_SIZE = len(MAGIC) + SALT_SIZE + LIFE_SIZE + TAG_SIZE
_NAME = re.compile(rf"{TERMS}([0-9a-f]{{16}})")


def term_key(number: int) -> str:
    return f"{TERMS}{number:016x}"


def parse_term_key(key: str) -> int | None:
    """None: not the name of a term."""
    match = _NAME.fullmatch(key)
    return None if match is None else int(match[1], 16)


def seal_term(number: int, life: bytes, *, salt: bytes, keys: Keys, uuid: bytes) -> bytes:
    """`salt`: SALT_SIZE random bytes, of this object only."""
    assert len(salt) == SALT_SIZE and len(life) == LIFE_SIZE
    return MAGIC + salt + Aead(_key(keys, salt)).seal(bytes(NONCE_SIZE), life, _aad(uuid, number))


def open_term(data: bytes, *, number: int, keys: Keys, uuid: bytes) -> bytes:
    """The id of the life that took it. Raises DamagedData: it is damaged, or another volume's."""
    if len(data) != TERM_SIZE or data[: len(MAGIC)] != MAGIC:
        raise DamagedData(f"the object of term {number} is damaged")
    start = len(MAGIC) + SALT_SIZE
    return Aead(_key(keys, data[len(MAGIC) : start])).open(bytes(NONCE_SIZE), data[start:], _aad(uuid, number))


def _key(keys: Keys, salt: bytes) -> bytes:
    return derive(keys.database, b"term of the bucket's owner", salt)


def _aad(uuid: bytes, number: int) -> bytes:
    return MAGIC + uuid + number.to_bytes(8, "little")
