"""What is written is the same each time, and is what it says it is."""

import zlib

import pytest

from rustfsfs.bench import material
from rustfsfs.units import KIB, MIB


def test_noise_is_incompressible_and_never_the_same_twice() -> None:
    blocks = [*material.noise_blocks(4 * MIB, seed=1), *material.noise_blocks(2 * MIB, seed=2)]
    assert len(set(blocks)) == 6 and all(len(block) == MIB for block in blocks)
    assert len(zlib.compress(blocks[0][: 64 * KIB], 1)) > 64 * KIB * 0.99
    assert material.noise(100, seed=3) == material.noise(100, seed=3)


@pytest.mark.parametrize(
    "size_bytes", [pytest.param(0, id="none"), pytest.param(777, id="few"), pytest.param(MIB, id="1 MiB")]
)
def test_text_has_the_size_asked_for(size_bytes: int) -> None:
    assert len(material.text(size_bytes, seed=1)) == size_bytes


def test_text_is_compressible_and_hardly_repeats() -> None:
    one, two = material.text_blocks(2 * MIB, seed=1)
    assert 3 < 64 * KIB / len(zlib.compress(one[: 64 * KIB])) < 6
    lines = [{block[at : at + 4096] for at in range(0, MIB, 4096)} for block in (one, two)]
    assert not lines[0] & lines[1]


def test_the_tree_is_the_same_each_time_and_like_a_source_tree() -> None:
    files = material.source_tree(2_000)
    assert files == material.source_tree(2_000)
    assert len({file.path for file in files}) == 2_000
    sizes = sorted(file.size_bytes for file in files)
    assert 3 * KIB < sizes[1_000] < 5 * KIB < sum(sizes) / 2_000 < 12 * KIB
    assert 2 <= max(file.path.count("/") for file in files) <= 5
    assert len({file.path.rpartition("/")[0] for file in files}) > 50


def test_code_compresses_as_code_does_and_hardly_repeats() -> None:
    data = material.code(256 * KIB, seed=1)
    assert len(data) == 256 * KIB and data == material.code(256 * KIB, seed=1)
    assert 3 < len(data) / len(zlib.compress(data)) < 5
    assert 2.5 < 8 * KIB / len(zlib.compress(data[: 8 * KIB])) < 4
    lines, others = (set(code.split(b"\n")) for code in (data, material.code(256 * KIB, seed=2)))
    assert len(lines & others) < len(lines) / 10
    assert material.code(0, seed=1) == b"" and len(material.code(100, seed=1)) == 100
