"""CrashFiles: `world.Files` in memory, which can become every state that a power cut could leave.

Pessimistic, as DESIGN.md §2 reckons: of what was not synced, each write may be there whole, torn at a sector, or not at
all, in any combination; each change of a directory that was not synced may have happened or not. What a failed sync
covered may be there or not for ever, and no later sync makes it so (the kernel marked the pages clean, I10).
"""

import copy
import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rustfsfs.world import Space

SECTOR = 512


class PowerLoss(Exception):
    """The plug was pulled before this action."""


@dataclass
class Change:
    """One change of a file's contents that is not durable yet."""

    offset: int  # -1: the size becomes len
    data: bytes
    size: int = 0

    def apply(self, contents: bytearray, part: float = 1.0) -> None:
        if self.offset < 0:
            del contents[self.size :]
            contents.extend(bytes(self.size - len(contents)))
            return
        data = self.data if part == 1.0 else self.data[: int(len(self.data) * part) // SECTOR * SECTOR]
        end = self.offset + len(data)
        contents.extend(bytes(max(0, end - len(contents))))
        contents[self.offset : end] = data


@dataclass
class Inode:
    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    lost: list[Change] = field(default_factory=list)  # a failed sync covered them


@dataclass
class Naming:
    """One change of names: each path stands for an inode now, or for none."""

    folder: str
    paths: dict[str, int | None]


def _rename(names: dict[str, int], paths: dict[str, int | None]) -> None:
    for path, number in paths.items():
        if number is None:
            names.pop(path, None)
        else:
            names[path] = number


class CrashFiles:
    """See the module. `actions` counts what could be cut; `die_at` pulls the plug before that action."""

    def __init__(self, *, die_at: int | None = None) -> None:
        self.die_at = die_at
        self.actions = 0
        self.failing: dict[str, list[int | str]] = {}  # action -> what its next calls do: an errno, or "short"
        self._inodes: dict[int, Inode] = {}
        self._names: dict[str, int] = {}
        self._durable_names: dict[str, int] = {}
        self._pending_names: list[Naming] = []
        self._folders: set[str] = {"/"}
        self._fds: dict[int, int] = {}
        self._next = itertools.count(100)
        self._next_fd = itertools.count(1_000_000)
        self.log: list[Callable[[CrashFiles], object]] = []  # every action, to be done again on another disk

    # --- the plug ------------------------------------------------------------------------------------------------

    def _act(self, name: str, again: "Callable[[CrashFiles], object]") -> int | str | None:
        if self.die_at is not None and self.actions >= self.die_at:
            raise PowerLoss
        self.actions += 1
        self.log.append(again)
        planned = self.failing.get(name)
        return planned.pop(0) if planned else None

    def _raise_if_planned(self, name: str, again: "Callable[[CrashFiles], object]") -> None:
        planned = self._act(name, again)
        if isinstance(planned, int):
            raise OSError(planned, os.strerror(planned))

    def before(self, action: int) -> "CrashFiles":
        """This disk as it was before its action number `action` (0-based). Only for disks without planned faults."""
        assert not self.failing
        twin = CrashFiles()
        twin._folders = set(self._folders)
        for again in self.log[:action]:
            again(twin)
        return twin

    def power_loss(self, choose: "Chooser") -> "CrashFiles":
        """A disk as it might be after the cut; nothing on it is unsynced any more."""
        left = CrashFiles()
        left._folders = set(self._folders)
        left._next = itertools.count(next(self._next) + 10_000)
        names = dict(self._durable_names)
        for naming in self._pending_names:
            if choose.pick((True, False)):
                _rename(names, naming.paths)
        for path, number in names.items():
            inode = self._inodes[number]
            contents = bytearray(inode.durable)
            for change in inode.lost + inode.pending:
                part = choose.pick((1.0, 0.0, 0.5) if change.offset >= 0 else (1.0, 0.0))
                if part:
                    change.apply(contents, part)
            left._names[path] = left._durable_names[path] = number
            left._inodes[number] = Inode(bytearray(contents), contents)
        return left

    def states(self, limit: int, seed: int) -> Iterator["CrashFiles"]:
        """Every state there can be, or `limit` of them drawn by `seed` if there are more."""
        widths = Widths()
        self.power_loss(widths)
        total = 1
        for width in widths.widths:
            total *= width
            if total > limit:
                break
        if total <= limit:
            for choice in itertools.product(*map(range, widths.widths)):
                yield self.power_loss(Fixed(choice))
            return
        draw = random.Random(seed)
        for number in range(limit):
            if number < 2:  # nothing of it, all of it
                yield self.power_loss(Fixed([0 if number else width - 1 for width in widths.widths]))
            else:
                yield self.power_loss(Fixed([draw.randrange(width) for width in widths.widths]))

    # --- Files ---------------------------------------------------------------------------------------------------

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        self._raise_if_planned("create", lambda other: other._create(path, allocate_bytes))
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._need_folder(path)
        fd = next(self._next_fd)
        self._fds[fd] = self._create(path, allocate_bytes)
        return fd

    def _create(self, path: str, allocate_bytes: int) -> int:
        number = next(self._next)
        self._inodes[number] = Inode()
        self._name({path: number})
        if allocate_bytes:
            self._change(number, Change(-1, b"", allocate_bytes))
        return number

    def _change(self, number: int, change: Change) -> None:
        change.apply(self._inodes[number].live)
        self._inodes[number].pending.append(change)

    def open(self, path: str, *, write: bool = False) -> int:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        fd = next(self._next_fd)
        self._fds[fd] = self._names[path]
        return fd

    def close(self, fd: int) -> None:
        del self._fds[fd]

    def _inode(self, fd: int) -> Inode:
        return self._inodes[self._fds[fd]]

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        number, whole = self._fds[fd], bytes(data)
        planned = self._act("pwrite", lambda other: other._change(number, Change(offset, whole)))
        done = whole[: len(whole) // 2] if planned == "short" else whole  # an error may come after all was written
        if done:
            self._change(number, Change(offset, done))
        if isinstance(planned, int):
            raise OSError(planned, os.strerror(planned))
        return len(done)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return bytes(self._inode(fd).live[offset : offset + size])

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        return self.pread(fd, size, offset)

    def sync(self, fd: int) -> None:
        number = self._fds[fd]
        planned = self._act("sync", lambda other: other._sync(number))
        if isinstance(planned, int):
            inode = self._inodes[number]
            inode.lost += inode.pending
            inode.pending.clear()
            raise OSError(planned, os.strerror(planned))
        self._sync(number)

    def _sync(self, number: int) -> None:
        inode = self._inodes[number]
        for change in inode.pending:
            change.apply(inode.durable)
        inode.pending.clear()

    def sync_dir(self, path: str) -> None:
        self._raise_if_planned("sync_dir", lambda other: other._sync_dir(path))
        self._sync_dir(path)

    def _sync_dir(self, path: str) -> None:
        for naming in [naming for naming in self._pending_names if naming.folder == path.rstrip("/")]:
            _rename(self._durable_names, naming.paths)
            self._pending_names.remove(naming)

    def truncate(self, fd: int, size_bytes: int) -> None:
        number, change = self._fds[fd], Change(-1, b"", size_bytes)
        self._raise_if_planned("truncate", lambda other: other._change(number, change))
        self._change(number, change)

    def size(self, path: str) -> int:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return len(self._inodes[self._names[path]].live)

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._folders

    def names(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        found = {name[len(prefix) :].split("/")[0] for name in [*self._names, *self._folders] if name.startswith(prefix)}
        return sorted(found - {""})

    def mkdir(self, path: str) -> None:
        """Directories are durable at once here: none is made on a path where that could hide a fault."""
        if path in self._names:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        while path not in self._folders:
            self._folders.add(path)
            path = os.path.dirname(path)

    def rename(self, old: str, new: str) -> None:
        if old not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)
        number = self._names[old]
        self._raise_if_planned("rename", lambda other: other._name({old: None, new: number}))
        self._name({old: None, new: number})

    def unlink(self, path: str) -> None:
        if path in self._names:
            self._raise_if_planned("unlink", lambda other: other._name({path: None}))
            self._name({path: None})

    def punch(self, fd: int, offset: int, size_bytes: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def forget_pages(self, fd: int) -> None:
        """What the next read shows is what the disk holds."""

    def space(self, path: str) -> Space:
        return Space(1 << 28, 1 << 27, 1 << 20, 1 << 19, read_only=False)  # small, so that segments are

    def _need_folder(self, path: str) -> None:
        if os.path.dirname(path) not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _name(self, paths: dict[str, int | None]) -> None:
        _rename(self._names, paths)
        self._pending_names.append(Naming(os.path.dirname(next(iter(paths))), paths))

    def copy(self) -> "CrashFiles":
        """For trying several things on one state."""
        twin = copy.deepcopy({name: value for name, value in vars(self).items() if name[:5] != "_next" and name != "log"})
        made = CrashFiles()
        vars(made).update(twin)
        made._next = itertools.count(next(self._next) + 10_000)
        return made


class Chooser:
    """Decides one thing after the other of what a power cut leaves."""

    def pick(self, options: tuple[float, ...]) -> float:
        raise NotImplementedError


class Widths(Chooser):
    """Finds out how many choices there are, each how wide."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def pick(self, options: tuple[float, ...]) -> float:
        self.widths.append(len(options))
        return options[0]


class Fixed(Chooser):
    """Choices made beforehand. Which files there are hangs on the first ones, so later ones may run out: the first is taken."""

    def __init__(self, choice: "tuple[int, ...] | list[int]") -> None:
        self._choice = list(choice)

    def pick(self, options: tuple[float, ...]) -> float:
        number = self._choice.pop(0) if self._choice else 0
        return options[min(number, len(options) - 1)]
