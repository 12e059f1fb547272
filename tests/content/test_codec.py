"""Frames: what goes in comes out, and nothing else ever does."""

import random
import struct

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from rustfsfs.content import codec
from rustfsfs.content.chunkid import chunk_id
from rustfsfs.content.keys import derive, derive_keys
from rustfsfs.errors import DamagedData
from rustfsfs.units import MIB, ChunkId

UUID = b"u" * 16
KEYS = derive_keys(b"m" * 32, UUID)
SALT = bytes(range(24))
plains = st.one_of(st.binary(min_size=1, max_size=3000), st.integers(1, 3000).map(lambda n: b"text " * n))


def sealed(plain: bytes, *, salt: bytes = SALT, level: int = 3) -> tuple[ChunkId, bytes]:
    name = chunk_id(plain, KEYS.chunk_id)
    return name, codec.seal_frame(plain, chunk_id=name, keys=KEYS, uuid=UUID, salt=salt, level=level)


def opened(frame: bytes, name: bytes, size: int) -> bytes:
    return codec.open_frame(frame, chunk_id=name, plain_bytes=size, keys=KEYS, uuid=UUID)


@given(plain=plains, level=st.integers(1, 19))
@settings(deadline=None)
def test_what_is_sealed_opens(plain: bytes, level: int) -> None:
    name, frame = sealed(plain, level=level)
    assert opened(frame, name, len(plain)) == plain
    header = codec.open_frame_header(frame, keys=KEYS, uuid=UUID)
    assert (header.chunk_id, header.plain_bytes, header.frame_bytes) == (name, len(plain), len(frame))


@given(several=st.lists(plains, min_size=1, max_size=5))
@settings(deadline=None)
def test_frames_are_sealed_one_behind_the_other_into_a_buffer(several: list[bytes]) -> None:
    room = sum(codec.OVERHEAD + len(plain) for plain in several)
    buffer = bytearray(room + 7)
    view, frames = memoryview(buffer)[:room], []
    for plain in several:
        name = chunk_id(plain, KEYS.chunk_id)
        size = codec.seal_frame_into(view, plain, chunk_id=name, keys=KEYS, uuid=UUID, salt=SALT, level=3)
        frames.append((view[:size], name))
        view = view[size:]
    for (frame, name), plain in zip(frames, several, strict=True):
        assert codec.open_frame(frame, chunk_id=name, plain_bytes=len(plain), keys=KEYS, uuid=UUID) == plain
    assert buffer[room:] == bytes(7)


