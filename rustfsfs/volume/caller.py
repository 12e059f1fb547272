"""Who asks, for the rules about set-user-ID and set-group-ID that the kernel leaves to us."""

import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """`other_groups` is asked only when it matters: the front end reads it from /proc."""

    uid: int
    gid: int
    other_groups: Callable[[], Collection[int]]

    def is_in(self, group: int) -> bool:
        """In the group, or privileged (CAP_FSETID, which uid 0 stands for)."""
        return self.uid == 0 or self.gid == group or group in self.other_groups()


def _none() -> Collection[int]:
    return ()


ROOT_CALLER = Caller(uid=0, gid=0, other_groups=_none)


def mode_after_change(mode: int, group: int, caller: Caller) -> int:
    """What is left of a file's mode when its contents change: as Linux' setattr_should_drop_suidgid."""
    if caller.uid == 0 or not mode & (stat.S_ISUID | stat.S_ISGID):
        return mode
    if mode & stat.S_ISGID and (mode & stat.S_IXGRP or not caller.is_in(group)):
        mode &= ~stat.S_ISGID
    return mode & ~stat.S_ISUID
