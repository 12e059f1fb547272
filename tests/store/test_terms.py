"""The object of a term opens as what it is, and says nothing to who has no key."""

import pytest

from rustfsfs.content.keys import derive_keys
from rustfsfs.errors import DamagedData
from rustfsfs.store.terms import (
    LIFE_SIZE,
    SALT_SIZE,
    TERM_SIZE,
    open_term,
    parse_term_key,
    seal_term,
    term_key,
)

UUID = bytes(range(16))
KEYS = derive_keys(b"m" * 32, UUID)
LIFE, SALT = b"l" * LIFE_SIZE, b"s" * SALT_SIZE
SEALED = seal_term(7, LIFE, salt=SALT, keys=KEYS, uuid=UUID)


def test_it_opens() -> None:
    assert open_term(SEALED, number=7, keys=KEYS, uuid=UUID) == LIFE
    assert len(SEALED) == TERM_SIZE and LIFE not in SEALED and UUID not in SEALED


def test_renamed_of_another_volume_or_with_a_bit_flipped_it_does_not() -> None:
    with pytest.raises(DamagedData):
        open_term(SEALED, number=8, keys=KEYS, uuid=UUID)
    with pytest.raises(DamagedData):
        open_term(SEALED, number=7, keys=derive_keys(b"o" * 32, UUID), uuid=UUID)
    with pytest.raises(DamagedData):
        open_term(SEALED, number=7, keys=KEYS, uuid=bytes(16))
    for at in range(TERM_SIZE):
        with pytest.raises(DamagedData):
            open_term(SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :], number=7, keys=KEYS, uuid=UUID)
    with pytest.raises(DamagedData):
        open_term(SEALED[:-1], number=7, keys=KEYS, uuid=UUID)


def test_names_lie_in_the_order_of_their_terms() -> None:
    numbers = [1, 9, 10, 255, 256, 1 << 40]
    assert sorted(map(term_key, numbers)) == [term_key(number) for number in numbers]
    assert [parse_term_key(term_key(number)) for number in numbers] == numbers
    assert [parse_term_key(key) for key in ("meta/terms/1", "meta/header", f"{term_key(1)}0")] == [None] * 3
