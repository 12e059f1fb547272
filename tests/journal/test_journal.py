"""A life of the journal: append, sync, read back, prepare, drop; and what it does when its disk fails."""

import errno
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rustfsfs.errors import DamagedData, JournalFailed, NoSpace, StoreUnavailable
from rustfsfs.journal import layout
from rustfsfs.journal.journal import PREPARED
from rustfsfs.journal.layout import HEADER_SIZE
from tests.journal.lives import (
    FOLDER,
    NEARLY_ALL,
    SEGMENT_BYTES,
    append,
    barrier,
    disk,
    drop_dead,
    found_ops,
    path_of,
    scan,
    since,
    spoil_op,
    start,
)


def test_seqs_have_no_gaps_and_addresses_do_not_overlap() -> None:
    journal = start(disk())
    addresses = [append(journal, b"op", b"d" * size) for size in (0, 100, NEARLY_ALL, 1, NEARLY_ALL, NEARLY_ALL)]
    assert [address.seq for address in addresses] == [1, 2, 3, 4, 5, 6]
    assert sorted({address.segment for address in addresses}) == [1, 2, 3]
    for one, other in pairwise(addresses):
        assert one.segment < other.segment or one.data_position < other.data_position


def test_no_nonce_is_used_twice() -> None:
    """Under one key that would open everything. Failures and rewritten files included."""
    files = disk()
    journal = start(files, segment_bytes=1 << 20)
    nonces = []
    for number in range(12):
        address = append(journal, b"op", b"same data" * 20_000 * (number % 3))
        if number == 5:
            files.failing["sync"] = [errno.EIO]
            barrier(journal)
        for file in journal._segments[address.segment][-1:]:
            start_at = address.data_position - layout.data_position(0, 2)
            record = files.pread(file.fd, file.end - start_at, start_at)
            nonces.append((file.path, record[28:40]))
            pieces = range(layout.data_position(0, 2), len(record), layout.SEALED_PIECE_SIZE)
            nonces += [(file.path, record[at : at + 12]) for at in pieces]
    assert len(nonces) == len(set(nonces)) > 12


def test_an_address_given_is_not_reserved() -> None:
    journal = start(disk())
    first = journal.next_address(3, 0)
    again = journal.next_address(5, 10)
    assert (first.seq, again.seq) == (1, 1)
    journal.append(again, b"op 01", [b"0123456789"])
    assert since(journal, 0) == [b"op 01"]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.binary(max_size=3000)), min_size=1, max_size=12))
def test_what_was_appended_is_read_back(written: list[tuple[bytes, bytes]]) -> None:
    journal = start(disk())
    addresses = [append(journal, op, data) for op, data in written]
    for seq in range(len(written) + 1):
        assert since(journal, seq) == [op for op, _data in written[seq:]]
    for address, (_op, data) in zip(addresses, written, strict=True):
        if data:
            middle = len(data) // 2
            where = (address.segment, address.data_position, len(data))
            assert journal.read(*where, 0, len(data)) == data
            assert journal.read_cached(*where, middle, len(data) - middle) == data[middle:]


def test_parts_of_data_are_joined() -> None:
    journal = start(disk())
    address = journal.next_address(2, 6)
    journal.append(address, b"op", [b"ab", memoryview(b"cdef")])
    assert journal.read(address.segment, address.data_position, 6, 1, 4) == b"bcde"


def test_a_segment_that_is_gone_is_damage() -> None:
    journal = start(disk())
    with pytest.raises(DamagedData):
        journal.read(99, 5000, 10, 0, 10)


def test_a_disk_that_cannot_be_read_is_not_damage() -> None:
    files = disk()
    journal = start(files)
    address = append(journal, b"op", b"data")
    journal.close()
    reader = start(files)
    reader._segments[1][0].fd = -1
    with pytest.raises(StoreUnavailable):
        reader.read(1, address.data_position, 4, 0, 4)
    assert reader.read_cached(1, address.data_position, 4, 0, 4) is None


