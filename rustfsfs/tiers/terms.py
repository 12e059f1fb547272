"""Who owns the bucket (I9): the life that took the newest term. Pure; nothing here knows a clock.

A term is a number and the id that the life which took it drew at random. A life that wants to write looks for the
newest, notes the number behind it with its id, durably, creates that object (create-only), and looks again. So there is
one chain of terms, and whoever holds one knew the term before it, or a person put him there. DESIGN.md §17.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Term(NamedTuple):
    """The newest in the bucket."""

    number: int  # from 1 on
    life: bytes | None  # None: its object does not open


class Noted(NamedTuple):
    """As the metadata knows it."""

    number: int
    life: bytes
    is_taken: bool  # False: a life was about to take it, and it is not known whether it did


class Hold(NamedTuple):
    """It is ours."""

    number: int


class Take(NamedTuple):
    """Try this one, and look again."""

    number: int


class Fenced(NamedTuple):
    """Somebody else has this one, and nobody here knows him."""

    number: int


def plan_term(newest: Term | None, noted: Iterable[Noted], *, life: bytes, may_take_over: bool) -> Hold | Take | Fenced:
    """What a life does that holds no term yet.

    noted           all that its metadata knows
    life            its own id; no other life has it, so only the life that created a term's object ever holds it
    may_take_over   a person has decided that this metadata is the volume, whoever had the bucket

    What an earlier life of this metadata was about to take counts as known: it came to be, though nobody heard of it.
    """
    known = list(noted)
    taken = newest_taken(known)
    if newest is None or newest.number < taken:  # somebody deleted what was ours
        return Take(taken + 1)
    if newest.life == life:
        return Hold(newest.number)
    if may_take_over or any((one.number, one.life) == newest for one in known):
        return Take(newest.number + 1)
    return Fenced(newest.number)


def newest_taken(noted: Iterable[Noted]) -> int:
    """0: none yet."""
    return max((one.number for one in noted if one.is_taken), default=0)
