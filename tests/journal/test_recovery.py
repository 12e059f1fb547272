"""Recovery: what counts, where it ends, what is damaged; and that nothing void ever returns, over many lives."""

import errno

import pytest

from rustfsfs import ops
from rustfsfs.errors import DamagedData, JournalFailed
from rustfsfs.journal import layout, recovery
from rustfsfs.journal.journal import Journal
from rustfsfs.journal.layout import HEADER_SIZE
from rustfsfs.units import PIECE_SIZE
from tests.crash.disk import CrashFiles
from tests.journal.lives import (
    FOLDER,
    KEY,
    NEARLY_ALL,
    UUID,
    append,
    barrier,
    disk,
    drop_dead,
    found_ops,
    path_of,
    scan,
    since,
    spoil,
    spoil_op,
    start,
)


def test_an_empty_folder_is_an_empty_journal() -> None:
    files = disk()
    found = scan(files)
    assert (found.cut_seq, found.blocked_at, found_ops(found), found.damage) == (0, None, [], [])
    assert append(start(files, found), b"op") == ops.Address(1, 1, layout.data_position(HEADER_SIZE, 2))


def test_other_files_in_the_folder_are_left_alone() -> None:
    files = disk()
    files.close(files.create(f"{FOLDER}/lost+found"))
    start(files)
    assert "lost+found" in files.names(FOLDER)


@pytest.mark.parametrize("last_seq", range(6))
def test_only_what_is_behind_the_last_commit_is_replayed(last_seq: int) -> None:
    files = disk()
    journal = start(files)
    for number in range(5):
        append(journal, f"op {number + 1}".encode(), b"d" * (number % 2 * NEARLY_ALL))
    found = scan(files, last_seq=last_seq)
    assert found_ops(found) == [f"op {number + 1}".encode() for number in range(last_seq, 5)]
    second = start(files, found)
    assert (second.appended_seq, second.durable_seq) == (5, 5)
    assert since(second, last_seq) == found_ops(found), "the same, read back after a ROLLBACK"
    assert append(second, b"more").seq == 6


def test_a_last_commit_ahead_of_all_there_is() -> None:
    """The journal was synced and committed, and then lost; or belongs to an older copy."""
    files = disk()
    append(start(files), b"one")
    found = scan(files, last_seq=50, watermark=50)
    assert (found.cut_seq, found.blocked_at, found_ops(found)) == (50, None, [])
    second = start(files, found)
    assert append(second, b"op").seq == 51
    assert since(second, 50) == [b"op"]
    assert found_ops(scan(files, last_seq=50, watermark=50)) == [b"op"]


def test_a_lost_segments_number_is_not_used_for_another() -> None:
    """Else rows that name it would read what happens to lie at the same place now."""
    files = disk()
    found = scan(files, last_seq=50, watermark=50)
    assert append(start(files, found, named={17}), b"op").segment == 18


def test_a_life_never_writes_to_a_file_of_an_earlier_one() -> None:
    files = disk()
    append(start(files), b"one")
    before = files.pread(files.open(path_of(files, 1)), 1 << 20, 0)
    second = start(files)
    assert append(second, b"two").segment == 2
    barrier(second)
    assert files.pread(files.open(path_of(files, 1)), 1 << 20, 0) == before


def test_prepared_segments_left_by_a_crash_do_no_harm() -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    journal.prepare()
    second = start(files)
    assert append(second, b"two").segment == 4
    barrier(second)
    assert found_ops(scan(files)) == [b"one", b"two"]
    drop_dead(second, 2)
    assert second.segments == [4]


def test_a_half_made_segment_is_taken_away() -> None:
    files = disk()
    append(start(files), b"one")
    fd = files.create(f"{FOLDER}/{2:016x}.0000.{'ab' * 24}", allocate_bytes=8192)
    files.close(fd)
    found = scan(files)
    assert len(found.unusable) == 1
    start(files, found)
    assert [name[:21] for name in files.names(FOLDER)] == ["0000000000000001.0000", "0000000000000002.0000"]


