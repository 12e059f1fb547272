"""How long something took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Timer:
    s: float = 0.0  # seconds, once the block has ended


@contextmanager
def timed() -> Iterator[Timer]:
    timer, started_s = Timer(), time.perf_counter()
    yield timer
    timer.s = time.perf_counter() - started_s
