"""What is not worth compressing is seen from samples, and what is worth it is not missed."""

import random
import struct
from base64 import b64encode

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rustfsfs.bench import material
from rustfsfs.content.noise import SIZE_MIN, STRIDE, is_noise
from rustfsfs.units import KIB, MIB

SIZE = 256 * KIB
noise = random.Random(1).randbytes(SIZE)
text = b"".join(material.text_blocks(MIB, seed=3))[:SIZE]


def seems_noise(plain: bytes, level: int) -> bool:
    return is_noise(plain, zstandard.ZstdCompressor(level=level).compress)


def floats() -> bytes:
    """Of a measurement: their lower bits are noise."""
    drawn = random.Random(2)
    return b"".join(struct.pack("<d", 20 + drawn.gauss(0, 1)) for _ in range(SIZE // 8))


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        pytest.param(noise, True, id="noise"),
        pytest.param(memoryview(noise)[7:], True, id="a view of it"),
        pytest.param(noise[:SIZE_MIN], True, id="the shortest that is tested"),
        pytest.param(noise[: SIZE_MIN - 1], False, id="too short: compressed to find out"),
        pytest.param(text, False, id="text"),
        pytest.param(bytes(SIZE), False, id="zeros"),
        pytest.param(b64encode(noise), False, id="base64"),
        pytest.param(noise.hex().encode(), False, id="hexadecimal"),
        pytest.param(floats(), False, id="floating-point numbers"),
        pytest.param(b"".join(noise[at : at + 777] + bytes(77) for at in range(0, SIZE, 777)), False, id="padded"),
        pytest.param(noise[: SIZE // 2] + text[: SIZE // 2], False, id="half of it text"),
        pytest.param(noise[:100_001] + noise[:100_001], True, id="noise that comes again: not seen"),
    ],
)
def test_noise_is_told_from_the_rest(plain: bytes, expected: bool) -> None:
    assert seems_noise(plain, 3) is expected


@given(at=st.integers(0, SIZE - 2 * STRIDE), level=st.sampled_from([1, 3, 9, 19]))
@settings(deadline=None, max_examples=50)
def test_two_strides_of_text_are_met_wherever_they_lie(at: int, level: int) -> None:
    plain = noise[:at] + text[: 2 * STRIDE] + noise[at + 2 * STRIDE :]
    assert len(plain) == SIZE
    assert not seems_noise(plain, level)


@given(period=st.sampled_from([512, 1024, 4096, 8192, 16384, 65536]), phase=st.integers(0, 65536))
@settings(deadline=None, max_examples=100)
def test_text_and_noise_in_turn_are_met_whatever_the_period(period: int, phase: int) -> None:
    half = period // 2
    mixed = b"".join(text[at : at + half] + noise[at : at + half] for at in range(0, SIZE - half, half))
    plain = mixed[phase : phase + 3 * SIZE // 2]
    assert not seems_noise(plain, 3)


@given(size=st.integers(1, MIB), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_noise_of_any_size_is_noise(size: int, seed: int) -> None:
    assert seems_noise(random.Random(seed).randbytes(size), 3) is (size >= SIZE_MIN)
