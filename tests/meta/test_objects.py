"""Packs in the bucket: every op against what it promises, and any order of them against the checks of fsck."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rustfsfs import ops
from rustfsfs.meta import chunks, database, objects
from tests.meta.test_apply import FILE, Bench, create, write

PLACE = ops.Place(disk=1, pack=7, offset=96, stored_bytes=300)


def upload(pack: int = 7, disk: int = 1, size_bytes: int = 500, put_s: int = 1000) -> ops.Uploaded:
    return ops.Uploaded(pack, disk, size_bytes, bytes(8), "Standard", put_s)


def seal(inode_fork: int, chunk: int, place: ops.Place, source: ops.Source) -> ops.Seal:
    piece = ops.SealedRange(inode_fork, source.offset, source.length, chunk, 0, [source])
    new = ops.NewChunk(chunk, bytes([chunk]) * 32, source.length, [place])
    return ops.Seal([(place.pack, place.disk)], [new], [piece], [], [], 5)


def with_a_pack(bench: Bench, place: ops.Place = PLACE) -> None:
    """A file of 300 bytes, sealed as chunk 1 into a pack that is closed."""
    bench.do(create(1, b"f", 2, FILE))
    seq = bench.do(write(2, 0, 300))
    fork = bench.metadata.rows("SELECT fork FROM inodes WHERE inode = 2")[0][0]
    bench.do(seal(fork, 1, place, ops.Source(0, 300, 1, seq * 10_000_000, 0)))
    bench.do(ops.ClosePack(place.pack, place.disk, 600))


def with_doubles(bench: Bench) -> None:
    """As `with_a_pack`, and chunk 1 lies in a second pack, (8, 2), too."""
    with_a_pack(bench)
    double = ops.NewChunk(1, bytes([1]) * 32, 300, [ops.Place(disk=2, pack=8, offset=96, stored_bytes=300)])
    bench.do(ops.Seal([(8, 2)], [double], [], [], [], 5))
    bench.do(ops.ClosePack(8, 2, 600))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "m.db")
    made.do(ops.AttachBucket())
    yield made
    assert made.findings() == []
    made.metadata.close()


def test_attaching_makes_the_tables_once_and_another_format(bench: Bench) -> None:
    bench.do(ops.AttachBucket())
    assert bench.metadata.is_tiered
    assert bench.metadata.rows("PRAGMA user_version") == [(2,)]


def test_a_rollback_takes_the_tables_away_again(tmp_path: Path) -> None:
    made = Bench(tmp_path / "m.db")
    database.write_running(made.metadata)
    made.metadata.commit()
    database.begin(made.metadata)
    made.do(ops.AttachBucket())
    database.rollback(made.metadata)
    assert not made.metadata.is_tiered
    database.begin(made.metadata)
    made.do(ops.AttachBucket())
    assert objects.rows_behind(made.metadata, (0, -1), 10) == []
    made.metadata.close()


def test_a_pack_is_cold_only_once_the_bucket_has_it(bench: Bench) -> None:
    with_a_pack(bench)
    bench.do(ops.Demote([(7, 1), (99, 1)]))
    assert not objects.is_cold(bench.metadata, 7, 1)
    bench.do(upload())
    bench.do(ops.Demote([(7, 1)]))
    assert objects.is_cold(bench.metadata, 7, 1)
    assert (bench.metadata.running.cold_bytes, bench.metadata.running.object_bytes) == (300, 500)
    bench.do(ops.Recall([(7, 1)]))
    assert not objects.is_cold(bench.metadata, 7, 1)
    assert bench.metadata.running.cold_bytes == 0


def test_an_open_pack_is_never_demoted(bench: Bench) -> None:
    bench.do(ops.Seal([(7, 1)], [], [], [], [], 5))
    bench.do(upload())
    bench.do(ops.Demote([(7, 1)]))
    assert not objects.is_cold(bench.metadata, 7, 1)


def test_dropping_a_cold_pack_dooms_its_object_and_no_file(bench: Bench) -> None:
    with_a_pack(bench)
    bench.do(upload())
    bench.do(ops.Demote([(7, 1)]))
    bench.do(ops.Unlink(1, b"f", 9))
    bench.do(ops.Release([2]))
    bench.do(ops.Collect([1]))
    seq = bench.do(ops.DropPack(7, 1))
    assert chunks.doomed(bench.metadata) == []
    assert objects.doomed(bench.metadata, 10, until_seq=seq) == [(7, 1, 500)]
    assert objects.doomed(bench.metadata, 10, until_seq=seq - 1) == []
    running = bench.metadata.running
    assert (running.cold_bytes, running.object_bytes, running.doomed_object_bytes) == (0, 0, 500)
    bench.do(ops.ObjectsDeleted([(7, 1)]))
    assert running.doomed_object_bytes == 0


def test_an_upload_that_ends_after_its_pack_was_dropped_leaves_only_something_to_delete(bench: Bench) -> None:
    seq = bench.do(upload())
    assert objects.find(bench.metadata, 7, 1) is None
    assert objects.doomed(bench.metadata, 10, until_seq=seq) == [(7, 1, 500)]
    assert objects.doomed(bench.metadata, 10, until_seq=seq - 1) == []


def test_a_lost_object_of_a_pack_on_a_disk_may_be_put_again_and_a_cold_one_is_not_forgotten(bench: Bench) -> None:
    with_a_pack(bench)
    bench.do(upload())
    bench.do(ops.ObjectLost(7, 1))
    assert objects.find(bench.metadata, 7, 1) is None
    bench.do(upload())
    bench.do(ops.Demote([(7, 1)]))
    bench.do(ops.ObjectLost(7, 1))
    assert objects.find(bench.metadata, 7, 1) is not None


def test_another_class_and_time_and_the_same_totals(bench: Bench) -> None:
    with_a_pack(bench)
    bench.do(upload())
    bench.do(ops.Reclassed(7, 1, "IA", 2000))
    found = objects.find(bench.metadata, 7, 1)
    assert found == objects.Object(7, 1, 500, bytes(8), "IA", 2000)
    assert bench.metadata.running.object_bytes == 500


def test_a_pack_that_was_dropped_meanwhile_has_no_class(bench: Bench) -> None:
    bench.do(ops.Reclassed(7, 1, "IA", 2000))
    assert objects.find(bench.metadata, 7, 1) is None


def packs_of(bench: Bench) -> list[tuple[int, int]]:
    return [(place.pack, place.disk) for place in chunks.places(bench.metadata, 1)]


def test_a_place_goes_only_if_the_bucket_has_the_chunk_in_a_pack_that_was_asked_for(bench: Bench) -> None:
    with_doubles(bench)
    bench.do(ops.DropPlaces(8, 2, [1, 99], [(7, 1)]))
    bench.do(upload(8, 2))
    bench.do(ops.DropPlaces(8, 2, [1], [(8, 2), (7, 1)]))
    assert packs_of(bench) == [(7, 1), (8, 2)], "only itself is there"
    bench.do(upload(7, 1))
    bench.do(ops.DropPlaces(8, 2, [1], []))
    assert packs_of(bench) == [(7, 1), (8, 2)]
    bench.do(ops.DropPlaces(8, 2, [1], [(7, 1)]))
    bench.do(ops.DropPlaces(8, 2, [1], [(7, 1)]))
    assert packs_of(bench) == [(7, 1)]
    bench.do(ops.DropPack(8, 2))
    assert [key[:2] for key in chunks.doomed(bench.metadata)] == [(8, 2)]


def test_what_lies_in_the_bucket_by_another_pack_would_not_be_lost(bench: Bench) -> None:
    with_doubles(bench)
    assert objects.not_in_bucket(bench.metadata) == (2, 600)
    bench.do(upload(7, 1))
    assert objects.not_in_bucket(bench.metadata) == (0, 0)


def test_reads_are_kept_of_packs_that_are_there_and_the_last_word_counts(bench: Bench) -> None:
    with_a_pack(bench)
    bench.do(ops.PacksRead([(7, 1, 50), (8, 1, 60)]))
    assert [(row.pack, row.read_s) for row in objects.rows_behind(bench.metadata, (0, -1), 10)] == [(7, 50)]
    bench.do(ops.PacksRead([(7, 1, 40)]))  # the clock was ahead, and was set back
    assert [(row.pack, row.read_s) for row in objects.rows_behind(bench.metadata, (0, -1), 10)] == [(7, 40)]


def test_a_pin_goes_with_its_inode(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    bench.do(ops.Pin(2, True))
    bench.do(ops.Pin(77, True))
    assert objects.pinned(bench.metadata) == [2]
    bench.do(ops.Unlink(1, b"f", 9))
    bench.do(ops.Release([2]))
    assert objects.pinned(bench.metadata) == []


def test_what_is_published_replaces_what_was(bench: Bench) -> None:
    bench.do(ops.Publish([(3, 30), (4, 40)]))
    bench.do(ops.Publish([(4, 40), (5, 50)]))
    assert objects.published(bench.metadata) == [(4, 40), (5, 50)]


STEPS = st.one_of(
    st.builds(lambda: upload()),
    st.builds(lambda: ops.Demote([(7, 1)])),
    st.builds(lambda: ops.Recall([(7, 1)])),
    st.builds(lambda: ops.ObjectLost(7, 1)),
    st.builds(lambda: ops.Reclassed(7, 1, "IA", 2000)),
    st.builds(lambda: ops.DropPack(7, 1)),
    st.builds(lambda: ops.Collect([1])),
    st.builds(lambda: ops.ObjectsDeleted([(7, 1)])),
    st.builds(lambda: ops.Release([2])),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12), unlinked=st.integers(0, 12))
def test_any_order_of_ops_keeps_every_invariant(
    tmp_path_factory: pytest.TempPathFactory, steps: list[ops.AnyOp], unlinked: int
) -> None:
    made = Bench(tmp_path_factory.mktemp("any") / "m.db")
    made.do(ops.AttachBucket())
    with_a_pack(made)
    for number, step in enumerate(steps):
        if number == unlinked:
            made.do(ops.Unlink(1, b"f", 9))
        made.do(step)
        assert made.findings() == []
    made.metadata.close()


KEYS = st.sampled_from([(7, 1), (8, 2)])
STEPS_OF_TWO = st.one_of(
    KEYS.map(lambda key: upload(*key)),
    KEYS.map(lambda key: ops.Demote([key])),
    KEYS.map(lambda key: ops.Recall([key])),
    KEYS.map(lambda key: ops.ObjectLost(*key)),
    KEYS.map(lambda key: ops.DropPack(*key)),
    KEYS.map(lambda key: ops.DropPlaces(*key, [1], [(7, 1), (8, 2)])),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS_OF_TWO, max_size=12))
def test_a_chunk_lies_on_a_disk_or_in_the_bucket_whatever_happens_to_its_packs(
    tmp_path_factory: pytest.TempPathFactory, steps: list[ops.AnyOp]
) -> None:
    made = Bench(tmp_path_factory.mktemp("two") / "m.db")
    made.do(ops.AttachBucket())
    with_doubles(made)
    for step in steps:
        made.do(step)
        lies = objects.whereabouts(made.metadata, chunks.places(made.metadata, 1))
        assert lies.local or lies.in_bucket
        assert made.findings() == []
    made.metadata.close()
