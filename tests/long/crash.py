"""make test-crash: power cuts of whole volumes, enumerated, until 200 000 different states were recovered.

All sequences of one and of two steps, then a sample of three, drawn by the seed. Each is cut before every action, and
its replay compared byte for byte; of some the recovery is cut, the process killed, the snapshots restored, the disk
made to fail. First of all every mutant (the code without one of its syncs, or with a wrong order) has to be caught.
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
LIMIT = {1: 400, 2: 120, 3: 60}  # states of one cut, by the length of the sequence
FAULTS: list[tuple[str, int | str]] = [("sync", errno.EIO), ("pwrite", errno.EIO), ("pwrite", "short")]
HASH_SIZE = 16
MUTANT_S = 300


def tasks(seed: int) -> Iterator[tuple[str, ...]]:
    yield from sequences(1)
    draw = random.Random(seed)
    for length in (2, 3):
        found = sequences(length)
        draw.shuffle(found)
        yield from found


def told_and_cut(steps: tuple[str, ...], seed: int) -> tuple[tuple[str, ...], list[bytes], int]:
    """(steps, hashes of the states recovered, how often one was judged). In a process of its own."""
    logging.getLogger("rustfsfs").disabled = True
    explored, draw = Explored(), random.Random(f"{seed} {steps}")
    with tempfile.TemporaryDirectory() as folder:
        story = told(Path(folder) / "v", steps)
        explore(story, explored, limit=LIMIT[len(steps)], seed=seed)
        assert replayed(story.path, story.files.power_loss(Everything())) == story.image, f"{steps}: replay differs"
        if "snapshot" in steps:
            explore_snapshots(story)
        kind = draw.randrange(4) if len(steps) > 1 else 0
        if kind == 0:
            explore_recovery(story, explored, limit=3, seed=seed, steps=("mkdir", "fsync", "create later"))
        elif kind == 1:
            explore_kill(told(Path(folder) / "k", steps), explored, limit=6, seed=seed, steps=("mkdir", "fsync"))
        elif kind == 2:
            action, how = draw.choice(FAULTS)
            faults = {action: [*[None] * draw.randrange(12), how]}
            explore(told(Path(folder) / "f", steps, faults=faults, well=story), explored, limit=12, seed=seed)
    return steps, list(explored.found), explored.judged


def work(suite: Suite) -> None:
    hunt_mutants(suite)
    path = FOLDER / "crash.states"
    data = path.read_bytes() if path.exists() else b""
    seen = {data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)}
    done: list[list[str]] = suite.state.setdefault("sequences", [])
    known = {tuple(steps) for steps in done}
    left = (steps for steps in tasks(suite.seed) if steps not in known)
    with ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=20) as pool:
        running = {pool.submit(told_and_cut, steps, suite.seed) for steps, _ in zip(left, range(4), strict=False)}
        while running:
            future = next(as_completed(running))
            running.remove(future)
            steps, hashes, judged = future.result()
            fresh = [one for one in hashes if one not in seen]
            seen.update(fresh)
            with open(path, "ab") as file:
                file.write(b"".join(fresh))
            done.append(list(steps))
            suite.count(states=len(fresh), judgements=judged, sequences=1)
            following = next(left, None)
            if following is not None and suite.has_time and len(seen) < STATES:
                running.add(pool.submit(told_and_cut, following, suite.seed))


def hunt_mutants(suite: Suite) -> None:
    """Each once, as long as the code is as it was then."""
    caught: dict[str, str] = suite.state.setdefault("mutants", {})
    for name, mutant in mutants.mutants().items():
        text = mutants.digest_of(mutant)
        if caught.get(name) == text or not suite.has_time:
            continue
        done = subprocess.run([sys.executable, "-m", "tests.crash.mutants", name], timeout=MUTANT_S, check=False)
        assert done.returncode == 0, f"the suite does not notice the mutant {name!r}"
        caught[name] = text
        suite.count(mutants=1)


if __name__ == "__main__":
    run(Suite("crash", minutes=60), work, needs="states")
