"""A circuit breaker: a bucket that has not answered for a while is not asked, but for one probe now and then.

So an outage costs nobody a timeout, refused credentials are not sent a thousand times, and the first answer ends it.
Deciding is pure (`admit`, `after`); `Breaker` holds the state for threads, and may stand in several wrapped buckets.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from rustfsfs.errors import CircuitOpen, CloudRefused, CloudThrottled, CloudUnavailable, RustfsfsError
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.wrapper import WrappedBucket

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    failures_max: int = 5  # in a row, and
    failing_s_min: float = 10.0  # for so long: many requests at once may fail from one hiccup
    open_s: float = 5.0  # until the first probe; doubled with each that fails
    open_s_max: float = 120.0


class Verdict(Enum):
    """What one request tells of the bucket."""

    ANSWERED = "answered"  # also with "no such object", or "slow down"
    FAILED = "failed"
    REFUSED = "refused"
    NOTHING = "nothing"  # a bug of ours, or an interrupt


def verdict_of(exc: BaseException | None) -> Verdict:
    match exc:
        case CloudUnavailable() if not isinstance(exc, CloudThrottled):
            return Verdict.FAILED
        case CloudRefused():
            return Verdict.REFUSED
        case None | RustfsfsError():
            return Verdict.ANSWERED
        case _:
            return Verdict.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """The state. Times are the monotonic clock's."""

    failures_in_row: int = 0
    failing_since_s: float | None = None  # the first of them
    probe_at_s: float | None = None  # None: closed, requests pass
    probing: bool = False
    probes_failed: int = 0
    refused: bool = False  # the last failure was a refusal
    last_error: str = ""  # kept when it is over


def admit(circuit: Circuit, *, now_s: float) -> tuple[Circuit, bool]:
    """May a request pass? If it is the probe, the others wait for what becomes of it."""
    if circuit.probe_at_s is None:
        return circuit, True
    if circuit.probing or now_s < circuit.probe_at_s:
        return circuit, False
    return replace(circuit, probing=True), True


def after(
    circuit: Circuit,
    verdict: Verdict,
    *,
    was_probe: bool,
    error: str,
    now_s: float,
    policy: BreakerPolicy,
    is_write: bool = False,
) -> Circuit:
    """The state once a request is over. A write that is refused opens nothing: who may not write may read perhaps, and
    those who write pause by themselves.
    """
    probing = circuit.probing and not was_probe
    match verdict:
        case Verdict.NOTHING:
            return replace(circuit, probing=probing)
        case Verdict.ANSWERED:
            return Circuit(last_error=circuit.last_error)
        case Verdict.FAILED | Verdict.REFUSED:
            pass
    since_s = now_s if circuit.failing_since_s is None else circuit.failing_since_s
    failed = replace(
        circuit,
        failures_in_row=circuit.failures_in_row + 1,
        failing_since_s=since_s,
        probing=probing,
        refused=verdict is Verdict.REFUSED,
        last_error=error,
    )
    if was_probe and circuit.probe_at_s is not None:
        open_s = min(policy.open_s_max, policy.open_s * 2.0 ** min(circuit.probes_failed + 1, 64))
        return replace(failed, probe_at_s=now_s + open_s, probes_failed=circuit.probes_failed + 1)
    if is_write and verdict is Verdict.REFUSED:
        return replace(failed, failures_in_row=circuit.failures_in_row)
    enough = failed.failures_in_row >= policy.failures_max and now_s - since_s >= policy.failing_s_min
    if circuit.probe_at_s is None and enough:
        return replace(failed, probe_at_s=now_s + policy.open_s)
    return failed  # requests that were under way when it opened change nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerFacts:
    """For status. Counts are of requests since the start."""

    open: bool
    refused: bool  # and the last answer was a refusal: an alarm
    failing_for_s: float | None  # None: the last request was answered
    away: bool  # it is open, or about to: one request that failed says little
    last_error: str  # "": there was none since the start
    answered_count: int
    failed_count: int
    refused_count: int


class Breaker:
    """One circuit, for the threads of all buckets that share it."""

    def __init__(self, *, policy: BreakerPolicy, clock_s: Callable[[], float]) -> None:
        self._policy = policy
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._circuit = Circuit()
        self._counts = dict.fromkeys(Verdict, 0)

    def facts(self) -> BreakerFacts:
        with self._lock:
            circuit, counts = self._circuit, dict(self._counts)
        since_s, is_open = circuit.failing_since_s, circuit.probe_at_s is not None
        failing_for_s = None if since_s is None else self._clock_s() - since_s
        return BreakerFacts(
            open=is_open,
            refused=circuit.refused,
            failing_for_s=failing_for_s,
            away=is_open or (failing_for_s or 0.0) >= self._policy.failing_s_min,
            last_error=circuit.last_error,
            answered_count=counts[Verdict.ANSWERED],
            failed_count=counts[Verdict.FAILED],
            refused_count=counts[Verdict.REFUSED],
        )

    def enter(self, name: str) -> bool:
        """Whether this request is the probe. Raises CircuitOpen, or CloudRefused if that is why it is open."""
        now_s = self._clock_s()
        with self._lock:
            self._circuit, passes = admit(self._circuit, now_s=now_s)
            circuit = self._circuit
        if passes:
            return circuit.probing
        if circuit.refused:
            raise CloudRefused(circuit.last_error)
        raise CircuitOpen(f"{name} does not answer and is asked again in a while; the last error: {circuit.last_error}")

    def leave(self, verdict: Verdict, *, was_probe: bool, error: str, is_write: bool = False) -> None:
        now_s = self._clock_s()
        with self._lock:
            self._counts[verdict] += 1
            self._circuit = after(
                self._circuit,
                verdict,
                was_probe=was_probe,
                error=error,
                now_s=now_s,
                policy=self._policy,
                is_write=is_write,
            )


class BreakingBucket(WrappedBucket):
    """Raises CircuitOpen, or CloudRefused, without asking while its breaker is open. `writes`: who uses it does."""

    def __init__(self, inner: Bucket, breaker: Breaker, *, writes: bool = False) -> None:
        super().__init__(inner)
        self._breaker = breaker
        self._writes = writes

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        was_probe = self._breaker.enter(self.name)
        error: BaseException | None = None
        try:
            return send()
        except BaseException as exc:
            error = exc
            raise
        finally:
            self._breaker.leave(verdict_of(error), was_probe=was_probe, error=str(error), is_write=self._writes)