# --- damage ----------------------------------------------------------------------------------------------------------


def ten(files: CrashFiles, *, durable: int = 0, data: bytes = b"") -> tuple[Journal, list[bytes]]:
    """Ten records in one segment; the eleventh names `durable` as the watermark, if any."""
    journal = start(files, segment_bytes=1 << 20)
    written = [f"op {number}".encode() for number in range(1, 12)]
    for op in written:
        append(journal, op, data)
        if journal.appended_seq == durable:
            barrier(journal)
    return journal, written


def spoil_record(files: CrashFiles, journal: Journal, seq: int) -> None:
    spoil_op(files, next(record.address for record in journal.records_since(seq - 1)))


def test_damage_above_the_watermark_is_a_torn_tail() -> None:
    files = disk()
    journal, written = ten(files, durable=4)
    spoil_record(files, journal, 6)
    found = scan(files)
    assert (found_ops(found), found.cut_seq, found.blocked_at, found.watermark) == (written[:5], 5, None, 4)
    assert len(found.damage) == 1


@pytest.mark.parametrize("knows", ["a record", "the last commit", "a header"])
def test_damage_below_the_watermark_blocks(knows: str) -> None:
    files = disk()
    journal, written = ten(files, durable=10 if knows == "a record" else 0)
    spoil_record(files, journal, 6)
    if knows == "a header":
        barrier(journal)
        journal.prepare()
    found = scan(files, watermark=10 if knows == "the last commit" else 0)
    assert (found_ops(found), found.blocked_at) == (written[:5], 6)
    assert found.damage


def test_a_person_may_go_on_without_a_damaged_record() -> None:
    files = disk()
    journal, written = ten(files, durable=10)
    spoil_record(files, journal, 6)
    found = scan(files, skip_seq=6)
    assert (found_ops(found), found.blocked_at) == ([*written[:5], None, *written[6:]], None)
    assert [record.address.seq for record in found.records()] == list(range(1, 12))


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param([11], id="the last one"),
        pytest.param([6, 7, 8], id="a run"),
        pytest.param([3, 9], id="two apart"),
    ],
)
def test_a_person_may_go_on_past_all_damage(spoilt: list[int]) -> None:
    """Each mount says where it is blocked; following that advice has to lead to a volume that can be written."""
    files = disk()
    journal, written = ten(files)
    for seq in reversed(spoilt):
        spoil_record(files, journal, seq)
    found = scan(files, watermark=11)
    for _ in spoilt:
        assert found.blocked_at is not None
        found = scan(files, watermark=11, skip_seq=found.blocked_at)
    assert found.blocked_at is None
    assert found_ops(found) == [None if seq in spoilt else op for seq, op in enumerate(written, 1)]


def test_no_person_skips_into_a_torn_tail() -> None:
    files = disk()
    journal, written = ten(files, durable=4)
    spoil_record(files, journal, 6)
    assert found_ops(scan(files, skip_seq=9)) == written[:5]


@pytest.mark.parametrize(("durable", "want"), [(0, 5), (10, 11)], ids=["above the watermark", "below it"])
def test_a_damaged_piece_of_data(durable: int, want: int) -> None:
    """Above the watermark the record is torn, and the journal ends; below only that piece is lost."""
    files = disk()
    journal, written = ten(files, durable=durable, data=b"d" * (PIECE_SIZE + 100))
    address = next(record.address for record in journal.records_since(5))
    spoil(files, path_of(files, 1), address.data_position + 20)
    found = scan(files)
    assert found_ops(found) == written[:want]
    assert found.blocked_at is None
    second = start(files, found)
    where = (1, address.data_position, PIECE_SIZE + 100)
    with pytest.raises(DamagedData):
        second.read(*where, 0, 10)
    assert second.read(*where, PIECE_SIZE, 100) == b"d" * 100