# --- durability ------------------------------------------------------------------------------------------------------


def test_nothing_is_durable_before_a_sync_and_only_what_it_began_with_after() -> None:
    journal = start(disk())
    append(journal, b"one", b"d" * 100)
    job = journal.sync_work()
    append(journal, b"two")
    assert (journal.appended_seq, journal.durable_seq) == (2, 0)
    job.run()
    assert journal.durable_seq == 0
    journal.finish(job)
    assert (journal.durable_seq, journal.unsynced_bytes) == (1, layout.record_size(3, 0))
    barrier(journal)
    assert (journal.durable_seq, journal.unsynced_bytes) == (2, 0)
    assert not journal._held


def test_a_sync_covers_every_segment_written_since() -> None:
    journal = start(disk())
    for _ in range(3):
        append(journal, b"op", b"d" * NEARLY_ALL)
    job = journal.sync_work()
    assert [file.name.segment for file in job.unsynced] == [1, 2, 3]
    job.run()
    journal.finish(job)
    assert journal.sync_work().unsynced == ()


def test_a_record_names_what_was_durable_before_it() -> None:
    journal = start(disk())
    append(journal, b"one")
    append(journal, b"two")
    barrier(journal)
    append(journal, b"three")
    assert [record.watermark for record in journal.records_since(0)] == [0, 0, 2]


# --- a failing disk --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [errno.EIO, errno.ENOSPC, "short"])
def test_a_failed_append_did_not_happen_and_its_file_takes_nothing_more(planned: int | str) -> None:
    files = disk()
    journal = start(files)
    journal.prepare()
    append(journal, b"one")
    files.failing["pwrite"] = [planned]
    with pytest.raises(JournalFailed):
        append(journal, b"lost")
    assert journal.appended_seq == 1
    assert since(journal, 0) == [b"one"]
    address = append(journal, b"two")
    assert (address.seq, address.segment) == (2, 4), "prepared ones do not name the cut"
    assert since(journal, 0) == [b"one", b"two"]
    barrier(journal)
    assert found_ops(scan(files)) == [b"one", b"two"]


@pytest.mark.parametrize("rolled", [False, True], ids=["the current file", "an earlier file"])
def test_after_a_failed_sync_held_bytes_are_written_to_another_file(rolled: bool) -> None:
    files = disk()
    journal = start(files)
    append(journal, b"durable", b"a" * 50)
    barrier(journal)
    held = append(journal, b"held", b"h" * 900)
    if rolled:
        append(journal, b"next", b"n" * NEARLY_ALL)
    job = journal.sync_work()
    files.failing["sync"] = [errno.EIO]
    job.run()
    between = append(journal, b"between", b"b" * 70)
    journal.finish(job)
    last = append(journal, b"last", b"l" * 30)
    assert journal.durable_seq == held.seq + rolled
    for address, byte, size in ((held, b"h", 900), (between, b"b", 70), (last, b"l", 30)):
        assert journal.read(address.segment, address.data_position, size, 0, size) == byte * size
    want = [b"durable", b"held", *([b"next"] if rolled else []), b"between", b"last"]
    assert since(journal, 0) == want
    barrier(journal)
    for state in files.states(limit=50, seed=0):
        found = scan(state, watermark=journal.durable_seq)
        assert found_ops(found) == want
        second = start(state, found)
        assert second.read(held.segment, held.data_position, 900, 0, 900) == b"h" * 900
        assert since(second, 0) == want


def test_a_failed_file_is_never_synced_again() -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    files.failing["sync"] = [errno.EIO]
    barrier(journal)
    append(journal, b"two")
    failed, anew = journal._segments[1]
    assert (failed.failed, anew.failed) == (True, False)
    assert journal.sync_work().unsynced == (anew,)


