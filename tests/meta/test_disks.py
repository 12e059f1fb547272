"""Queries that run every second cost the same however much is hot."""

from rustfsfs import ops
from rustfsfs.meta import disks
from rustfsfs.meta.apply import apply
from tests.meta.test_apply import FILE, Bench, bench, create

__all__ = ["bench"]  # the fixture


def steps_of_hot_segments(bench: Bench) -> tuple[int, list[int]]:
    """Virtual-machine steps of SQLite, and the answer."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    bench.metadata.db.set_progress_handler(count, 1)
    found = disks.hot_segments(bench.metadata)
    bench.metadata.db.set_progress_handler(None)
    return steps, found


def test_finding_the_hot_segments_does_not_depend_on_the_number_of_extents(bench: Bench) -> None:
    bench.do(create(1, b"f", 2, FILE))
    costs = []
    for upto in (30, 3000):
        for number in range(bench.metadata.running.last_seq, upto):
            address = ops.Address(seq=number + 1, segment=1 + number % 3, data_position=number * 1000)
            apply(bench.metadata, ops.Write(2, number * 2, 1, [(0, 1)], number), address)
        cost, found = steps_of_hot_segments(bench)
        assert found == [1, 2, 3]
        costs.append(cost)
    assert costs[1] < costs[0] + 10, costs