def test_a_file_without_its_header_still_counts() -> None:
    files = disk()
    journal, written = ten(files)
    barrier(journal)
    spoil(files, path_of(files, 1), 0, 512)
    found = scan(files, watermark=11)
    assert found_ops(found) == written
    assert len(found.damage) == 1
    assert since(start(files, found), 0) == written


@pytest.mark.parametrize("before", [False, True], ids=["nothing in the first file", "something"])
def test_a_rewritten_file_without_its_header_still_counts(before: bool) -> None:
    """Its records begin where it took over, not behind the header; and the first file keeps what lies before."""
    files = disk()
    journal = start(files)
    want = []
    if before:
        append(journal, b"before")
        barrier(journal)
        want.append(b"before")
    append(journal, b"held", b"d" * 300)
    files.failing["sync"] = [errno.EIO]
    barrier(journal)
    append(journal, b"after")
    barrier(journal)
    spoil(files, path_of(files, 1, incarnation=1), 0, 512)
    assert found_ops(scan(files, watermark=journal.durable_seq)) == [*want, b"held", b"after"]


def test_a_crash_within_a_rewrite_leaves_a_prefix_and_a_journal_that_goes_on() -> None:
    files = disk()
    journal = start(files)
    append(journal, b"one")
    barrier(journal)
    append(journal, b"two")
    files.failing["sync"] = [errno.EIO]
    job = journal.sync_work()
    job.run()
    files.failing["pwrite"] = [None, "short"]
    with pytest.raises(JournalFailed):
        journal.finish(job)
    files.failing.clear()
    found = scan(files)
    assert found_ops(found) == [b"one"]
    second = start(files, found)
    append(second, b"two anew")
    assert since(second, 0) == [b"one", b"two anew"]
    barrier(second)
    assert found_ops(scan(files)) == [b"one", b"two anew"]


# --- what is void stays void -----------------------------------------------------------------------------------------


def torn(files: CrashFiles) -> None:
    """A first life of which records 3 to 11 are void: the second was not there when the second life began."""
    journal, _written = ten(files)
    spoil_record(files, journal, 2)


def test_what_a_cut_made_void_never_counts_again() -> None:
    files = disk()
    torn(files)
    second = start(files)
    want: list[bytes | None] = [b"op 1"]
    for number in range(2, 6):
        op = f"second life {number}".encode()
        append(second, op)
        want.append(op)
        assert found_ops(scan(files)) == want
    third = start(files)
    append(third, b"third life")
    assert found_ops(scan(files)) == [*want, b"third life"]


def test_what_is_void_is_not_replayed_after_a_rollback() -> None:
    files = disk()
    torn(files)
    second = start(files)
    for seq in range(2, 6):
        append(second, f"second life {seq}".encode())
    for committed in range(1, 5):
        assert since(second, committed) == [f"second life {seq}".encode() for seq in range(committed + 1, 6)]


def test_a_torn_record_is_not_replayed_after_a_rollback() -> None:
    """Its op opens, its data does not: the next life uses its seq for another."""
    files = disk()
    journal, written = ten(files, data=b"d" * 100)
    spoil(files, path_of(files, 1), next(journal.records_since(5)).address.data_position + 20)
    second = start(files)
    append(second, b"second life 6")
    assert since(second, 0) == [*written[:5], b"second life 6"]


def test_a_torn_segment_is_dropped_once_what_counts_of_it_is_committed() -> None:
    files = disk()
    torn(files)
    second = start(files)
    append(second, b"second life 2")
    barrier(second)
    assert second.droppable(1, set()) == [1]


def test_what_is_void_stays_void_when_the_header_that_names_the_cut_is_lost() -> None:
    files = disk()
    torn(files)
    second = start(files)
    append(second, b"second life 2")
    barrier(second)
    spoil(files, path_of(files, 2), 0, 512)
    assert found_ops(scan(files)) == [b"op 1", b"second life 2"]