def test_after_a_failed_append_and_a_failed_sync_the_next_segment_names_the_cut() -> None:
    """The failed record may be there whole: no later incarnation must take its place without a cut."""
    files = disk()
    journal = start(files)
    append(journal, b"one")
    files.failing["pwrite"] = [errno.EIO]
    with pytest.raises(JournalFailed):
        append(journal, b"lost")
    files.failing["sync"] = [errno.EIO]
    barrier(journal)
    assert append(journal, b"two").segment == 2
    assert journal._segments[2][0].header.cut is not None
    assert journal._segments[2][0].header.cut.seq == 1
    assert found_ops(scan(files)) == [b"one", b"two"]


def test_zeros_are_written_ahead_of_records_and_never_over_one() -> None:
    files = disk()
    journal = start(files, segment_bytes=1 << 20)
    addresses = []
    for _ in range(40):
        addresses.append(append(journal, b"op", b"d" * 5000))
        journal.write_ahead()
    for address in addresses:
        assert journal.read(address.segment, address.data_position, 5000, 0, 5000) == b"d" * 5000
    barrier(journal)
    assert found_ops(scan(files)) == [b"op"] * 40


def test_zeros_are_written_once_and_not_beyond_the_segment() -> None:
    files = disk()
    journal = start(files)
    size, before = files.size(path_of(files, 1)), files.actions
    journal.write_ahead()
    assert files.actions == before + 1
    journal.write_ahead()
    append(journal, b"op")
    journal.write_ahead()  # there are enough of them
    assert files.actions == before + 2
    append(journal, b"op", b"d" * NEARLY_ALL)
    append(journal, b"op", b"d" * (4096 - NEARLY_ALL - 400))
    journal.write_ahead()
    assert files.size(path_of(files, 1)) == size == SEGMENT_BYTES


@pytest.mark.parametrize("planned", [errno.EIO, "short"])
def test_zeros_that_cannot_be_written_are_no_failure(planned: int | str) -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    files.failing["pwrite"] = [planned]
    journal.write_ahead()
    append(journal, b"two")
    barrier(journal)
    assert found_ops(scan(files)) == [b"one", b"two"]


def test_a_file_that_failed_gets_no_zeros() -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    files.failing["pwrite"] = [errno.EIO]
    files.failing["create"] = [errno.ENOSPC]
    with pytest.raises(JournalFailed):
        append(journal, b"two")
    before = files.actions
    journal.write_ahead()
    assert files.actions == before


def test_what_came_after_a_sync_began_is_held_until_the_next() -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    job = journal.sync_work()
    job.run()
    append(journal, b"two")
    journal.finish(job)
    append(journal, b"three")
    files.failing["sync"] = [errno.EIO]
    barrier(journal)
    for state in files.states(limit=50, seed=0):
        assert found_ops(scan(state, watermark=3)) == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"sync": [errno.EIO, errno.EIO]}, id="the new file's header cannot be synced"),
        pytest.param({"sync": [errno.EIO, None, errno.EIO]}, id="the new file cannot be synced"),
        pytest.param({"sync": [errno.EIO], "create": [errno.ENOSPC]}, id="no room for a new file"),
        pytest.param({"sync": [errno.EIO], "pwrite": [None, "short"]}, id="the new file takes half"),
    ],
)
def test_a_second_failure_is_final(second: dict[str, list[int | str | None]]) -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    files.failing.update(second)
    with pytest.raises(JournalFailed):
        barrier(journal)
    files.failing.clear()
    assert journal.durable_seq == 0
    with pytest.raises(JournalFailed):
        journal.next_address(1, 0)
    with pytest.raises(JournalFailed):
        barrier(journal)
    assert journal.durable_seq == 0


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, NoSpace), (errno.EIO, JournalFailed)])
def test_a_segment_that_cannot_be_made_says_why_and_its_number_is_not_used_again(
    number: int, said: type[Exception]
) -> None:
    """What is left of it may come back after a crash, and must not stand for another file."""
    files = disk()
    journal = start(files)
    append(journal, b"one", b"d" * NEARLY_ALL)
    files.failing["sync_dir"] = [number]
    with pytest.raises(said):
        journal.next_address(1, NEARLY_ALL)
    assert append(journal, b"two", b"d" * NEARLY_ALL).segment == 3


