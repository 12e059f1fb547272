"""One thing that was looked at: how it is, in a sentence, and what to do if it is not well."""

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    OK = "ok"
    NOTE = "note"  # nothing has to be done
    WARNING = "warning"  # it works, and may hurt some day
    PROBLEM = "problem"  # it does not work, or data are at stake: exit code 7


class Finding(NamedTuple):
    level: Level
    about: str  # one or two words: what was looked at
    text: str  # how it is
    todo: str = ""  # for a warning or a problem: what to do


def well(about: str, text: str) -> Finding:
    return Finding(Level.OK, about, text)


def note(about: str, text: str, todo: str = "") -> Finding:
    return Finding(Level.NOTE, about, text, todo)


def warning(about: str, text: str, todo: str) -> Finding:
    return Finding(Level.WARNING, about, text, todo)


def problem(about: str, text: str, todo: str) -> Finding:
    return Finding(Level.PROBLEM, about, text, todo)


def stuck(about: str, seconds: float) -> Finding:
    """It was asked, and nothing came."""
    text = f"there was no answer within {seconds:g} s"
    return problem(about, text, "look at the disk, server or daemon behind it: whoever touches it hangs as well")
