"""The circuit breaker: what opens it, what it costs while it is open, and that an answer closes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import (
    CircuitOpen,
    CloudRefused,
    CloudThrottled,
    CloudUnavailable,
    ObjectMissing,
    RustfsfsError,
)
from rustfsfs.store.breaker import (
    Breaker,
    BreakerPolicy,
    BreakingBucket,
    Circuit,
    Verdict,
    admit,
    after,
    verdict_of,
)
from tests.store.faultbuckets import FailsFirst, FakeTime
from tests.store.membucket import MemBucket

POLICY = BreakerPolicy(failures_max=3, failing_s_min=0.0, open_s=10.0, open_s_max=35.0)


class Bench:
    """A breaker around a bucket that fails as often as it is told to."""

    def __init__(self, policy: BreakerPolicy = POLICY) -> None:
        self.time = FakeTime()
        self.memory = MemBucket()
        self.memory.put("k", b"x", placement=Placement.IA)
        self.inner = FailsFirst(self.memory)
        self.breaker = Breaker(policy=policy, clock_s=self.time.timing.clock_s)
        self.bucket = BreakingBucket(self.inner, self.breaker)

    def fail(self, error: RustfsfsError, times: int = 1) -> None:
        for _ in range(times):
            self.inner.errors = [error]
            with pytest.raises(type(error)):
                self.bucket.head("k")
            self.inner.errors = []


@pytest.mark.parametrize(
    ("exc", "want"),
    [
        pytest.param(None, Verdict.ANSWERED, id="success"),
        pytest.param(ObjectMissing(""), Verdict.ANSWERED, id="no such object"),
        pytest.param(CloudThrottled(""), Verdict.ANSWERED, id="slow down"),
        pytest.param(CloudUnavailable(""), Verdict.FAILED, id="unavailable"),
        pytest.param(CloudRefused(""), Verdict.REFUSED, id="refused"),
        pytest.param(KeyError(), Verdict.NOTHING, id="a bug"),
        pytest.param(KeyboardInterrupt(), Verdict.NOTHING, id="an interrupt"),
    ],
)
def test_verdicts(exc: BaseException | None, want: Verdict) -> None:
    assert verdict_of(exc) is want


def test_after_so_many_failures_nobody_asks() -> None:
    bench = Bench()
    bench.fail(CloudUnavailable("no route"), 3)
    asked = bench.inner.requests_count
    with pytest.raises(CircuitOpen, match="no route"):
        bench.bucket.get("k", 0, 1)
    assert bench.inner.requests_count == asked
    facts = bench.breaker.facts()
    assert facts.open and not facts.refused and facts.last_error == "no route" and facts.failed_count == 3


def test_an_answer_between_starts_the_count_anew() -> None:
    bench = Bench()
    for _ in range(5):
        bench.fail(CloudUnavailable("down"), 2)
        bench.bucket.head("k")
    assert not bench.breaker.facts().open
    assert bench.breaker.facts().failing_for_s is None


def test_a_hiccup_of_many_requests_does_not_open_it() -> None:
    bench = Bench(BreakerPolicy(failures_max=3, failing_s_min=10.0))
    bench.fail(CloudUnavailable("reset"), 50)
    assert not bench.breaker.facts().open
    bench.time.sleep(10.0)
    bench.fail(CloudUnavailable("reset"))
    assert bench.breaker.facts().open and bench.breaker.facts().failing_for_s == 10.0


def test_one_probe_closes_it() -> None:
    bench = Bench()
    bench.fail(CloudUnavailable("down"), 3)
    bench.time.sleep(10.0)
    assert bench.bucket.get("k", 0, 1) == b"x"
    facts = bench.breaker.facts()
    assert not facts.open and facts.failing_for_s is None and facts.last_error == "down"


def test_probes_that_fail_are_further_and_further_apart() -> None:
    bench = Bench()
    bench.fail(CloudUnavailable("down"), 3)
    apart = []
    for _ in range(4):
        before_s = bench.time.now_s
        asked = bench.inner.requests_count
        while bench.inner.requests_count == asked:
            bench.time.sleep(1.0)
            bench.inner.errors = [CloudUnavailable("still down")]
            with pytest.raises(CloudUnavailable):
                bench.bucket.head("k")
        apart.append(bench.time.now_s - before_s)
    assert apart == [10.0, 20.0, 35.0, 35.0]


def test_refusals_open_it_as_refusals() -> None:
    bench = Bench()
    bench.fail(CloudRefused("the key is unknown"), 3)
    asked = bench.inner.requests_count
    with pytest.raises(CloudRefused, match="the key is unknown"):
        bench.bucket.head("k")
    assert bench.inner.requests_count == asked and bench.breaker.facts().refused


def test_writes_that_are_refused_are_an_alarm_and_keep_nobody_from_reading() -> None:
    bench = Bench()
    writes = BreakingBucket(bench.inner, bench.breaker, writes=True)
    for _ in range(10):
        bench.inner.errors = [CloudRefused("it may only be read")]
        with pytest.raises(CloudRefused):
            writes.put("new", b"x", placement=Placement.IA)
        bench.time.sleep(10.0)
    bench.inner.errors = []
    assert bench.breaker.facts().refused and not bench.breaker.facts().open
    bench.fail(CloudUnavailable("a hiccup"))
    assert bench.bucket.get("k", 0, 1) == b"x"


def test_a_probe_that_ends_in_a_bug_leaves_the_next_one_free() -> None:
    bench = Bench()
    bench.fail(CloudUnavailable("down"), 3)
    bench.time.sleep(10.0)
    with pytest.raises(AssertionError):
        bench.bucket._request(_bug)
    assert bench.bucket.head("k").key == "k"


def _bug() -> None:
    raise AssertionError


def test_while_the_probe_runs_the_others_do_not_pass() -> None:
    circuit = Circuit(failures_in_row=3, failing_since_s=0.0, probe_at_s=10.0)
    circuit, passes = admit(circuit, now_s=10.0)
    assert passes
    circuit, passes = admit(circuit, now_s=99.0)
    assert not passes


OPEN = Circuit(failures_in_row=3, failing_since_s=0.0, probe_at_s=10.0)


def test_requests_that_were_under_way_when_it_opened_do_not_put_off_the_probe() -> None:
    circuit = after(OPEN, Verdict.FAILED, was_probe=False, error="late", now_s=9.0, policy=POLICY)
    assert circuit.probe_at_s == 10.0 and circuit.last_error == "late"


def test_an_answer_that_comes_before_a_probe_fails_counts() -> None:
    probing, _ = admit(OPEN, now_s=10.0)
    closed = after(probing, Verdict.ANSWERED, was_probe=False, error="", now_s=11.0, policy=POLICY)
    failed_once = after(closed, Verdict.FAILED, was_probe=True, error="e", now_s=12.0, policy=POLICY)
    assert failed_once.probe_at_s is None and failed_once.failures_in_row == 1


@given(st.lists(st.tuples(st.sampled_from(Verdict), st.floats(0, 30)), max_size=40))
def test_it_never_stays_shut_and_never_opens_early(events: list[tuple[Verdict, float]]) -> None:
    circuit, now_s, in_row = Circuit(), 0.0, 0
    for verdict, pause_s in events:
        now_s += pause_s
        was_open = circuit.probe_at_s is not None
        circuit, passes = admit(circuit, now_s=now_s)
        assert passes or was_open
        if not passes:
            assert circuit.probe_at_s is not None and now_s < circuit.probe_at_s <= now_s + POLICY.open_s_max
            continue
        circuit = after(circuit, verdict, was_probe=circuit.probing, error="e", now_s=now_s, policy=POLICY)
        if verdict is not Verdict.NOTHING:
            in_row = 0 if verdict is Verdict.ANSWERED else in_row + 1
        assert (circuit.probe_at_s is not None) == (in_row >= POLICY.failures_max)
        assert not circuit.probing
