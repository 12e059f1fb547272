"""Where files are cut: by content, within bounds, the same every time."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rustfsfs.content.chunker import Chunker
from rustfsfs.units import KIB, MIB

NOISE = random.Random(1).randbytes(8 * MIB)


def chunker(seed: int = 12345) -> Chunker:
    return Chunker(64 * KIB, 256 * KIB, MIB, seed)


def chunks(data: bytes, seed: int = 12345) -> list[bytes]:
    found, at = [], 0
    for length in chunker(seed).cut(memoryview(data)):
        found.append(data[at : at + length])
        at += length
    return found


@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, MIB), size=st.integers(0, 4 * MIB))
def test_the_pieces_are_the_whole_and_within_bounds(start: int, size: int) -> None:
    data = NOISE[start : start + size]
    pieces = chunks(data)
    assert b"".join(pieces) == data
    assert all(64 * KIB <= len(piece) <= MIB for piece in pieces[:-1])
    assert chunks(data) == pieces


def test_an_insertion_changes_few_chunks() -> None:
    before, after = set(chunks(NOISE)), set(chunks(b"inserted " * 100 + NOISE))
    assert len(after - before) <= 3


def test_the_mean_chunk_of_noise_is_about_the_size_asked_for() -> None:
    mean = len(NOISE) / len(chunks(NOISE))
    assert 180 * KIB < mean < 350 * KIB


def test_another_seed_cuts_elsewhere() -> None:
    assert set(chunks(NOISE)) & set(chunks(NOISE, seed=99)) == set()
