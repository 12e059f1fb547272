"""CRC-64 against the published check value, and against oss2's own."""

import oss2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oss_server.crc64 import PIECE_SIZE, combined, crc64


def test_the_check_value() -> None:
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA  # of CRC-64/XZ


@pytest.mark.parametrize("size_bytes", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1])
def test_in_pieces_it_is_what_oss2_computes_in_one(size_bytes: int) -> None:
    data = bytes(index * 7 & 255 for index in range(size_bytes))
    theirs = oss2.utils.Crc64()
    theirs.update(data)
    assert crc64(data) == theirs.crc


@given(parts=st.lists(st.binary(max_size=50), max_size=4))
def test_the_crc_of_a_whole_comes_from_those_of_its_parts(parts: list[bytes]) -> None:
    assert combined((crc64(part), len(part)) for part in parts) == crc64(b"".join(parts))
