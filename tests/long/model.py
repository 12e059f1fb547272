"""make test-model: 100 000 random operations on a mount and on ext4, the same results but for known differences."""

import os
import tempfile
from pathlib import Path

from tests.long.results import Suite, run
from tests.model.operations import Draw
from tests.model.pair import COMPARE_EVERY, DISTURB_EVERY, Pair, is_known_to_differ, paired

STEPS = 100_000
STEPS_PER_VOLUME = 5000


def work(suite: Suite) -> None:
    volume = 0
    while suite.has_time and suite.totals.get("steps", 0) < STEPS:
        volume += 1
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            with paired(Path(folder)) as pair:
                walk(suite, pair, Draw(suite.seed * 1000 + volume))


def walk(suite: Suite, pair: Pair, draw: Draw) -> None:
    for number in range(1, STEPS_PER_VOLUME + 1):
        operation = draw.operation()
        while is_known_to_differ(operation):
            operation = draw.operation()
        pair.do(operation)
        if number % COMPARE_EVERY == 0:
            pair.compare()
            suite.count(steps=COMPARE_EVERY)
        if number % DISTURB_EVERY == 0:
            pair.disturb(number // DISTURB_EVERY)
            pair.compare()
        if not suite.has_time:
            break
    pair.mounted.umount()
    findings = pair.mounted.fsck("--data")
    assert findings == [], findings[:5]


if __name__ == "__main__":
    run(Suite("model", minutes=60), work, needs="steps")
