"""Where a workload runs: a directory, and what can be asked of the file system it lies on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """An empty directory `root`, ours to fill. Workloads know nothing else of a system."""

    @property
    def root(self) -> Path: ...

    @property
    def daemon_pid(self) -> int | None:
        """Of the process that serves the file system; None: the kernel does."""
        ...

    @property
    def can_seal(self) -> bool: ...

    @property
    def can_remount(self) -> bool: ...

    @property
    def has_own_cache(self) -> bool:
        """Does a daemon keep contents in memory, behind the kernel's pages of the mount?"""
        ...

    def seal(self) -> None:
        """Everything that was written comes to its final form: packs for rustfsfs. Elsewhere it is there already."""
        ...

    def hot_bytes(self) -> int:
        """What is not sealed yet; 0 elsewhere."""
        ...

    def memory_bytes_max(self) -> int | None:
        """The most that was ever resident of its daemons since it was made; None without one."""
        ...

    def remount(self) -> None:
        """Unmount and mount again: nothing of it is in any process's memory. Only if `can_remount`."""
        ...


@dataclass(frozen=True, slots=True)
class Directory:
    """Any directory, as it is: `Place` of the plain disk, and of whatever a user names."""

    root: Path
    daemon_pid: int | None = None
    can_seal: bool = False
    can_remount: bool = False
    has_own_cache: bool = False

    def seal(self) -> None:
        pass

    def hot_bytes(self) -> int:
        return 0

    def memory_bytes_max(self) -> int | None:
        return None

    def remount(self) -> None:
        raise AssertionError("a plain directory is not remounted")
