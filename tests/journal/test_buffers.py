"""Memory of large records is used again, and none of it twice at once."""

import pytest

from rustfsfs.journal import layout
from rustfsfs.journal.buffers import KEPT_MAX, SIZE, SIZE_MIN, Buffers
from rustfsfs.units import WRITE_SIZE_MAX


@pytest.mark.parametrize("size", [1, SIZE_MIN - 1, SIZE_MIN, SIZE, SIZE + 1])
def test_what_is_taken_has_the_size_asked_for(size: int) -> None:
    assert len(Buffers().take(size)) == size


def test_the_record_of_any_whole_write_fits() -> None:
    assert layout.record_size(1000, WRITE_SIZE_MAX) <= SIZE


def test_what_was_given_back_is_taken_again_and_only_once() -> None:
    buffers = Buffers()
    first = buffers.take(SIZE_MIN)
    buffers.give(first)
    second, third = buffers.take(SIZE), buffers.take(SIZE)
    assert second.obj is first.obj
    assert third.obj is not first.obj


def test_small_memory_is_not_kept() -> None:
    buffers = Buffers()
    small = buffers.take(SIZE_MIN - 1)
    buffers.give(small)
    assert buffers.take(SIZE_MIN).obj is not small.obj


def test_so_much_is_kept_and_no_more() -> None:
    buffers = Buffers()
    for taken in [buffers.take(SIZE) for _ in range(KEPT_MAX + 5)]:
        buffers.give(taken)
    assert len({id(buffers.take(SIZE).obj) for _ in range(KEPT_MAX)}) == KEPT_MAX
    assert len(buffers._free) == 0
