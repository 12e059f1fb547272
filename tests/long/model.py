"""make test-model: 100 000 random operations on a mount and on ext4, the same results but for known differences."""

import os
import tempfile
from pathlib import Path

from tests.long.results import Suite, run
from tests.model.operations import Draw
from tests.model.pair import paired, walk

STEPS = 100_000
STEPS_PER_VOLUME = 5000


def work(suite: Suite) -> None:
    volume = 0

    def compared(count: int) -> bool:
        suite.count(steps=count)
        return suite.has_time

    while suite.has_time and suite.totals.get("steps", 0) < STEPS:
        volume += 1
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with paired(Path(folder)) as pair:
                walk(pair, Draw(suite.seed * 1000 + volume), STEPS_PER_VOLUME, compared)


if __name__ == "__main__":
    run(Suite("model", minutes=60), work, needs="steps")
