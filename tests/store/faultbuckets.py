"""Buckets with one fault each, around a good one; and time that passes only when somebody sleeps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rustfsfs.errors import CloudUnavailable, RustfsfsError
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.world import Timing

T = TypeVar("T")


class FailsFirst(WrappedBucket):
    """Raises the given errors, one for each request, before it lets any through. Counts requests."""

    def __init__(self, inner: Bucket, *errors: RustfsfsError) -> None:
        super().__init__(inner)
        self.errors = list(errors)
        self.requests_count = 0

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        self.requests_count += 1
        if self.errors:
            raise self.errors.pop(0)
        return send()


class LosesAnswers(WrappedBucket):
    """Does what it is asked to, and for the first `count` requests does not say so."""

    def __init__(self, inner: Bucket, count: int) -> None:
        super().__init__(inner)
        self.count = count

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        result = send()
        if self.count > 0:
            self.count -= 1
            raise CloudUnavailable("the answer was lost")
        return result


@dataclass
class FakeTime:
    """Seconds since it began; `slept` is what was slept."""

    now_s: float = 0.0
    jitter: float = 1.0
    slept: list[float] = field(default_factory=list)

    @property
    def timing(self) -> Timing:
        return Timing(clock_s=lambda: self.now_s, sleep=self.sleep, jitter=lambda: self.jitter)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0, seconds
        self.slept.append(seconds)
        self.now_s += seconds
