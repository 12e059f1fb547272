"""Limits: bytes per second each way, and requests at once, fewer when the bucket asks for that.

Deciding is pure (`take`, `grown`, `shrunk`); `Bandwidth` and `Gate` hold the state for threads, and may be shared.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from rustfsfs.errors import CloudThrottled, StoreError
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.world import Timing

T = TypeVar("T")


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
    """Threads take bytes from it, and sleep when there are none."""

    def __init__(self, rate_bytes_s: float, *, timing: Timing) -> None:
        assert rate_bytes_s > 0, rate_bytes_s
        self._timing = timing
        self._lock = threading.Lock()
        self._bucket = TokenBucket(
            rate_bytes_s=rate_bytes_s, burst_bytes=rate_bytes_s, tokens=rate_bytes_s, at_s=timing.clock_s()
        )  # a second's worth may be saved up

    def take(self, size: int) -> None:
        if not size:
            return
        with self._lock:
            self._bucket, wait_s = take(self._bucket, size, now_s=self._timing.clock_s())
        if wait_s:
            self._timing.sleep(wait_s)

    def take_last(self, size: int) -> None:
        """As `take`, but not before all that others took is paid for: who takes so lets them go first.

        `take` waits for one of these at the most, however many there are.
        """
        while size:
            with self._lock:
                bucket, wait_s = take(self._bucket, 0, now_s=self._timing.clock_s())
                if not wait_s:
                    self._bucket = replace(bucket, tokens=bucket.tokens - size)
                    return
            self._timing.sleep(wait_s)

    def give_back(self, size: int) -> None:
        """What was taken and did not travel. Who sleeps already is not woken for it."""
        with self._lock:
            tokens = min(self._bucket.burst_bytes, self._bucket.tokens + size)
            self._bucket = replace(self._bucket, tokens=tokens)


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
    """`up` and `down` None: as fast as it goes. `gives_way`: of what comes down others have theirs first.

    A request that fails pays for what has passed of its body: else an outage, in which nothing does, would be paid for
    long after it ended. Who gave up waiting for an answer pays for all, since the request goes on and its bytes come.
    """

    def __init__(
        self,
        inner: Bucket,
        *,
        gate: Gate,
        up: Bandwidth | None = None,
        down: Bandwidth | None = None,
        gives_way: bool = False,
    ) -> None:
        super().__init__(inner)
        self._gives_way = gives_way
        self._gate = gate
        self._up = up
        self._down = down

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        taken = [(way, size) for way, size in ((self._up, up_bytes), (self._down, down_bytes)) if way is not None]
        for way, size in taken:
            if self._gives_way and way is self._down:
                way.take_last(size)
            else:
                way.take(size)
        try:
            with self._gate.place():
                return send()
        except StoreError as exc:
            if exc.passed_bytes is not None:
                for way, size in taken:
                    way.give_back(max(0, size - exc.passed_bytes))
            raise
