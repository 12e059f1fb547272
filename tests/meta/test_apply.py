"""apply: each op against what it promises; all ops against the checks of fsck; and twice against itself."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rustfsfs import ops
from rustfsfs.meta import checks, chunks, database, entries, extents, inodes
from rustfsfs.meta.apply import EXTENTS_PER_OP, EXTENTS_PER_RELEASE, apply
from rustfsfs.meta.database import Metadata
from rustfsfs.units import ROOT

KEY = bytes(range(32))
FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


class Bench:
    """A database with an open transaction, and a way to give it ops one after the other."""

    def __init__(self, path: Path) -> None:
        self.metadata: Metadata = database.create(str(path), KEY)
        database.begin(self.metadata)
        self.do(create(0, b"", int(ROOT), DIRECTORY))

    def do(self, op: ops.AnyOp) -> int:
        seq = self.metadata.running.last_seq + 1
        apply(self.metadata, op, ops.Address(seq=seq, segment=1, data_position=seq * 10_000_000))
        self._look_whether_what_was_seen_is_there()
        return seq

    def _look_whether_what_was_seen_is_there(self) -> None:
        seen = dict(self.metadata.seen)
        self.metadata.seen.clear()
        for what, row in seen.items():
            assert row == (
                entries.find_attributes(self.metadata, *what)
                if isinstance(what, tuple)
                else inodes.find(self.metadata, what)
            )
        self.metadata.seen.clear()
        self.metadata.seen.update(seen)

    def findings(self) -> list[str]:
        return [finding.text for finding in checks.check(self.metadata)]

    def contents(self, inode: int) -> list[tuple[int, int, int]]:
        row = inodes.get(self.metadata, inode)
        found = extents.overlapping(self.metadata, row.fork, 0, 1 << 62)
        return [(extent.offset, extent.length, extent.segment) for extent in found]


def create(parent: int, name: bytes, inode: int, mode: int, now_ns: int = 1) -> ops.Create:
    return ops.Create(parent or inode, name, inode, mode, 0, 0, 0, b"", now_ns)


def write(inode: int, offset: int, size: int, now_ns: int = 2) -> ops.Write:
    return ops.Write(inode, offset, size, [(0, size)], now_ns)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "m.db")
    yield made
    assert made.findings() == []
    made.metadata.close()


def test_a_created_file_has_a_name_a_fork_and_a_parent_that_knows(bench: Bench) -> None:
    seq = bench.do(create(1, b"f", 2, FILE, now_ns=7))
    row = entries.find_attributes(bench.metadata, 1, b"f")
    assert row is not None
    assert (row.inode, row.nlink, row.fork, row.size_bytes, row.ctime_ns) == (2, 1, seq, 0, 7)
    parent = inodes.get(bench.metadata, 1)
    assert (parent.nlink, parent.size_bytes, parent.mtime_ns) == (2, 2, 7)
    assert (bench.metadata.running.files, bench.metadata.running.next_inode) == (1, 3)


def test_a_subdirectory_counts_as_a_link_of_its_parent(bench: Bench) -> None:
    bench.do(create(1, b"d", 2, DIRECTORY))
    assert inodes.get(bench.metadata, 1).nlink == 3
    bench.do(ops.Rmdir(1, b"d", 3))
    assert inodes.get(bench.metadata, 1).nlink == 2
    bench.do(ops.Release([2]))
    assert inodes.find(bench.metadata, 2) is None


def test_a_directory_of_the_future_is_changed_now(bench: Bench) -> None:
    """Found by rsync: it sets mtime, adds the files, and looks whether it has to set it again."""
    bench.do(create(1, b"d", 2, DIRECTORY, now_ns=5))
    bench.do(ops.SetAttributes(2, None, None, None, None, 10**18, 6))
    bench.do(create(2, b"f", 3, FILE, now_ns=9))
    assert inodes.get(bench.metadata, 2).mtime_ns == 9
    bench.do(create(2, b"g", 4, FILE, now_ns=4))  # the clock goes back, mtime does not
    row = inodes.get(bench.metadata, 2)
    assert row.mtime_ns == row.ctime_ns == 10


def test_overwriting_splits_what_was_there(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    bench.do(write(2, 0, 300))
    bench.do(write(2, 100, 50))
    assert bench.contents(2) == [(0, 100, 1), (100, 50, 1), (150, 150, 1)]
    assert inodes.get(bench.metadata, 2).mapped_bytes == 300


def test_zeros_make_a_hole_and_the_file_longer(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    bench.do(write(2, 0, 100))
    bench.do(ops.Write(2, 50, 100, [], 3))
    row = inodes.get(bench.metadata, 2)
    assert (row.size_bytes, row.mapped_bytes, bench.contents(2)) == (150, 50, [(0, 50, 1)])


@pytest.mark.parametrize(
    ("start", "end", "want"),
    [
        pytest.param(100, 200, (100, 100), id="all of it"),
        pytest.param(110, 120, (100, 100), id="inside"),
        pytest.param(199, 200, (100, 100), id="its last byte"),
        pytest.param(199, 201, None, id="one byte into the next"),
        pytest.param(250, 350, None, id="a hole behind"),
        pytest.param(300, 301, None, id="in a hole"),
        pytest.param(0, 101, None, id="a hole before"),
        pytest.param(0, 1, None, id="before everything"),
    ],
)
def test_the_one_extent_that_holds_a_range(bench: Bench, start: int, end: int, want: tuple[int, int] | None) -> None:
    bench.do(create(1, b"f", 2, FILE))
    bench.do(create(1, b"g", 3, FILE))
    for inode, offset in ((2, 100), (2, 200), (3, 0), (3, 300)):
        bench.do(write(inode, offset, 100))
    fork = inodes.get(bench.metadata, 2).fork
    found = extents.covering(bench.metadata, fork, start, end)
    assert (found and (found.offset, found.length)) == want


def test_unlinked_but_open_files_keep_their_data_until_released(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    bench.do(write(2, 0, 100))
    bench.do(ops.Unlink(1, b"f", 3))
    assert inodes.orphans(bench.metadata) == [2]
    assert bench.contents(2) == [(0, 100, 1)]
    bench.do(ops.Release([2]))
    assert inodes.find(bench.metadata, 2) is None
    assert bench.metadata.running.hot_bytes == bench.metadata.running.logical_bytes == 0


def test_work_per_op_is_bounded_and_the_rest_is_reaped(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    fork = inodes.get(bench.metadata, 2).fork
    for number in range(EXTENTS_PER_RELEASE + 10):
        bench.do(write(2, number * 2, 1))
    bench.do(ops.Unlink(1, b"f", 3))
    bench.do(create(1, b"g", 3, FILE))
    bench.do(write(3, 0, 1))
    fork_of_g = inodes.get(bench.metadata, 3).fork
    bench.do(ops.Unlink(1, b"g", 4))
    bench.do(ops.Release([2, 3]))
    assert inodes.orphans(bench.metadata) == []
    assert len(extents.overlapping(bench.metadata, fork, 0, 1 << 62)) == 10
    assert len(bench.metadata.rows("SELECT * FROM dead_forks")) == 2, "the bound holds for the whole op"
    bench.do(ops.Reap(fork_of_g, 6))
    bench.do(ops.Reap(fork, 6))
    bench.do(ops.Reap(fork, 6))
    assert bench.metadata.rows("SELECT * FROM dead_forks") == []
    assert extents.overlapping(bench.metadata, fork, 0, 1 << 62) == []


def test_truncating_to_nothing_gives_a_large_file_a_new_fork_at_once(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    for number in range(EXTENTS_PER_OP + 1):
        bench.do(write(2, number * 2, 1))
    seq = bench.do(ops.Truncate(2, 0, 4))
    row = inodes.get(bench.metadata, 2)
    assert (row.fork, row.size_bytes, row.mapped_bytes) == (seq, 0, 0)


def test_a_long_tail_is_trimmed_before_the_file_may_grow(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    for number in range(EXTENTS_PER_OP + 20):
        bench.do(write(2, number * 2, 1))
    bench.do(ops.Truncate(2, 2, 4))
    assert inodes.get(bench.metadata, 2).stale_tail == 1
    with pytest.raises(AssertionError):
        bench.do(ops.Truncate(2, 5000, 5))
    bench.do(ops.Trim(2, 1000))
    row = inodes.get(bench.metadata, 2)
    assert (row.stale_tail, row.mapped_bytes, bench.contents(2)) == (0, 1, [(0, 1, 1)])


def test_a_seal_replaces_only_what_still_lies_there(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    seq = bench.do(write(2, 0, 300))
    fork = inodes.get(bench.metadata, 2).fork
    bench.do(write(2, 100, 50))
    source = ops.Source(0, 300, 1, seq * 10_000_000, 0)
    place = ops.Place(1, 1, 64, 80)
    chunk = ops.NewChunk(1, b"i" * 32, 300, [place])
    bench.do(ops.AddDisk(1, b"u" * 16, "/d"))
    bench.do(ops.Seal([(1, 1)], [chunk], [ops.SealedRange(fork, 0, 300, 1, 0, [source])], [], [], 9))
    assert bench.contents(2) == [(0, 100, 0), (100, 50, 1), (150, 150, 0)]
    assert bench.metadata.running.hot_bytes == 50
    assert (bench.metadata.running.unique_bytes, bench.metadata.running.stored_bytes) == (300, 80)


def test_a_chunk_goes_only_when_no_extent_names_it(bench: Bench) -> None:
    test_a_seal_replaces_only_what_still_lies_there(bench)
    bench.do(ops.Collect(chunks.suspects(bench.metadata, 10)))
    assert chunks.find(bench.metadata, 1) is not None
    bench.do(ops.Truncate(2, 0, 10))
    assert chunks.suspects(bench.metadata, 10) == [1]
    bench.do(ops.Collect([1]))
    assert chunks.find(bench.metadata, 1) is None
    bench.do(ops.DropPack(1, 1))
    assert [(pack, disk) for pack, disk, _seq in chunks.doomed(bench.metadata)] == [(1, 1)]
    assert bench.metadata.running.dead_bytes == 80, "its file is still there"
    bench.do(ops.Deleted([(1, 1)]))
    assert bench.metadata.running.dead_bytes == 0


def test_a_pack_with_live_frames_is_not_dropped(bench: Bench) -> None:
    test_a_seal_replaces_only_what_still_lies_there(bench)
    bench.do(ops.DropPack(1, 1))
    assert chunks.doomed(bench.metadata) == []


def test_renaming_a_directory_moves_its_dot_dot(bench: Bench) -> None:
    bench.do(create(1, b"a", 2, DIRECTORY))
    bench.do(create(1, b"b", 3, DIRECTORY))
    bench.do(create(2, b"c", 4, DIRECTORY))
    bench.do(ops.Rename(2, b"c", 3, b"c", False, 5))
    assert inodes.get(bench.metadata, 4).parent == 3
    assert (inodes.get(bench.metadata, 2).nlink, inodes.get(bench.metadata, 3).nlink) == (2, 3)


@pytest.mark.parametrize("exchange", [False, True])
def test_a_rename_within_a_directory_changes_it_once(bench: Bench, exchange: bool) -> None:
    bench.do(create(1, b"a", 2, DIRECTORY, now_ns=5))
    bench.do(create(1, b"bb", 3, FILE, now_ns=6))
    bench.do(ops.Rename(1, b"a", 1, b"bb" if exchange else b"ccc", exchange, 9))
    row = inodes.get(bench.metadata, 1)
    assert (row.nlink, row.size_bytes, row.mtime_ns) == (3, 6 if exchange else 10, 9)
    assert inodes.get(bench.metadata, 2).ctime_ns == 9


def test_a_write_behind_the_end_is_added_without_a_look(bench: Bench) -> None:
    """Nothing lies there, but in a file with a stale tail, which does not grow before it is trimmed."""
    bench.do(create(1, b"f", 2, FILE))
    bench.do(write(2, 0, 100))
    bench.do(ops.Truncate(2, 50, 3))
    bench.do(write(2, 50, 10))
    bench.do(write(2, 70, 10))
    assert bench.contents(2) == [(0, 50, 1), (50, 10, 1), (70, 10, 1)]
    assert inodes.get(bench.metadata, 2).mapped_bytes == bench.metadata.running.logical_bytes == 70


NAMES = [b"a", b"b", b"c"]


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[str, bytes, bytes, int, int]]:
    kinds = st.sampled_from(["file", "dir", "link", "unlink", "rename", "exchange", "write", "truncate"])
    step = st.tuples(kinds, st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 50), st.integers(1, 30))
    return draw(st.lists(step, max_size=25))


def run(bench: Bench, plan: list[tuple[str, bytes, bytes, int, int]]) -> None:
    """Give the ops a careful verb would: those the state allows."""
    next_inode = 2
    for kind, name, other, offset, size in plan:
        row = entries.find_attributes(bench.metadata, 1, name)
        target = entries.find_attributes(bench.metadata, 1, other)
        if kind in ("file", "dir") and row is None:
            bench.do(create(1, name, next_inode, FILE if kind == "file" else DIRECTORY))
            next_inode += 1
        elif kind == "link" and row is not None and not row.is_directory and target is None:
            bench.do(ops.Link(row.inode, 1, other, 3))
        elif kind == "unlink" and row is not None:
            remove = ops.Rmdir if row.is_directory else ops.Unlink
            bench.do(remove(1, name, 4))
            if offset % 2:
                bench.do(ops.Release([int(inode) for inode in inodes.orphans(bench.metadata)]))
        elif kind == "rename" and row is not None and name != other:
            same_kind = target is None or (target.is_directory == row.is_directory and target.inode != row.inode)
            if same_kind:
                bench.do(ops.Rename(1, name, 1, other, False, 5))
        elif kind == "exchange" and row is not None and target is not None:
            bench.do(ops.Rename(1, name, 1, other, True, 6))
        elif kind == "write" and row is not None and row.is_file:
            bench.do(write(row.inode, offset, size))
        elif kind == "truncate" and row is not None and row.is_file:
            bench.do(ops.Truncate(row.inode, offset, 8))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans())
def test_any_ops_keep_every_invariant_and_give_the_same_tables_twice(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, bytes, bytes, int, int]]
) -> None:
    dumps = []
    for _ in range(2):
        bench = Bench(tmp_path_factory.mktemp("m") / "m.db")
        run(bench, plan)
        assert bench.findings() == []
        tables = ("inodes", "entries", "extents", "orphans", "dead_forks", "maybe_dead")
        dumps.append({table: bench.metadata.rows(f"SELECT * FROM {table}") for table in tables})
        bench.metadata.close()
    assert dumps[0] == dumps[1]
