"""CRC-64: OSS's own, whatever the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.errors import MachineTrouble
from rustfsfs.store.crc64 import HAS_EXTENSION, PIECE_SIZE, crc64, require_extension


def test_the_check_value() -> None:
    """CRC-64/XZ of "123456789", from the catalogue of parametrised CRC algorithms (reveng)."""
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA


@given(data=st.binary(max_size=1000), cut=st.integers(0, 1000))
def test_it_goes_on_where_it_was(data: bytes, cut: int) -> None:
    assert crc64(data[cut:], crc64(data[:cut])) == crc64(memoryview(data))


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE])
def test_pieces_do_not_show(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    half = size // 2
    assert crc64(data[:size]) == crc64(data[half:size], crc64(data[:half]))


def test_without_the_extension_it_says_what_to_do() -> None:
    assert HAS_EXTENSION, "these tests would take long"
    require_extension()
    with pytest.raises(MachineTrouble, match="pip install"):
        require_extension(False)
