"""The index of the cache disk: what it says is there is there, its bound holds, a scan does not flush it."""

from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.cache.pieces import BLOCK, GRAIN, Piece, PieceIndex
from rustfsfs.cache.twoqueue import ITEM_OVERHEAD

FRAME = 2 * GRAIN
SIZE = 16 * BLOCK  # of a piece
BOUND = 10 * (SIZE + ITEM_OVERHEAD)
pieces = st.builds(
    lambda pack, first, count: Piece(pack, 1, first * BLOCK, count * BLOCK - 3000),
    st.integers(1, 3),
    st.integers(0, 12),
    st.integers(1, 50),
)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "add", "find", "find", "remove", "remove_pack"]), pieces), max_size=60
)


def allocated(piece: Piece) -> int:
    return -(-piece.size_bytes // BLOCK) * BLOCK


def piece(number: int) -> Piece:
    return Piece(number, 1, 0, SIZE)


def frames(of: Piece) -> list[Piece]:
    return [Piece(of.pack, of.disk, at, FRAME) for at in range(of.offset, of.end, FRAME)]


def scan(index: PieceIndex, count: int) -> None:
    """Many pieces, of each of which every frame is read once."""
    for number in range(1000, 1000 + count):
        assert index.add(piece(number)) is not None
        assert all(index.find(frame) == piece(number) for frame in frames(piece(number)))


@given(steps)
def test_the_files_are_what_the_index_says_and_never_take_more_than_may_be(plan: list[tuple[str, Piece]]) -> None:
    index, files = PieceIndex(BOUND), set[Piece]()
    for step, one in plan:
        if step == "add":
            delete = index.add(one)
            if delete is not None:
                assert files >= {*delete} and one not in files
                files -= {*delete}
                files.add(one)
            else:
                assert index.holds(one) or allocated(one) > BOUND / 4 - ITEM_OVERHEAD
        elif step == "find":
            found = index.find(one)
            assert (found is not None) == any(file.covers(one) for file in files)
            assert found is None or (found in files and found.covers(one))
        elif step == "remove":
            index.remove(one)
            files.discard(one)
        else:
            gone = index.remove_pack(one.pack, one.disk)
            assert {*gone} == {file for file in files if file.pack == one.pack}
            files -= {*gone}
        assert len(index) == len(files)
        assert sum(map(allocated, files)) <= index.bytes <= BOUND


def test_reading_many_small_files_of_many_pieces_once_flushes_nothing_that_is_read_often() -> None:
    index = PieceIndex(BOUND)
    often = [piece(number) for number in range(1, 6)]
    for one in often:
        index.add(one)
        assert index.find(frames(one)[3]) == index.find(frames(one)[3]) == one
    scan(index, 100)
    assert all(index.holds(one) for one in often)


def test_without_a_second_look_at_one_frame_a_piece_goes_with_the_scan() -> None:
    index = PieceIndex(BOUND)
    index.add(piece(1))
    scan(index, 100)
    assert not index.holds(piece(1))


def test_a_longer_piece_takes_the_place_of_those_within_it_and_knows_what_was_asked_for() -> None:
    index = PieceIndex(BOUND)
    short = Piece(1, 1, 4 * BLOCK, 2 * BLOCK)
    index.add(short)
    index.find(frames(short)[1])
    assert index.add(piece(1)) == [short]
    assert index.find(frames(short)[1]) == piece(1), "asked for again: it is protected"
    scan(index, 100)
    assert index.holds(piece(1))


def test_what_is_there_is_not_written_again_and_what_is_too_large_is_not_kept() -> None:
    index = PieceIndex(BOUND)
    assert index.add(piece(1)) == []
    assert index.add(piece(1)) is None and index.add(Piece(1, 1, BLOCK, BLOCK)) is None
    assert index.add(Piece(2, 1, 0, BOUND // 3)) is None
    assert (len(index), index.hits, index.misses) == (1, 0, 0)


def test_packs_of_other_disks_are_other_packs() -> None:
    index = PieceIndex(BOUND)
    index.add(piece(1))
    assert index.find(Piece(1, 2, 0, FRAME)) is None
    assert index.remove_pack(1, 2) == [] and index.remove_pack(1, 1) == [piece(1)]


def test_with_a_lower_bound_the_oldest_go_at_once() -> None:
    index = PieceIndex(BOUND)
    for number in range(5):
        assert index.add(piece(number)) == []
    assert index.resize(3 * (SIZE + ITEM_OVERHEAD)) == [piece(0), piece(1)]
    assert [index.holds(piece(number)) for number in range(5)] == [False, False, True, True, True]
    assert index.bytes <= 3 * (SIZE + ITEM_OVERHEAD)
    assert index.resize(BOUND) == []
    assert index.add(piece(9)) == []