@given(plain=st.one_of(st.randoms().map(lambda random: random.randbytes(500)), plains), data=st.data())
@settings(deadline=None)
def test_without_a_look_at_its_header_a_frame_gives_the_plain_bytes_or_nothing(
    plain: bytes, data: st.DataObject
) -> None:
    name, frame = sealed(plain)
    bit = data.draw(st.integers(-1, len(frame) * 8 - 1))
    spoilt = bytearray(frame)
    if bit >= 0:
        spoilt[bit // 8] ^= 1 << bit % 8
    try:
        found = codec.open_part(spoilt, None, chunk_id=name, plain_bytes=len(plain), keys=KEYS, uuid=UUID)
    except DamagedData:
        assert bit >= 0
    else:
        is_in_header = codec.SALT_SIZE * 8 <= bit < codec.HEADER_SIZE * 8
        assert found == plain and (bit < 0 or (is_in_header and len(frame) == codec.OVERHEAD + len(plain)))


@given(plain=plains, data=st.data())
@settings(deadline=None)
def test_one_flipped_bit_never_opens(plain: bytes, data: st.DataObject) -> None:
    name, frame = sealed(plain)
    spoilt = bytearray(frame)
    bit = data.draw(st.integers(0, len(spoilt) * 8 - 1))
    spoilt[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedData):
        opened(bytes(spoilt), name, len(plain))


CODE = b"".join(b"static int f_%d(struct inode *inode, u64 %x)\n" % (n, n * n * 7919) for n in range(12_000))


def forged(plain: bytes, codec_no: int, body: bytes) -> tuple[ChunkId, bytes]:
    """An authentic frame with any body: written from the layout, not with the code under test."""
    name = chunk_id(plain, KEYS.chunk_id)
    header = struct.pack("<32sIIBH", name, len(plain), len(body), codec_no, 1)
    sealed_header = AESGCM(derive(KEYS.frame_header, SALT)).encrypt(bytes(12), header, b"rffr\x01" + UUID)
    key = AESGCM(derive(KEYS.content, SALT, name))
    return name, SALT + sealed_header + key.encrypt(bytes(12), body, b"rffr\x01" + UUID + header)


def in_parts(plain: bytes) -> tuple[list[int], bytes]:
    packed = [zstandard.compress(plain[start : start + 131072], 3) for start in range(0, len(plain), 131072)]
    return [len(part) for part in packed], b"".join(packed)


@pytest.mark.parametrize("size", [1, 131071, 131072, 131073, 262144, 262145, 500_000])
def test_a_part_is_what_the_whole_holds_there(size: int) -> None:
    plain = CODE[:size]
    name, frame = sealed(plain)
    assert opened(frame, name, size) == plain
    is_in_parts = codec.open_frame_header(frame, keys=KEYS, uuid=UUID).codec is codec.Codec.ZSTD_PARTS
    assert is_in_parts == (size > codec.PART_SIZE)
    for number in range(-(-size // codec.PART_SIZE)):
        part = codec.open_part(frame, number, chunk_id=name, plain_bytes=size, keys=KEYS, uuid=UUID)
        assert part == plain[number * codec.PART_SIZE :][: codec.PART_SIZE if is_in_parts else size]
    assert codec.open_part(frame, None, chunk_id=name, plain_bytes=size, keys=KEYS, uuid=UUID) == plain


def test_frames_in_parts_lie_as_the_layout_says() -> None:
    plain = CODE[:300_000]
    sizes, packed = in_parts(plain)
    name, frame = forged(plain, 2, struct.pack("<3I", *sizes) + packed)
    assert opened(frame, name, len(plain)) == plain
    ours = codec.seal_frame(plain, chunk_id=name, keys=KEYS, uuid=UUID, salt=SALT, level=3)
    body = AESGCM(derive(KEYS.content, SALT, name)).decrypt(
        bytes(12), ours[83:], b"rffr\x01" + UUID + struct.pack("<32sIIBH", name, 300_000, len(ours) - 99, 2, 1)
    )
    table, rest = struct.unpack("<3I", body[:12]), body[12:]
    assert sum(table) == len(rest)
    assert zstandard.decompress(rest[table[0] : table[0] + table[1]]) == plain[131072:262144]


def test_large_frames_of_before_there_were_parts_open() -> None:
    plain = CODE[:300_000]
    name, frame = forged(plain, 1, zstandard.compress(plain, 3))
    assert opened(frame, name, len(plain)) == plain
    assert codec.open_part(frame, 1, chunk_id=name, plain_bytes=len(plain), keys=KEYS, uuid=UUID) == plain


@pytest.mark.parametrize("cut", range(13))
def test_an_authentic_frame_that_ends_within_its_table_is_damaged(cut: int) -> None:
    plain = CODE[:300_000]
    sizes, _packed = in_parts(plain)
    name, frame = forged(plain, 2, struct.pack("<3I", *sizes)[:cut])
    for number in (None, 0, 1, 2):
        with pytest.raises(DamagedData):
            codec.open_part(frame, number, chunk_id=name, plain_bytes=len(plain), keys=KEYS, uuid=UUID)


@given(bit=st.integers(0, 95), number=st.sampled_from([None, 0, 1, 2]))
@settings(deadline=None)
def test_an_authentic_frame_whose_table_lies_is_damaged(bit: int, number: int | None) -> None:
    plain = CODE[:300_000]
    sizes, packed = in_parts(plain)
    table = bytearray(struct.pack("<3I", *sizes))
    table[bit // 8] ^= 1 << bit % 8
    name, frame = forged(plain, 2, bytes(table) + packed)
    with pytest.raises(DamagedData):
        codec.open_part(frame, number, chunk_id=name, plain_bytes=len(plain), keys=KEYS, uuid=UUID)


@given(sizes=st.permutations([0, 1, 2]), number=st.sampled_from([None, 0, 1, 2]))
@settings(deadline=None)
def test_parts_of_other_sizes_than_the_chunk_has_are_damage(sizes: list[int], number: int | None) -> None:
    parts = [CODE[:131072], CODE[131072:262144], CODE[262144:300_000]]
    packed = [zstandard.compress(parts[index][:-1], 3) for index in sizes]
    name, frame = forged(CODE[:300_000], 2, struct.pack("<3I", *map(len, packed)) + b"".join(packed))
    with pytest.raises(DamagedData):
        codec.open_part(frame, number, chunk_id=name, plain_bytes=300_000, keys=KEYS, uuid=UUID)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda frame: frame[:-1], id="cut short"),
        pytest.param(lambda frame: frame + b"\0", id="longer"),
        pytest.param(lambda frame: b"", id="gone"),
        pytest.param(lambda frame: frame[: codec.HEADER_SIZE], id="header only"),
        pytest.param(lambda frame: bytes(len(frame)), id="zeros"),
        pytest.param(lambda frame: sealed(b"another chunk")[1], id="another chunk's frame"),
    ],
)
def test_another_frame_never_opens(spoil: object) -> None:
    name, frame = sealed(b"plain bytes " * 50)
    with pytest.raises(DamagedData):
        opened(spoil(frame), name, 600)  # type: ignore[operator]


def test_a_frame_of_another_volume_or_key_never_opens() -> None:
    name, frame = sealed(b"plain")
    other = derive_keys(b"x" * 32, UUID)
    for keys, uuid in ((other, UUID), (KEYS, b"v" * 16)):
        with pytest.raises(DamagedData):
            codec.open_frame(frame, chunk_id=name, plain_bytes=5, keys=keys, uuid=uuid)


def test_text_shrinks_and_noise_costs_the_overhead_only() -> None:
    text, noise = b"the quick brown fox " * 5000, random.Random(1).randbytes(MIB)
    assert len(sealed(text)[1]) < len(text) // 20
    assert len(sealed(noise)[1]) == len(noise) + codec.OVERHEAD


def test_two_salts_give_two_frames_that_share_nothing_but_their_length() -> None:
    first, second = sealed(b"p" * 500)[1], sealed(b"p" * 500, salt=b"s" * 24)[1]
    assert len(first) == len(second)
    assert first[24:] != second[24:]


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_derived_keys_are_equal_only_for_equal_parts(left: list[bytes], right: list[bytes]) -> None:
    assert (derive(b"k" * 32, *left) == derive(b"k" * 32, *right)) == (left == right)


def test_keys_differ_from_each_other_and_do_not_show() -> None:
    values = {getattr(KEYS, name) for name in KEYS.__slots__}
    assert len(values) == len(KEYS.__slots__)
    assert not any(value.hex()[:8] in repr(KEYS) or repr(value) in repr(KEYS) for value in values)
