"""Many lives of one journal, each ended by a power cut: appends, failures, commits and drops in any order.

The model is a list of ops. Each life must begin with a prefix of the one before, read back the same records that it
recovered, find the data of every record still named, and never show anything that a cut made void.
"""

import errno
import os
import random
from dataclasses import dataclass, field

import pytest

from rustfsfs import ops
from rustfsfs.errors import JournalFailed, NoSpace
from rustfsfs.journal.journal import Journal
from tests.crash import nonces
from tests.crash.disk import CrashFiles
from tests.journal.lives import append, barrier, disk, drop_dead, found_ops, scan, since, start

RUNS = int(os.environ.get("RUSTFSFS_CRASH_RUNS", "150"))
LIVES, STEPS = 6, 14
DATA_SIZES = (0, 0, 10, 700, 3000)


@dataclass
class Model:
    """What a volume knows: SQLite's side is always durable here."""

    happened: list[bytes] = field(default_factory=list)
    doubtful: list[bytes] = field(default_factory=list)  # answered EIO, and no op since: one may have happened
    durable: int = 0  # so many must come back
    committed: int = 0
    data: dict[int, tuple[ops.Address, bytes]] = field(default_factory=dict)  # by seq: extents
    made: int = 0  # ops ever tried; none is like another


def data_of(op: bytes, size: int) -> bytes:
    return (op * (size // len(op) + 1))[:size]


def live(files: CrashFiles, journal: Journal, model: Model, draw: random.Random) -> None:
    for _ in range(draw.randrange(1, STEPS)):
        step = draw.choices(
            (
                "append",
                "barrier",
                "slow barrier",
                "commit",
                "prepare",
                "roll",
                "bad append",
                "bad sync",
                "forget",
                "ahead",
            ),
            (10, 2, 1, 3, 2, 1, 1, 1, 2, 3),
        )[0]
        if step == "append":
            try_append(journal, model, draw)
        elif step == "bad append":
            files.failing["pwrite"] = [draw.choice((errno.EIO, "short"))]
            try_append(journal, model, draw)
        elif step == "bad sync":
            files.failing["sync"] = [errno.EIO] * draw.choice((1, 1, 1, 2))
            try_barrier(journal, model)
        elif step == "barrier":
            try_barrier(journal, model)
        elif step == "slow barrier":
            append_during_barrier(journal, model, draw)
        elif step == "prepare":
            prepare(journal)
        elif step == "ahead":
            files.failing["pwrite"] = [draw.choice((None, None, errno.EIO, "short"))]
            journal.write_ahead()
        elif step == "roll":
            try_address(journal)
        elif step == "forget" and model.data:
            del model.data[draw.choice(list(model.data))]  # overwritten or sealed: nothing names it
        elif step == "commit" and try_barrier(journal, model):
            model.committed = len(model.happened)
            drop_dead(journal, model.committed, {address.segment for address, _data in model.data.values()})
        files.failing.clear()


def try_address(journal: Journal) -> None:
    """An op got its address and then failed in apply: a segment may have been begun, and nothing was written."""
    try:
        journal.next_address(5, 3000)
    except (JournalFailed, NoSpace):
        return


def prepare(journal: Journal) -> None:
    try:
        journal.prepare()
    except NoSpace:
        return


def try_append(journal: Journal, model: Model, draw: random.Random) -> None:
    model.made += 1
    op = f"op {len(model.happened) + 1}, number {model.made} ever made".encode()
    data = data_of(op, draw.choice(DATA_SIZES))
    try:
        address = append(journal, op, data)
    except (JournalFailed, NoSpace):
        model.doubtful.append(op)
        assert since(journal, model.committed) == model.happened[model.committed :]
        return
    model.doubtful.clear()
    model.happened.append(op)
    if data:
        model.data[address.seq] = (address, data)


def append_during_barrier(journal: Journal, model: Model, draw: random.Random) -> None:
    """A sync has done its work in a worker; before that is noted, one more record comes."""
    count, job = len(model.happened), journal.sync_work()
    job.run()
    try_append(journal, model, draw)
    try:
        journal.finish(job)
    except JournalFailed:
        return
    model.durable = max(model.durable, count)


def try_barrier(journal: Journal, model: Model) -> bool:
    try:
        barrier(journal)
    except JournalFailed:
        return False
    model.durable = len(model.happened)
    return True


def recover(files: CrashFiles, model: Model) -> Journal:
    """The next life; `model` becomes what was left."""
    watermark = model.committed  # as the last COMMIT wrote it
    found = scan(files, last_seq=model.committed, watermark=watermark)
    assert found.blocked_at is None, found.damage
    back = found_ops(found)
    before = model.happened[model.committed :]
    model.happened += [op for op in model.doubtful if back == [*before, op]]
    assert back == model.happened[model.committed : model.committed + len(back)]
    count = model.committed + len(back)
    assert count >= model.durable
    del model.happened[count:]
    model.doubtful, model.durable = [], count
    for seq in [seq for seq in model.data if seq > count]:
        del model.data[seq]
    journal = start(files, found)
    for committed in range(model.committed, count + 1):
        assert since(journal, committed) == model.happened[committed:]
    for address, data in model.data.values():
        assert journal.read(address.segment, address.data_position, len(data), 0, len(data)) == data
    return journal


def cut(files: CrashFiles, draw: random.Random) -> CrashFiles:
    """What a power cut, or now and then only a kill, leaves."""
    if draw.random() < 0.2:
        return files
    return draw.choice(list(files.states(limit=6, seed=draw.randrange(1 << 30))))


@nonces.watched()
def lives_of_a_journal(seed: int) -> None:
    draw = random.Random(seed)
    files, model = disk(), Model()
    for _ in range(LIVES):
        journal = recover(files, model)
        live(files, journal, model, draw)
        files = cut(files, draw)
        for _ in range(draw.randrange(3)):  # recovery itself is cut
            recover(files, model)
            files = cut(files, draw)
    recover(files, model)


@pytest.mark.parametrize("seed", range(RUNS))
def test_each_life_goes_on_from_a_prefix_of_the_one_before(seed: int) -> None:
    lives_of_a_journal(seed)
