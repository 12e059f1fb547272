"""The journal at every power cut: what is recovered is an exact prefix, at least up to the last barrier."""

import errno
import itertools
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rustfsfs.errors import JournalFailed, NoSpace
from rustfsfs.journal import recovery
from rustfsfs.journal.journal import Journal
from tests.crash import nonces
from tests.crash.disk import CrashFiles, PowerLoss

KEY, UUID, FOLDER = b"k" * 32, b"u" * 16, "/v/journal"
SEGMENT_BYTES = 1 << 16
STATES = int(os.environ.get("RUSTFSFS_CRASH_STATES", "12"))
BIG = 19_000  # three of these fill a segment


@dataclass
class Run:
    """One life of a journal on a disk that may lose power; remembers what was acknowledged."""

    files: CrashFiles
    seed: int = 0
    ops: list[bytes] = field(default_factory=list)  # acknowledged, in order
    floor: int = 0  # durable: that many of them must come back
    committed: int = 0  # SQLite has them: need not come back
    journal: Journal | None = None
    doubtful: list[bytes] = field(
        default_factory=list
    )  # answered EIO just now: may have happened, until a later op did
    attempts: int = 0  # no two ops are the same, not even where a seq is used again

    def open(self) -> None:
        self.files.mkdir(FOLDER)
        found = recovery.scan(self.files, FOLDER, key=KEY, uuid=UUID, last_seq=self.committed, watermark=0)
        nonces.begin_life(self.files)
        draw = random.Random(self.seed + len(self.ops))
        self.journal = recovery.start(
            self.files,
            FOLDER,
            found,
            key=KEY,
            uuid=UUID,
            segment_bytes=SEGMENT_BYTES,
            random_bytes=draw.randbytes,
            epoch=0,
        )

    def append(self, data_size: int) -> None:
        assert self.journal is not None
        self.attempts += 1
        op, data = f"op {len(self.ops) + 1}, attempt {self.attempts}".encode(), b"d" * data_size
        try:
            address = self.journal.next_address(len(op), data_size)
            self.doubtful = [op]  # until it is answered, either way
            self.journal.append(address, op, [data] if data else [])
        except (JournalFailed, NoSpace):
            self.doubtful = []
            return
        self.doubtful = []
        self.ops.append(op)

    def barrier(self) -> None:
        assert self.journal is not None
        job = self.journal.sync_work()
        job.run()
        try:
            self.journal.finish(job)
        except JournalFailed:
            return
        self.floor = len(self.ops)

    def append_and_sync(self) -> None:
        self.append(0)
        self.barrier()

    def write_ahead(self) -> None:
        assert self.journal is not None
        self.journal.write_ahead()

    def failing(self, action: str, how: int | str) -> "Run":
        """The next such action fails."""
        self.files.failing[action] = [how]
        return self

    def commit(self) -> None:
        """As an epoch does: durable, committed, dead segments dropped."""
        assert self.journal is not None
        self.barrier()
        if self.floor < len(self.ops):
            return
        self.committed = len(self.ops)
        for segment in self.journal.droppable(self.committed, set()):
            self.journal.delete(self.journal.drop(segment))


Step = Callable[[Run], None]
STEPS: dict[str, Step] = {
    "small": lambda run: run.append(0),
    "big": lambda run: run.append(BIG),
    "barrier": Run.barrier,
    "commit": Run.commit,
    "write ahead": Run.write_ahead,
    "prepare": lambda run: run.journal.prepare() if run.journal else None,
    "failed append": lambda run: run.failing("pwrite", errno.EIO).append(5000),
    "short append": lambda run: run.failing("pwrite", "short").append(5000),
    "failed sync": lambda run: run.failing("sync", errno.EIO).append_and_sync(),
}
SEQUENCES = [*itertools.product(STEPS, repeat=2), ("big", "big", "big", "small", "barrier", "small")]
SEQUENCES += [
    ("small", "write ahead", "small", "big", "barrier", "write ahead", "small"),
    ("write ahead", "failed append", "write ahead", "small", "failed sync", "write ahead", "small"),
    ("small", "failed append", "small", "barrier", "failed append", "big"),
    ("small", "failed sync", "small", "failed sync", "small"),
    ("big", "failed sync", "big", "big", "small", "barrier"),
    ("prepare", "big", "big", "big", "big", "short append", "commit", "small"),
]


