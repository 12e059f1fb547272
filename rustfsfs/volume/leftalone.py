"""Packs that are left alone after trouble: why, and until when. Not what is wrong with chunks, which is `Health`'s."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from rustfsfs.tiers.packs import PackKey


class Why(Enum):
    """For people: "N packs: ..."."""

    DAMAGED = "damaged on a disk, not uploaded; scrub --repair helps"
    UNREADABLE = "unreadable in part, not rewritten; fsck --data names the files"
    UNMOVED = "could not be moved between disk and bucket, tried again within the hour"
    NOT_NOW = "not rewritten: the bucket does not give some of it now, tried again within the hour"
    LOST = "lost in the bucket; tier recall names the files"


DAMAGE = (Why.DAMAGED, Why.UNREADABLE, Why.LOST)  # of these a person has to know: nothing of it ends by itself
AGAIN_S = {  # when such a pack has its next chance
    Why.DAMAGED: 6 * 3600.0,  # a look reads all of it, and logs what is wrong; scrub may have mended it
    Why.UNREADABLE: 6 * 3600.0,
    Why.UNMOVED: 3600.0,  # each try may cost a whole pack's traffic
    Why.NOT_NOW: 3600.0,  # an outage, or a restore that takes its time
    Why.LOST: math.inf,  # until a sweep finds it
}


class Alone(NamedTuple):
    text: str  # what is wrong, one sentence
    until_s: float  # trio's clock


@dataclass(slots=True)
class LeftAlone:
    """Those whose time has come are forgotten when somebody asks."""

    _found: dict[tuple[Why, PackKey], Alone] = field(default_factory=dict)
    known: dict[Why, int] = field(default_factory=lambda: dict.fromkeys(Why, 0))  # of each, those to be forgotten too

    def leave(self, key: PackKey, why: Why, text: str, *, now_s: float) -> None:
        self.known[why] += (why, key) not in self._found
        self._found[why, key] = Alone(text, now_s + AGAIN_S[why])

    def packs(self, *reasons: Why, now_s: float) -> dict[PackKey, str]:
        """Those left alone for one of the reasons, and what is wrong with each."""
        return {key: alone.text for why, key, alone in self._current(now_s) if why in reasons}

    def forget(self, why: Why) -> None:
        for one in [one for one in self._found if one[0] is why]:
            del self._found[one]
        self.known[why] = 0

    def release(self, key: PackKey) -> None:
        """The pack is no more, or good again."""
        for why in Why:
            self._found.pop((why, key), None)

    def release_disk(self, disk: int) -> None:
        """It is there again: what could not be read of it may be now."""
        for why, key in list(self._found):
            if key[1] == disk and why is not Why.LOST:
                del self._found[why, key]

    def counts(self, *, now_s: float) -> dict[Why, int]:
        """Of the reasons that some pack has."""
        counts: dict[Why, int] = {}
        for why, _key, _alone in self._current(now_s):
            counts[why] = counts.get(why, 0) + 1
        return counts

    def _current(self, now_s: float) -> Iterator[tuple[Why, PackKey, Alone]]:
        for one in [one for one, alone in self._found.items() if alone.until_s <= now_s]:
            del self._found[one]
            self.known[one[0]] -= 1
        for (why, key), alone in self._found.items():
            yield why, key, alone
