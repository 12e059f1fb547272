"""Whose the bucket is: the corners by hand, and any number of hosts in any order."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rustfsfs.tiers.terms import Fenced, Hold, Noted, Take, Term, plan_term

MINE, BEFORE, OTHER = b"m" * 16, b"b" * 16, b"o" * 16


@pytest.mark.parametrize(
    ("newest", "noted", "decided"),
    [
        pytest.param(None, [], Take(1), id="the first of all"),
        pytest.param(Term(4, BEFORE), [Noted(4, BEFORE, True)], Take(5), id="ours from the life before"),
        pytest.param(Term(4, OTHER), [Noted(4, BEFORE, True)], Fenced(4), id="the same number, another life"),
        pytest.param(Term(5, OTHER), [Noted(4, BEFORE, True)], Fenced(5), id="somebody went on"),
        pytest.param(Term(1, OTHER), [], Fenced(1), id="somebody began"),
        pytest.param(Term(5, None), [Noted(4, BEFORE, True)], Fenced(5), id="one that does not open"),
        pytest.param(
            Term(5, BEFORE), [Noted(4, BEFORE, True), Noted(5, BEFORE, False)], Take(6), id="a life that was cut off"
        ),
        pytest.param(
            Term(4, BEFORE), [Noted(4, BEFORE, True), Noted(5, BEFORE, False)], Take(5), id="it did not come to be"
        ),
        pytest.param(
            Term(5, OTHER), [Noted(4, BEFORE, True), Noted(5, BEFORE, False)], Fenced(5), id="another was first"
        ),
        pytest.param(Term(5, MINE), [Noted(4, BEFORE, True), Noted(5, MINE, False)], Hold(5), id="it is ours"),
        pytest.param(None, [Noted(4, BEFORE, True)], Take(5), id="somebody deleted them all"),
        pytest.param(Term(3, OTHER), [Noted(4, BEFORE, True)], Take(5), id="somebody deleted ours"),
    ],
)
def test_what_is_decided(newest: Term | None, noted: list[Noted], decided: object) -> None:
    assert plan_term(newest, noted, life=MINE, may_take_over=False) == decided


@pytest.mark.parametrize("newest", [Term(9, OTHER), Term(9, None)])
def test_a_person_takes_it_from_anybody(newest: Term) -> None:
    assert plan_term(newest, [Noted(4, BEFORE, True)], life=MINE, may_take_over=True) == Take(10)
    assert plan_term(Term(10, MINE), [], life=MINE, may_take_over=True) == Hold(10)


@dataclass
class Host:
    """A directory, and the life on it. A step is one request, or one op; the process may die between any two."""

    noted: set[Noted] = field(default_factory=set)
    may_take_over: bool = False
    life: bytes = b""
    seen: Term | None = None
    wants: int | None = None  # noted, and not put yet
    has_looked: bool = False
    held: int | None = None
    fenced: bool = False


KEPT = 2


@dataclass
class Bucket:
    terms: dict[int, bytes] = field(default_factory=dict)
    ever_held: dict[int, bytes] = field(default_factory=dict)
    lives: int = 0

    def step(self, host: Host) -> None:
        """One more step of the host's way to a term; with one, a write, if it may be yet."""
        if host.fenced:
            return
        if not host.life:
            self.lives += 1
            host.life = self.lives.to_bytes(16)
        elif host.held is not None:
            host.fenced = max(self.terms) > host.held
        elif host.wants is not None:
            self.terms.setdefault(host.wants, host.life)
            host.wants, host.has_looked = None, False
        elif not host.has_looked:
            newest = max(self.terms, default=0)
            host.seen, host.has_looked = (Term(newest, self.terms[newest]) if newest else None), True
        else:
            self._decide(host)

    def _decide(self, host: Host) -> None:
        decided = plan_term(host.seen, host.noted, life=host.life, may_take_over=host.may_take_over)
        match decided:
            case Fenced():
                host.fenced = True
            case Take(number):
                host.noted = {one for one in host.noted if one.is_taken or one.number >= number - 1}
                host.noted.add(Noted(number, host.life, False))
                host.wants = number
            case Hold(number):
                assert self.ever_held.setdefault(number, host.life) == host.life, "two lives hold one term"
                host.noted, host.may_take_over, host.held = {Noted(number, host.life, True)}, False, number
                for old in [one for one in self.terms if one <= number - KEPT]:
                    del self.terms[old]

    def in_flight(self, host: Host) -> None:
        """The process dies while its PUT is on its way."""
        if host.wants is not None:
            self.terms.setdefault(host.wants, host.life)
        reborn(host)


def reborn(host: Host) -> None:
    host.life, host.seen, host.wants, host.has_looked, host.held, host.fenced = b"", None, None, False, None, False


def cloned(host: Host) -> Host:
    return Host(noted=set(host.noted), may_take_over=host.may_take_over)


ACTS = st.sampled_from(["step"] * 8 + ["die", "in flight", "clone", "restore"])


def owners(bucket: Bucket, hosts: list[Host]) -> list[Host]:
    """Who would write if he looked now."""
    return [host for host in hosts if not host.fenced and host.held is not None and max(bucket.terms) <= host.held]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), ACTS), max_size=80))
def test_of_any_hosts_in_any_order_one_at_the_most_owns_the_bucket(acts: list[tuple[int, str]]) -> None:
    bucket, hosts = Bucket(), [Host()]
    for which, act in acts:
        host = hosts[which % len(hosts)]
        if act == "step":
            bucket.step(host)
        elif act == "die":
            reborn(host)
        elif act == "in flight":
            bucket.in_flight(host)
        elif act == "clone" and len(hosts) < 4:
            hosts.append(cloned(host))
        elif act == "restore":
            reborn(host)
            host.may_take_over = True
        assert len(owners(bucket, hosts)) <= 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["step"] * 4 + ["die", "in flight"]), max_size=60))
def test_a_host_alone_is_never_fenced_wherever_it_dies(acts: list[str]) -> None:
    bucket, host = Bucket(), Host()
    for act in [*acts, *["step"] * 12]:
        if act == "step":
            bucket.step(host)
        elif act == "die":
            reborn(host)
        else:
            bucket.in_flight(host)
        assert not host.fenced
    assert owners(bucket, [host]) == [host]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=40))
def test_of_two_at_once_exactly_one_gets_it(order: list[int]) -> None:
    bucket, first = Bucket(), Host()
    for _ in range(8):
        bucket.step(first)
    reborn(first)
    hosts = [first, cloned(first)]
    for which in [*order, *[0, 1] * 12]:
        bucket.step(hosts[which])
    assert sorted(host.fenced for host in hosts) == [False, True]
    assert len(owners(bucket, hosts)) == 1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=40), st.booleans())
def test_who_was_restored_fences_the_old_host(order: list[int], is_cut: bool) -> None:
    bucket, old, new = Bucket(), Host(), Host(may_take_over=True)
    for _ in range(8):
        bucket.step(old)
    for number, which in enumerate([*order, *[0, 1] * 12]):
        bucket.step([old, new][which])
        if is_cut and number == len(order) // 2:
            bucket.in_flight(new)
    assert old.fenced and owners(bucket, [old, new]) == [new]
