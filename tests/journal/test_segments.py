"""Segment files: made durable before use, walked past damage, and read in any range."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs import ops
from rustfsfs.errors import DamagedData
from rustfsfs.journal import layout, segments
from rustfsfs.journal.journal import Journal
from rustfsfs.journal.layout import HEADER_SIZE, PREFIX, Cipher, Cut, Header, SegmentName
from rustfsfs.journal.segments import Record, SegmentFile
from rustfsfs.units import PIECE_SIZE
from tests.crash.disk import CrashFiles
from tests.journal.lives import FOLDER, KEY, UUID, append, disk, path_of, spoil, start

NAME = SegmentName(1, 0, b"s" * layout.SALT_SIZE)
HEADER = Header(first_seq=1, cut=Cut(0, bytes(16), 1), from_position=HEADER_SIZE, watermark=0, epoch=0)


def make(files: CrashFiles) -> SegmentFile:
    return segments.make(files, FOLDER, NAME, HEADER, key=KEY, uuid=UUID, size=8192, nonce=b"n" * 12)


def test_a_file_is_whole_and_named_in_every_state_once_it_is_made() -> None:
    files = disk()
    made = make(files)
    for state in files.states(limit=100, seed=0):
        assert state.names(FOLDER) == [str(NAME)]
        assert state.size(made.path) == 8192
        block = state.pread(state.open(made.path), HEADER_SIZE, 0)
        assert layout.decode_header(block, KEY, UUID, NAME) == HEADER


@pytest.mark.parametrize(
    ("action", "planned"),
    [
        pytest.param("create", errno.ENOSPC, id="no room"),
        pytest.param("pwrite", errno.EIO, id="the header cannot be written"),
        pytest.param("pwrite", "short", id="half a header"),
        pytest.param("sync", errno.EIO, id="the header cannot be synced"),
        pytest.param("sync_dir", errno.EIO, id="the name cannot be synced"),
    ],
)
def test_a_file_that_cannot_be_made_leaves_nothing(action: str, planned: int | str) -> None:
    files = disk()
    files.failing[action] = [planned]
    with pytest.raises(OSError):
        make(files)
    assert files.names(FOLDER) == []


def written(count: int) -> tuple[CrashFiles, Journal, list[ops.Address]]:
    files = disk()
    journal = start(files, segment_bytes=1 << 20)
    return files, journal, [append(journal, f"op {number}".encode()) for number in range(1, count + 1)]


def walked(files: CrashFiles, journal: Journal, start_at: int = HEADER_SIZE, *, seq: int = 0) -> list[int | None]:
    """Seqs; None for damage."""
    path = path_of(files, 1)
    fd = files.open(path)
    file = SegmentFile(NAME, path, fd, journal._segments[1][0].cipher, HEADER)
    found = segments.walk(files, file, start_at, files.size(path), seq=seq)
    return [record.address.seq if isinstance(record, Record) else None for record in found]


def lengths_at(address: ops.Address, op_size: int = 4) -> int:
    return address.data_position - layout.data_position(0, op_size)


@pytest.mark.parametrize(
    ("spoilt", "at", "size", "want"),
    [
        pytest.param(3, PREFIX.size + 2, 1, [1, 2, None, 4, 5, 6], id="an op"),
        pytest.param(3, 0, 1, [1, 2, None, 4, 5, 6], id="a total length"),
        pytest.param(3, 12, 8, [1, 2, None, 4, 5, 6], id="a seq"),
        pytest.param(1, 0, 40, [None, 2, 3, 4, 5, 6], id="the lengths of the first"),
        pytest.param(2, 0, 3 * 60, [1, None, 5, 6], id="several at once, as a bad page does"),
        pytest.param(6, 0, 1, [1, 2, 3, 4, 5, None], id="the last"),
    ],
)
def test_walking_finds_its_way_behind_damage(spoilt: int, at: int, size: int, want: list[int | None]) -> None:
    files, journal, addresses = written(6)
    assert walked(files, journal) == [1, 2, 3, 4, 5, 6]
    spoil(files, path_of(files, 1), lengths_at(addresses[spoilt - 1]) + at, size)
    assert walked(files, journal) == want


def test_walking_goes_on_over_a_lost_page() -> None:
    """A bad page may have held dozens of records."""
    files, journal, addresses = written(150)
    page = lengths_at(addresses[59]) // 4096 * 4096 + 4096
    spoil(files, path_of(files, 1), page, 4096)
    found = walked(files, journal)
    assert found.count(None) == 1
    assert found[-1] == 150
    assert len(found) >= 150 - 4096 // 60


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE + 3])
def test_behind_a_record_the_next_one_begins(size: int) -> None:
    files, journal, (first,) = written(1)
    second = append(journal, b"more", b"d" * size)
    third = append(journal, b"last")
    file = journal._segments[1][0]
    record = segments.read_record(files, file, lengths_at(second))
    assert record is not None
    assert segments.behind(record) == lengths_at(third)
    assert first.seq == 1


class HasBadPage(CrashFiles):
    """One page of every file cannot be read."""

    def __init__(self, files: CrashFiles, position: int) -> None:
        super().__init__()
        vars(self).update(vars(files))
        self._page = position // 4096

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        if size and offset // 4096 <= self._page <= (offset + size - 1) // 4096:
            raise OSError(errno.EIO, "input/output error")
        return super().pread(fd, size, offset)


def test_a_page_that_cannot_be_read_is_damage_and_no_more_than_that() -> None:
    files, journal, addresses = written(150)
    page = lengths_at(addresses[59]) // 4096 * 4096 + 4096
    found = walked(HasBadPage(files, page), journal)
    assert found.count(None) == 1
    assert found[-1] == 150
    assert len(found) >= 150 - 4096 // 60


@pytest.mark.parametrize(
    "used",
    [
        pytest.param(HEADER_SIZE, id="from the beginning"),
        pytest.param(HEADER_SIZE + 1717, id="as in a later incarnation"),
        pytest.param(700_000, id="far behind"),
    ],
)
@pytest.mark.parametrize("op_size", [4, 256 - 40 - 16, 65536 - 40 - 16])
def test_where_records_begin_is_found_without_a_header(used: int, op_size: int) -> None:
    """Also where a record's total length begins with a zero byte: 256, 65536."""
    files = disk()
    made = segments.make(files, FOLDER, NAME, HEADER, key=KEY, uuid=UUID, size=1 << 20, nonce=b"n" * 12)
    assert segments.first_position(files, made, 1 << 20) is None
    record = layout.seal_record(
        made.cipher, used, seq=5, watermark=0, op=b"o" * op_size, data=memoryview(b""), random=b"r" * 12
    )
    files.pwrite(made.fd, record, used)
    assert segments.first_position(files, made, 1 << 20) == used


@given(
    total=st.sampled_from([1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE + 77]),
    data=st.data(),
)
def test_any_range_of_a_records_data_is_read_from_just_its_pieces(total: int, data: st.DataObject) -> None:
    plain = bytes(index * 7 % 253 for index in range(total))
    skip = data.draw(st.integers(0, total - 1))
    size = data.draw(st.integers(1, total - skip))
    cipher = Cipher(KEY, UUID, NAME)
    record = bytes(
        layout.seal_record(cipher, 4096, seq=1, watermark=0, op=b"op", data=memoryview(plain), random=b"r" * 12 * 5)
    )
    base = layout.data_position(4096, 2)
    position, length = segments.data_range(base, total, skip, size)
    pieces = record[position - 4096 : position - 4096 + length]
    assert segments.read_data(cipher, pieces, base, total, skip, size) == plain[skip : skip + size]
    into = bytearray(size)
    segments.read_data_into(cipher, pieces, base, total, skip, memoryview(into))
    assert into == plain[skip : skip + size]
    with pytest.raises(DamagedData):
        segments.read_data(cipher, pieces[:-1], base, total, skip, size)
    with pytest.raises(DamagedData):
        segments.read_data_into(cipher, pieces[:-1], base, total, skip, memoryview(into))
