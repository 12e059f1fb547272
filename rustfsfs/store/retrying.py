"""Trying again: after a while that grows and is drawn by lot, up to a deadline.

Drawn by lot over its whole length (full jitter), so that clients which failed together do not come back together.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import (
    CircuitOpen,
    CloudThrottled,
    CloudUnavailable,
    DamagedData,
    ObjectExists,
    RustfsfsError,
    StoreError,
)
from rustfsfs.store.bucket import Bucket, ObjectFacts
from rustfsfs.store.crc64 import crc64
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.world import Timing

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    first_delay_s: float = 0.1  # the most that is waited after the first failure; doubled after each
    delay_s_max: float = 10.0
    deadline_s: float = 30.0  # from the first attempt; none begins later
    damaged_attempts_max: int = 3  # bytes that come wrong so often are wrong


def plan_retry(
    error: RustfsfsError, *, policy: RetryPolicy, attempt_no: int, elapsed_s: float, jitter: float
) -> float | None:
    """Seconds to wait before the next attempt, None to give up.

    attempt_no  1 after the first attempt
    jitter      0 .. 1, drawn by lot
    """
    assert attempt_no >= 1 and 0 <= jitter <= 1, (attempt_no, jitter)
    delay_s = jitter * min(policy.delay_s_max, policy.first_delay_s * 2.0 ** min(attempt_no - 1, 64))
    match error:
        case CircuitOpen():
            return None
        case CloudThrottled():
            delay_s += error.delay_s or 0.0
        case CloudUnavailable():
            pass
        case DamagedData() if attempt_no < policy.damaged_attempts_max:
            pass
        case _:
            return None
    return delay_s if elapsed_s + delay_s < policy.deadline_s else None


class RetryingBucket(WrappedBucket):
    """Gives up with the last attempt's error."""

    def __init__(self, inner: Bucket, *, policy: RetryPolicy, timing: Timing) -> None:
        super().__init__(inner)
        self._policy = policy
        self._timing = timing

    @property
    def deadline_s(self) -> float:
        return self._policy.deadline_s

    def give_up_after(self, deadline_s: float) -> None:
        """From now on, for requests under way too."""
        self._policy = replace(self._policy, deadline_s=deadline_s)

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        start_s = self._timing.clock_s()
        attempt_no = 0
        while True:
            attempt_no += 1
            try:
                return send()
            except (StoreError, DamagedData) as exc:
                delay_s = plan_retry(
                    exc,
                    policy=self._policy,
                    attempt_no=attempt_no,
                    elapsed_s=self._timing.clock_s() - start_s,
                    jitter=self._timing.jitter(),
                )
                if delay_s is None:
                    raise
            self._timing.sleep(delay_s)

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        """As `Bucket.put`; an object that an attempt left behind whose answer was lost is the one we wanted."""
        perhaps_there = False

        def send() -> ObjectFacts:
            nonlocal perhaps_there
            try:
                return self._inner.put(key, body, placement=placement)
            except ObjectExists:
                if not perhaps_there:
                    raise
                facts = self._inner.head(key)
                if (facts.size_bytes, facts.crc64) != (memoryview(body).nbytes, crc64(body)):
                    raise
                return facts
            except (CloudUnavailable, DamagedData):
                perhaps_there = True
                raise

        return self._request(send)
