"""The journal's bytes: what is sealed opens in its own place only, and lengths are bounded before they are believed."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.errors import DamagedData
from rustfsfs.journal import layout, segments
from rustfsfs.journal.layout import HEADER_SIZE, OP_SIZE_MAX, PREFIX, Cipher, Cut, Header, SegmentName
from rustfsfs.units import PIECE_SIZE, WRITE_SIZE_MAX

KEY, UUID = b"k" * 32, b"u" * 16
NAME = SegmentName(7, 2, b"s" * layout.SALT_SIZE)
HEADER = Header(first_seq=41, cut=Cut(40, b"t" * 16, 7), from_position=4096, watermark=39, epoch=3)
GOLDEN_RECORD = "33ec191436c5a48d069cf8218cd4e137b5286c3ed8f6ba28edebe5e8fa7e3ecb"
GOLDEN_HEADER = "6b3e3bf92470b1aead581bc0d5e9e9c5d188aef0a10fa350cfd8138b9f9d048b"
SIZES = [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE + 5]


def sealed(op: bytes, data: bytes, *, name: SegmentName = NAME, position: int = 5000, seq: int = 9) -> bytes:
    random = bytes(range(12)) * (1 + layout.piece_count(len(data)))
    record = layout.seal_record(
        Cipher(KEY, UUID, name), position, seq=seq, watermark=8, op=op, data=memoryview(data), random=random
    )
    return bytes(record)


def opened(record: bytes, *, name: SegmentName = NAME, position: int = 5000) -> tuple[bytes, bytes]:
    """(op, data). Raises DamagedData."""
    prefix = layout.parse_prefix(record)
    assert prefix is not None
    cipher = Cipher(KEY, UUID, name)
    base = layout.data_position(0, prefix.op_size)
    op = layout.open_op(cipher, position, record[: PREFIX.size], record[PREFIX.size : base])
    size = prefix.data_size
    if not size:
        return op, b""
    return op, segments.read_data(cipher, record[base:], position + base, size, 0, size)


def test_the_bytes_are_those_of_format_1() -> None:
    """A change here is a new format. It is never repaired by changing the numbers."""
    assert str(NAME) == "0000000000000007.0002." + "73" * 24
    assert PREFIX.unpack_from(sealed(b"op", b"data")) == (90, 2, 4, 9, 8, bytes(range(12)))
    assert sha256(sealed(b"op", b"data")).hexdigest() == GOLDEN_RECORD
    assert sha256(layout.encode_header(KEY, UUID, NAME, HEADER, b"n" * 12)).hexdigest() == GOLDEN_HEADER


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0000000000000007.0002." + "73" * 23, id="short salt"),
        pytest.param("0000000000000007.0002." + "73" * 24 + "\n", id="a line feed behind it"),
        pytest.param("000000000000000G.0002." + "73" * 24, id="not hex"),
        pytest.param("000000000000000A.0002." + "73" * 24, id="large letters"),
        pytest.param("lost+found", id="another file"),
    ],
)
def test_a_name_that_is_not_a_segments_is_none(text: str) -> None:
    assert layout.parse_name(text) is None


@given(st.integers(0, 2**64 - 1), st.integers(0, 0xFFFF), st.binary(min_size=24, max_size=24))
def test_a_name_is_read_back(segment: int, incarnation: int, salt: bytes) -> None:
    name = SegmentName(segment, incarnation, salt)
    assert layout.parse_name(str(name)) == name


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 0xFFFF)), unique=True))
def test_names_sort_as_their_numbers(pairs: list[tuple[int, int]]) -> None:
    names = [SegmentName(segment, incarnation, b"s" * 24) for segment, incarnation in pairs]
    assert sorted(map(str, names)) == [str(name) for name in sorted(names)]


@pytest.mark.parametrize("size", SIZES)
def test_a_record_is_as_long_as_reckoned_and_opens(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    record = sealed(b"an op", data)
    assert len(record) == layout.record_size(5, size)
    assert opened(record) == (b"an op", data)


@pytest.mark.parametrize("size", [size for size in SIZES if size <= PIECE_SIZE])
def test_a_small_record_has_the_same_bytes_whichever_way_it_is_made(size: int) -> None:
    data, random = bytes(index % 251 for index in range(size)), bytes(range(12)) + b"n" * 12
    small = layout.seal_small_record(
        Cipher(KEY, UUID, NAME), 77, seq=9, watermark=8, op=b"op", data=data, random=random
    )
    view, cipher = memoryview(data), Cipher(KEY, UUID, NAME)
    assert small == layout.seal_record(cipher, 77, seq=9, watermark=8, op=b"op", data=view, random=random)


@given(data=st.data(), size=st.sampled_from([0, 5, PIECE_SIZE + 9]))
def test_one_flipped_bit_never_opens(data: st.DataObject, size: int) -> None:
    record = bytearray(sealed(b"an op", b"d" * size))
    bit = data.draw(st.integers(0, len(record) * 8 - 1))
    record[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedData):
        opened(bytes(record))


@pytest.mark.parametrize(
    ("name", "position"),
    [
        pytest.param(NAME, 5001, id="another position"),
        pytest.param(NAME._replace(segment=8), 5000, id="another segment"),
        pytest.param(NAME._replace(incarnation=3), 5000, id="another incarnation"),
        pytest.param(NAME._replace(salt=b"x" * 24), 5000, id="another file of the same number"),
    ],
)
def test_a_record_opens_in_its_own_place_only(name: SegmentName, position: int) -> None:
    record = sealed(b"an op", b"data")
    with pytest.raises(DamagedData):
        opened(record, name=name, position=position)
    cipher, base = Cipher(KEY, UUID, name), layout.data_position(0, 5)
    with pytest.raises(DamagedData):
        layout.open_piece(cipher, position + base, memoryview(record)[base:], 4)


def test_pieces_do_not_change_places() -> None:
    record = sealed(b"", b"a" * PIECE_SIZE + b"b" * PIECE_SIZE)
    base, step = layout.data_position(0, 0), layout.SEALED_PIECE_SIZE
    swapped = record[:base] + record[base + step :] + record[base : base + step]
    with pytest.raises(DamagedData):
        opened(swapped)


@pytest.mark.parametrize(
    ("total", "op_size", "data_size"),
    [
        pytest.param(layout.record_size(2, 4) + 1, 2, 4, id="does not add up"),
        pytest.param(layout.record_size(OP_SIZE_MAX + 1, 0), OP_SIZE_MAX + 1, 0, id="an op too long"),
        pytest.param(layout.record_size(0, WRITE_SIZE_MAX + 1), 0, WRITE_SIZE_MAX + 1, id="data too long"),
        pytest.param(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, id="all ones"),
        pytest.param(1, 0, 0, id="shorter than a prefix"),
    ],
)
def test_lengths_that_cannot_be_are_damage(total: int, op_size: int, data_size: int) -> None:
    with pytest.raises(DamagedData):
        layout.parse_prefix(PREFIX.pack(total, op_size, data_size, 1, 0, bytes(12)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="the end of the file"),
        pytest.param(b"\1" * (PREFIX.size - 1), id="less than a prefix before the end of the file"),
        pytest.param(bytes(PREFIX.size), id="zeros"),
        pytest.param(bytes(4) + b"\1" * PREFIX.size, id="a total of 0"),
    ],
)
def test_records_end(data: bytes) -> None:
    assert layout.parse_prefix(data) is None


@pytest.mark.parametrize("header", [HEADER, Header(0, Cut(0, bytes(16), 1), 9000, 0, 0)])
def test_a_header_is_one_page_and_read_back(header: Header) -> None:
    block = layout.encode_header(KEY, UUID, NAME, header, b"n" * 12)
    assert len(block) == HEADER_SIZE
    assert not any(block[512:]), "it fits into one sector, so that it is never torn"
    assert layout.decode_header(block, KEY, UUID, NAME) == header


@given(st.integers(0, 64 + 12 + 30))
def test_a_header_with_a_flipped_bit_is_damaged(at: int) -> None:
    block = bytearray(layout.encode_header(KEY, UUID, NAME, HEADER, b"n" * 12))
    padding = range(layout._HEAD.size, layout._SEALED_AT)
    block[at] ^= 1
    if at in padding:
        assert layout.decode_header(bytes(block), KEY, UUID, NAME) == HEADER
    else:
        with pytest.raises(DamagedData):
            layout.decode_header(bytes(block), KEY, UUID, NAME)


@pytest.mark.parametrize(
    ("key", "uuid", "name"),
    [
        pytest.param(b"x" * 32, UUID, NAME, id="key"),
        pytest.param(KEY, b"x" * 16, NAME, id="volume"),
        pytest.param(KEY, UUID, NAME._replace(segment=8), id="segment"),
        pytest.param(KEY, UUID, NAME._replace(salt=b"x" * 24), id="salt"),
    ],
)
def test_a_header_of_another_is_damage(key: bytes, uuid: bytes, name: SegmentName) -> None:
    block = layout.encode_header(KEY, UUID, NAME, HEADER, b"n" * 12)
    with pytest.raises(DamagedData):
        layout.decode_header(block, key, uuid, name)
    with pytest.raises(DamagedData):
        layout.decode_header(block[:-1], KEY, UUID, NAME)
