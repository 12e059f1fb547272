"""Limits: bytes per second each way, and requests at once, fewer when the bucket asks for that.

Deciding is pure (`take`, `grown`, `shrunk`, `resized`); `Bandwidth` and `Gate` hold the state for threads, and may be
shared. Both can be changed while threads wait in them.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from rustfsfs.errors import CloudThrottled
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.world import Timing

T = TypeVar("T")
LOOK_S = 10.0  # who sleeps for bytes sees a new rate within this long


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    rate_bytes_s: float
    burst_bytes: float  # what an idle while may save up
    tokens: float  # bytes; below zero while what was sent is not paid for
    at_s: float


def take(bucket: TokenBucket, size: int, *, now_s: float) -> tuple[TokenBucket, float]:
    """Take `size` tokens; returns the seconds to wait first: for what went before, not for these.

    So a pack goes at once after an idle while, and what follows waits. Keeps: over any time t no more than
    rate * t + burst + one body.
    """
    elapsed_s = max(0.0, now_s - bucket.at_s)
    tokens = min(bucket.burst_bytes, bucket.tokens + elapsed_s * bucket.rate_bytes_s)
    taken = replace(bucket, tokens=tokens - size, at_s=max(now_s, bucket.at_s))
    return taken, max(0.0, -tokens / bucket.rate_bytes_s)


class Bandwidth:
    """Threads take bytes from it, and sleep when there are none. Rate 0: as fast as it goes."""

    def __init__(self, rate_bytes_s: float, *, timing: Timing) -> None:
        self._timing = timing
        self._lock = threading.Lock()
        self._bucket: TokenBucket | None = None
        self.change(rate_bytes_s)

    @property
    def rate_bytes_s(self) -> float:
        bucket = self._bucket
        return 0.0 if bucket is None else bucket.rate_bytes_s

    def change(self, rate_bytes_s: float) -> None:
        """What is owed stays owed, and is paid for at the new rate: by who sleeps for it too, within LOOK_S."""
        assert rate_bytes_s >= 0, rate_bytes_s
        now_s, saved = self._timing.clock_s(), rate_bytes_s  # a second's worth may be saved up
        with self._lock:
            if self._bucket is not None:
                saved = min(saved, take(self._bucket, 0, now_s=now_s)[0].tokens)
            self._bucket = None
            if rate_bytes_s:
                self._bucket = TokenBucket(
                    rate_bytes_s=rate_bytes_s, burst_bytes=rate_bytes_s, tokens=saved, at_s=now_s
                )

    def take(self, size: int) -> None:
        if not size:
            return
        with self._lock:
            if self._bucket is None:
                return
            self._bucket, wait_s = take(self._bucket, size, now_s=self._timing.clock_s())
            owed_bytes = wait_s * self._bucket.rate_bytes_s
        while owed_bytes >= 1 and (bucket := self._bucket) is not None:
            pause_s = min(LOOK_S, owed_bytes / bucket.rate_bytes_s)
            self._timing.sleep(pause_s)
            owed_bytes -= pause_s * bucket.rate_bytes_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How many requests at once: additive increase, multiplicative decrease (AIMD)."""

    size: float
    size_max: int
    shrinks: int = 0


def grown(window: Window) -> Window:
    """After an answer: by one for each full window of them."""
    return replace(window, size=min(window.size_max, window.size + 1 / window.size))


def shrunk(window: Window, *, shrinks_seen: int) -> Window:
    """After a request to slow down: by half, once for all requests that began before the last time (`shrinks_seen`)."""
    if shrinks_seen != window.shrinks:
        return window
    return replace(window, size=max(1.0, window.size / 2), shrinks=window.shrinks + 1)


def resized(window: Window, size_max: int) -> Window:
    """With another maximum. One that was asked to slow down grows to it by answers."""
    size = float(size_max) if window.size >= window.size_max else min(window.size, size_max)
    return replace(window, size=size, size_max=size_max)


class Gate:
    """Lets so many threads in as its window has places; the others wait their turn."""

    def __init__(self, size_max: int) -> None:
        assert size_max >= 1, size_max
        self._window = Window(size=size_max, size_max=size_max)
        self._inside = 0
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """Places now; for status."""
        return int(self._window.size)

    def resize(self, size_max: int) -> None:
        """Who is inside stays: fewer places are kept to as they leave."""
        assert size_max >= 1, size_max
        with self._changed:
            self._window = resized(self._window, size_max)
            self._changed.notify_all()

    @contextmanager
    def place(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._inside < int(self._window.size))
            self._inside += 1
            shrinks_seen = self._window.shrinks
        throttled = answered = False
        try:
            yield
            answered = True
        except CloudThrottled:
            throttled = True
            raise
        finally:
            with self._changed:
                self._inside -= 1
                if throttled:
                    self._window = shrunk(self._window, shrinks_seen=shrinks_seen)
                elif answered:
                    self._window = grown(self._window)
                self._changed.notify_all()


class LimitedBucket(WrappedBucket):
    """`up` and `down` None: as fast as it goes."""

    def __init__(
        self, inner: Bucket, *, gate: Gate, up: Bandwidth | None = None, down: Bandwidth | None = None
    ) -> None:
        super().__init__(inner)
        self._gate = gate
        self._up = up
        self._down = down

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        for bandwidth, size in ((self._up, up_bytes), (self._down, down_bytes)):
            if bandwidth is not None:
                bandwidth.take(size)
        with self._gate.place():
            return send()
