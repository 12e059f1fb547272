"""make test-crash: power cuts of whole volumes, enumerated, until 200 000 different states were recovered.

All sequences of one and of two steps, then a sample of three, drawn by the seed. Each is cut before every action of its
last step (what comes before is the story of the steps before), and its replay compared byte for byte; of some the
recovery is cut, the process killed, the snapshots restored, the disk made to fail. First of all every mutant (the code
without one of its syncs, with a wrong order, or with a nonce that repeats) has to be caught.
"""

import errno
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.crash import mutants
from tests.crash.disk import Everything
from tests.crash.story import (
    Explored,
    explore,
    explore_kill,
    explore_recovery,
    explore_snapshots,
    replayed,
    sequences,
    told,
)
from tests.long.results import FOLDER, Suite, run

STATES = 200_000
LIMIT = {1: 400, 2: 120, 3: 60}  # states of one cut at the most, by the length of the sequence
BUDGET = {1: 4000, 2: 160, 3: 120}  # of all its cuts, so that all sequences of two come within the 200 000
LIMIT_MIN = 2  # nothing of what was not synced, and all of it
RECOVERIES = {1: 3, 2: 1, 3: 1}  # about as many are cut everywhere
FAULTS: list[tuple[str, int | str]] = [("sync", errno.EIO), ("pwrite", errno.EIO), ("pwrite", "short")]
HASH_SIZE = 16
MUTANT_S = 1200  # a minute where nothing else runs


def tasks(seed: int) -> Iterator[tuple[str, ...]]:
    yield from sequences(1)
    draw = random.Random(seed)
    for length in (2, 3):
        found = sequences(length)
        draw.shuffle(found)
        yield from found


@dataclass(frozen=True)
class Cut:
    """What became of one sequence."""

    steps: tuple[str, ...]
    hashes: list[bytes]  # of the states recovered
    judged: int  # how often one was
    trouble: str = ""


def told_and_cut(steps: tuple[str, ...], seed: int) -> Cut:
    """In a process of its own."""
    try:
        explored = _explored(steps, seed)
    except Exception as exc:
        return Cut(steps, [], 0, f"{', '.join(steps)}, seed {seed}: {exc!r}")
    return Cut(steps, list(explored.found), explored.judged)


def _explored(steps: tuple[str, ...], seed: int) -> Explored:
    logging.getLogger("rustfsfs").disabled = True
    explored, draw = Explored(), random.Random(f"{seed} {steps}")
    with tempfile.TemporaryDirectory() as folder:
        story = told(Path(folder) / "v", steps)
        length, first = len(steps), story.last_step
        cuts = story.last - first + 1
        limit = max(LIMIT_MIN, min(LIMIT[length], BUDGET[length] // cuts))
        explore(story, explored, limit=limit, seed=seed, first=first)
        assert replayed(story.path, story.files.power_loss(Everything())) == story.image, f"{steps}: replay differs"
        if "snapshot" in steps:
            explore_snapshots(story)
        kind = draw.randrange(4) if length > 1 else 0
        if kind == 0:
            share = min(0.3, RECOVERIES[length] / cuts)
            then = ("mkdir later", "fsync", "create later")
            drawn = draw.randrange(1 << 30)
            explore_recovery(story, explored, limit=3, seed=drawn, steps=then, share=share, first=first)
        elif kind == 1:
            explore_kill(told(Path(folder) / "k", steps), explored, limit=3, seed=seed, steps=("mkdir later", "fsync"))
        elif kind == 2:
            action, how = draw.choice(FAULTS)
            faults = {action: [*[None] * draw.randrange(12), how]}
            explore(told(Path(folder) / "f", steps, faults=faults, well=story), explored, limit=limit, seed=seed)
    return explored


def work(suite: Suite) -> None:
    hunt_mutants(suite)
    path = FOLDER / "crash.states"
    data = path.read_bytes() if path.exists() else b""
    seen = {data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)}
    done: list[list[str]] = suite.state.setdefault("sequences", [])
    known = {tuple(steps) for steps in done}
    left = (steps for steps in tasks(suite.seed) if steps not in known)
    trouble: list[str] = []
    for cut in _all_cut(suite, left):
        if cut.trouble:
            print(cut.trouble, file=sys.stderr, flush=True)
            trouble.append(cut.trouble)
            continue
        fresh = [one for one in cut.hashes if one not in seen]
        seen.update(fresh)
        with open(path, "ab") as file:
            file.write(b"".join(fresh))
        done.append(list(cut.steps))
        suite.count(states=len(fresh), judgements=cut.judged, sequences=1)
        if len(seen) >= STATES:
            break
    assert not trouble, f"{len(trouble)} sequences went wrong, the first: {trouble[0]}"


def _all_cut(suite: Suite, left: Iterator[tuple[str, ...]]) -> Iterator[Cut]:
    """One after the other while there is time, in WORKERS processes."""
    workers = int(os.environ.get("WORKERS") or os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, max_tasks_per_child=100) as pool:
        running = {pool.submit(told_and_cut, steps, suite.seed) for steps in islice(left, workers + 1)}
        while running:
            future = next(as_completed(running))
            running.remove(future)
            if suite.has_time:
                running |= {pool.submit(told_and_cut, steps, suite.seed) for steps in islice(left, 1)}
            yield future.result()


def hunt_mutants(suite: Suite) -> None:
    """Each once, as long as the code is as it was then."""
    caught: dict[str, str] = suite.state.setdefault("mutants", {})
    survived: list[str] = []
    for name, mutant in mutants.mutants().items():
        text = mutants.digest_of(mutant)
        if caught.get(name) == text or not suite.has_time:
            continue
        if _is_caught(name):
            caught[name] = text
            suite.count(mutants=1)
        else:
            survived.append(name)
    assert not survived, f"the suite does not notice {len(survived)} mutants: {'; '.join(survived)}"


def _is_caught(name: str) -> bool:
    command = [sys.executable, "-m", "tests.crash.mutants", name]
    try:
        return subprocess.run(command, timeout=MUTANT_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


if __name__ == "__main__":
    run(Suite("crash", minutes=60), work, needs="states")
