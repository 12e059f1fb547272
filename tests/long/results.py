"""What a long suite has covered so far, over all its runs: a file of JSON, written after every step that counts."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("RESULTS") or ".results")


@dataclass
class Suite:
    """One run of one suite. `totals` add up over runs; `state` is where it goes on."""

    name: str
    minutes: float  # if MINUTES does not say otherwise
    totals: dict[str, int] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)  # in this run

    def __post_init__(self) -> None:
        self.started_s = time.monotonic()
        self.minutes = float(os.environ.get("MINUTES") or self.minutes)
        FOLDER.mkdir(exist_ok=True)
        if self.path.exists():
            found = json.loads(self.path.read_text())
            self.totals, self.state = found["totals"], found["state"]
        self.totals["runs"] = self.totals.get("runs", 0) + 1
        self.seed = int(os.environ.get("SEED") or self.totals["runs"])

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.json"

    @property
    def has_time(self) -> bool:
        return time.monotonic() - self.started_s < self.minutes * 60

    def count(self, **amounts: int) -> None:
        """Add what was covered just now, and keep it."""
        for name, amount in amounts.items():
            self.covered[name] = self.covered.get(name, 0) + amount
            self.totals[name] = self.totals.get(name, 0) + amount
        self.save()

    def save(self) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"totals": self.totals, "state": self.state}, indent=1))
        temporary.replace(self.path)

    def line(self) -> str:
        took = (time.monotonic() - self.started_s) / 60
        now = ", ".join(f"{amount:,} {name}" for name, amount in self.covered.items()) or "nothing"
        total = ", ".join(f"{amount:,} {name}" for name, amount in self.totals.items())
        return f"{self.name}: {now} in {took:.1f} min (seed {self.seed}); in all {total}"


def run(suite: Suite, work: Callable[[Suite], None], *, needs: str) -> None:
    """Do the work; exit 1 with the line if it failed, or if it covered none of what it `needs`."""
    try:
        work(suite)
    except AssertionError as exc:
        print(f"{suite.name} FAILED: {exc}")
        print(suite.line())
        sys.exit(1)
    finally:
        suite.save()
    print(suite.line())
    if not suite.covered.get(needs):
        print(f"{suite.name} FAILED: it covered no {needs}")
        sys.exit(1)
