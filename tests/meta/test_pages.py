"""The sums of pages: what is put is found, block by block, and damage loses one block."""

from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.meta import pages
from rustfsfs.meta.pages import BLOCK_SIZE, SUMS_PER_BLOCK, UNKNOWN, Sums

KEY = bytes(range(32))
NUMBERS = st.integers(1, 3 * SUMS_PER_BLOCK)


@given(st.dictionaries(NUMBERS, st.binary(min_size=8, max_size=8), min_size=1), st.data())
def test_what_was_written_is_read_and_damage_stays_in_its_block(wanted: dict[int, bytes], data: st.DataObject) -> None:
    sums = Sums(KEY)
    for number, one in wanted.items():
        sums.put(number, one)
    blocks = [bytearray(sums.encode(block)) for block in range((max(wanted) - 1) // SUMS_PER_BLOCK + 1)]
    assert sums.changed == set(range(len(blocks))) and all(len(block) == BLOCK_SIZE for block in blocks)
    spoilt = data.draw(st.sampled_from([None, *range(len(blocks))]))
    if spoilt is not None:
        blocks[spoilt][data.draw(st.integers(0, BLOCK_SIZE - 1))] ^= 1
    again = Sums(KEY)
    assert [again.decode(bytes(block)) for block in blocks] == [number != spoilt for number in range(len(blocks))]
    for number, one in wanted.items():
        lost = (number - 1) // SUMS_PER_BLOCK == spoilt
        assert again.get(number) == (UNKNOWN if lost else one)
    assert again.changed == ({spoilt} if spoilt is not None else set())


def test_blocks_do_not_change_places() -> None:
    sums = Sums(KEY)
    sums.put(SUMS_PER_BLOCK + 1, b"12345678")
    first, second = sums.encode(0), sums.encode(1)
    again = Sums(KEY)
    assert [again.decode(second), again.decode(first)] == [False, False]
    assert not Sums(bytes(32)).decode(first), "another volume's"


@given(st.lists(st.sampled_from([bytes(8), b"\1" * 8, b"12345678", b"abcdefgh"]), max_size=20), st.integers(0, 4095))
def test_tails_are_the_sums_of_pages_that_follow_each_other(ends: list[bytes], more: int) -> None:
    """Across blocks, too."""
    data = b"".join(bytes(4088) + end for end in ends) + bytes(more)
    first = SUMS_PER_BLOCK - 5
    sums = Sums(KEY)
    for number, end in enumerate(ends, first):
        sums.put(number, end)
    numbers = range(first, first + len(ends))
    assert pages.tails(data) == sums.known(numbers)
    assert [pages.sum_of(bytes(4088) + end) for end in ends] == [end if any(end) else b"\1" * 8 for end in ends]
    assert Sums(KEY).known(numbers) == [0] * len(ends)


def test_frames_of_an_earlier_generation_end_the_wal() -> None:
    header = bytes(16) + b"saltsalt" + bytes(8)
    salts = pages.wal_salts(header)
    assert salts == b"saltsalt"
    assert pages.wal_page((7).to_bytes(4) + bytes(4) + salts + bytes(8), salts) == 7
    assert pages.wal_page((7).to_bytes(4) + bytes(4) + b"tlastlas" + bytes(8), salts) is None
    assert pages.wal_salts(b"") is None
    assert [pages.frame_offset(index) for index in (0, 1)] == [32, 32 + 4120]