def recovered(files: CrashFiles, committed: int) -> tuple[list[bytes], recovery.Scan]:
    found = recovery.scan(files, FOLDER, key=KEY, uuid=UUID, last_seq=committed, watermark=0)
    assert found.blocked_at is None, found.damage
    records = list(found.records())
    assert [record.address.seq for record in records] == list(range(committed + 1, committed + 1 + len(records)))
    return [record.op or b"" for record in records], found


def check(run: Run, state: CrashFiles) -> None:
    back, _scan = recovered(state.copy(), run.committed)
    total = run.committed + len(back)
    assert back in [run.ops[run.committed : total], *([*run.ops[run.committed :], op] for op in run.doubtful)]
    assert total >= run.floor, (total, run.floor)
    # a second life: what it makes durable comes behind exactly this prefix, and nothing beyond the cut comes back
    second = Run(state, seed=1000, ops=run.ops[: run.committed] + back, committed=run.committed)
    second.open()
    assert second.journal is not None and second.journal.appended_seq == total
    second.attempts = 1000
    second.append(0)
    for after in state.states(limit=4, seed=3):
        back, _scan = recovered(after, run.committed)
        assert back == second.ops[run.committed : run.committed + len(back)] and len(back) >= total - run.committed
    second.barrier()
    for after in state.states(limit=2, seed=3):
        back, _scan = recovered(after, run.committed)
        assert back == second.ops[run.committed :]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda names: ", ".join(names))
@nonces.watched()
def test_every_power_cut_leaves_a_prefix_up_to_the_last_barrier(sequence: tuple[str, ...]) -> None:
    for die_at in itertools.count():
        run = Run(CrashFiles(die_at=die_at))
        try:
            run.open()
            for name in sequence:
                STEPS[name](run)
        except PowerLoss:
            finished = False
        else:
            finished = True
        if FOLDER in run.files._folders:
            for state in run.files.states(limit=STATES, seed=die_at):
                check(run, state)
        if finished:
            return


@nonces.watched()
def test_recovery_itself_may_be_cut_anywhere() -> None:
    first = Run(CrashFiles())
    first.open()
    for size in (0, BIG, 0):
        first.append(size)
    first.barrier()
    first.append(0)
    for state in first.files.states(limit=6, seed=5):
        for die_at in itertools.count():
            again = state.copy()
            again.die_at = die_at
            second = Run(again, seed=77, committed=0)
            try:
                second.open()
                finished = True
            except PowerLoss:
                finished = False
            for left in again.states(limit=6, seed=die_at):
                back, _scan = recovered(left, 0)
                assert back == first.ops[: len(back)] and len(back) >= first.floor
            if finished:
                break


@nonces.watched()
def test_what_was_appended_is_read_back_after_a_failed_sync_rewrote_it() -> None:
    run = Run(CrashFiles())
    run.open()
    journal = run.journal
    assert journal is not None
    address = journal.next_address(2, 40_000)
    journal.append(address, b"op", [b"x" * 40_000])
    run.files.failing["sync"] = [errno.EIO]
    job = journal.sync_work()
    job.run()
    journal.finish(job)
    assert journal.durable_seq == 1
    found = journal.read(address.segment, address.data_position, 40_000, 33_000, 50)
    assert found == b"x" * 50
    assert [record.op for record in journal.records_since(0)] == [b"op"]


@nonces.watched()
def test_a_second_failure_in_a_row_is_final() -> None:
    run = Run(CrashFiles())
    run.open()
    run.append(10)
    run.files.failing["sync"] = [errno.EIO, errno.EIO, errno.EIO]
    assert run.journal is not None
    job = run.journal.sync_work()
    job.run()
    with pytest.raises(JournalFailed):
        run.journal.finish(job)
    with pytest.raises(JournalFailed):
        run.journal.next_address(1, 0)
    job = run.journal.sync_work()
    with pytest.raises(JournalFailed):
        run.journal.finish(job)