def test_what_is_void_stays_void_when_the_segment_that_named_the_cut_is_gone() -> None:
    """Its file is needed for record 1's data; the cut's own segment is not, and the next one's records were lost."""
    files = disk()
    torn(files)
    second = start(files)
    append(second, b"second life 2", b"d" * NEARLY_ALL)
    barrier(second)
    second.next_address(1, NEARLY_ALL)  # begins segment 3, and then nothing is written
    drop_dead(second, 2, named={1})
    assert second.segments == [1, 3]
    found = scan(files, last_seq=2, watermark=2)
    assert (found_ops(found), found.cut_seq) == ([], 2)


def test_what_is_void_stays_void_through_a_cut_within_a_life() -> None:
    files = disk()
    torn(files)
    second = start(files)
    append(second, b"second life 2")
    files.failing["pwrite"] = [errno.EIO]
    with pytest.raises(JournalFailed):
        append(second, b"lost")
    append(second, b"second life 3", b"d" * NEARLY_ALL)
    barrier(second)
    second.next_address(1, NEARLY_ALL)
    drop_dead(second, 3, named={1})
    assert second.segments == [1, 4]
    assert found_ops(scan(files, last_seq=3, watermark=3)) == []


def test_a_failed_append_that_reached_the_disk_does_not_come_back() -> None:
    files = disk()
    first = start(files)
    append(first, b"one")
    files.failing["pwrite"] = [errno.EIO]
    with pytest.raises(JournalFailed):
        append(first, b"lost")
    assert since(first, 0) == [b"one"]
    append(first, b"two")
    assert since(first, 0) == [b"one", b"two"]
    assert found_ops(scan(files)) == [b"one", b"two"]


def test_a_second_file_of_the_same_number_takes_nothing_from_the_first() -> None:
    """As when an unlink was not durable: both are of incarnation 0, in any order."""
    files = disk()
    journal = start(files)
    append(journal, b"one")
    salt, number = "ff" * 24, f"{1:016x}.0000"
    name = layout.parse_name(f"{number}.{salt}")
    assert name is not None
    header = layout.Header(0, layout.Cut(0, recovery.NO_TAG, 1), HEADER_SIZE, 0, 0)
    fd = files.create(f"{FOLDER}/{name}", allocate_bytes=8192)
    files.pwrite(fd, layout.encode_header(KEY, UUID, name, header, b"n" * 12), 0)
    assert found_ops(scan(files)) == [b"one"]


def test_reading_only_changes_nothing() -> None:
    files = disk()
    append(start(files), b"one", b"data")
    before = (files.names(FOLDER), files.actions)
    found = scan(files)
    journal = recovery.open_read_only(files, FOLDER, found, key=KEY, uuid=UUID)
    record = next(found.records())
    assert journal.read(1, record.address.data_position, 4, 0, 4) == b"data"
    with pytest.raises(JournalFailed):
        journal.next_address(1, 0)
    journal.close()
    assert (files.names(FOLDER), files.actions) == (before[0], before[1] + 1), "one sync: what it reads is durable"


def test_unused_segments_make_room_and_a_damaged_one_is_not_taken_for_unused() -> None:
    """The data of a record opens without its op, and committed extents may name it."""
    files = disk()
    journal = start(files)
    first = append(journal, b"op", b"d" * 1000)
    while (address := append(journal, b"op", b"x" * 1000)).segment == first.segment:
        pass
    journal.prepare()
    barrier(journal)
    seq, unused = journal.appended_seq, path_of(files, address.segment + 1)
    spoil_op(files, address)
    living = start(files, scan(files, last_seq=seq, watermark=seq))
    assert living.read(address.segment, address.data_position, 1000, 0, 1000) == b"x" * 1000
    assert not files.exists(unused)