# --- prepare and drop ------------------------------------------------------------------------------------------------


def test_prepared_segments_make_rolling_cost_nothing() -> None:
    files = disk()
    journal = start(files)
    journal.prepare()
    assert len(files.names(FOLDER)) == 1 + PREPARED
    before = files.actions
    for _ in range(1 + PREPARED):
        append(journal, b"op", b"d" * NEARLY_ALL)
    assert files.actions == before + 1 + PREPARED, "one pwrite each"
    assert journal.segments == [1, 2, 3]
    journal.prepare()
    assert len(files.names(FOLDER)) == 1 + 2 * PREPARED
    assert journal.used_bytes == 3 * SEGMENT_BYTES


def test_closing_takes_prepared_segments_away() -> None:
    files = disk()
    journal = start(files)
    journal.prepare()
    journal.close()
    assert files.names(FOLDER) == [path_of(files, 1).removeprefix(f"{FOLDER}/")]
    assert not files._fds


def test_only_what_nothing_needs_is_dropped() -> None:
    files = disk()
    journal = start(files)
    for _ in range(4):
        append(journal, b"op", b"d" * NEARLY_ALL)
    assert journal.droppable(4, set()) == [], "nothing of it is synced"
    barrier(journal)
    assert journal.droppable(0, set()) == []
    assert journal.droppable(2, set()) == [1, 2]
    assert journal.droppable(4, set()) == [1, 2, 3], "the current one stays"
    assert journal.droppable(4, {2}) == [1, 3]
    with journal.pinned({1}), journal.pinned({1, 3}):
        assert journal.droppable(4, set()) == [2]
    assert journal.droppable(4, set()) == [1, 2, 3]
    drop_dead(journal, 4, {2})
    assert journal.segments == [2, 4]
    assert len(files.names(FOLDER)) == 2


def test_both_incarnations_of_a_segment_are_dropped_together() -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    files.failing["sync"] = [errno.EIO]
    barrier(journal)
    append(journal, b"two", b"d" * NEARLY_ALL)
    append(journal, b"three", b"d" * NEARLY_ALL)
    barrier(journal)
    assert journal.droppable(1, set()) == []
    drop_dead(journal, 2)
    assert [name[:21] for name in files.names(FOLDER)] == ["0000000000000002.0000"]


# --- records_since ---------------------------------------------------------------------------------------------------


def test_a_missing_record_is_never_passed_over() -> None:
    files = disk()
    journal = start(files)
    addresses = [append(journal, f"op {number}".encode()) for number in range(5)]
    spoil_op(files, addresses[2])
    replay = journal.records_since(0)
    assert [next(replay).op, next(replay).op] == [b"op 0", b"op 1"]
    with pytest.raises(DamagedData):
        next(replay)
    assert since(journal, 3) == [b"op 3", b"op 4"], "damage that nobody needs harms nobody"


def test_nothing_since_the_last_record() -> None:
    journal = start(disk())
    append(journal, b"op")
    assert since(journal, 1) == []


@pytest.mark.parametrize("size", [SEGMENT_BYTES - HEADER_SIZE - layout.record_size(2, 0) - 28])
def test_a_record_may_fill_a_segment_to_the_last_byte(size: int) -> None:
    files = disk()
    journal = start(files)
    append(journal, b"op", b"d" * size)
    assert journal._segments[1][0].end == SEGMENT_BYTES
    append(journal, b"more")
    assert journal.segments == [1, 2]
    assert found_ops(scan(files)) == [b"op", b"more"]
