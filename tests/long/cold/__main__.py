"""make test-cold: the cold tier's acceptance, one part for each criterion, each with its figures beside the goal.

PARTS="whole speed" chooses some; SCALE=0.1 makes all of them smaller: quick, and no proof. As root.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable

from tests.conftest import can_mount
from tests.long.cold import commands, hour, kills, large, outages, script, secrecy, small, speed, watermark, whole
from tests.long.results import Suite, run

PARTS: dict[str, Callable[[float], str]] = {
    "whole": whole.check,
    "speed": speed.check,
    "gets": small.check_gets,
    "puts": small.check_puts,
    "watermark": watermark.check,
    "demoting": script.check_demoting,
    "reading": script.check_reading,
    "kills": kills.check,
    "commands": commands.check,
    "hour": hour.check,
    "outages": outages.check,
    "secrecy": secrecy.check,
    "large": large.check,
}


def chosen() -> list[str]:
    """Exits if one is unknown, or none can run here: that is no success."""
    reason = can_mount()
    names = os.environ.get("PARTS", "").split() or list(PARTS)
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        reason = f"unknown: {' '.join(unknown)}; there are: {' '.join(PARTS)}"
    if reason is not None:
        print(reason)
        sys.exit(2)
    return names


def work(suite: Suite) -> None:
    scale = float(os.environ.get("SCALE") or 1.0)
    failed = []
    for name in chosen():
        began_s = time.monotonic()
        try:
            said = PARTS[name](scale)
            suite.count(parts=1)
        except Exception as exc:  # the other parts have their turn
            failed.append(name)
            said = f"FAILED: {exc}"
            if not isinstance(exc, AssertionError):
                traceback.print_exc()
        print(f"{name} ({time.monotonic() - began_s:.0f} s): {said}", flush=True)
    assert not failed, f"{', '.join(failed)} of the parts"


if __name__ == "__main__":
    run(Suite("cold", minutes=60), work, needs="parts")
