"""CrashFiles: `world.Files` in memory, which can become every state that a power cut could leave.

Pessimistic, as DESIGN.md §2 reckons: of what was not synced, each write may be there whole, torn at a sector, or not at
all, in any combination; each change of a directory that was not synced may have happened or not. What a failed sync
covered may be there or not for ever, and no later sync makes it so (the kernel marked the pages clean, I10).
"""

import copy
import errno
import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rustfsfs.world import Space
from tests.crash.nonces import Past

SECTOR = 512
NOTHING, WHOLE, FIRST_HALF, SECOND_HALF = 0.0, 1.0, 0.25, 0.75  # of a write, once the plug was pulled
WRITE_LEAVES, RESIZE_LEAVES = (WHOLE, NOTHING, FIRST_HALF, SECOND_HALF), (WHOLE, NOTHING)


class PowerLoss(Exception):
    """The plug was pulled before this action."""


class Contents:
    """The bytes of a file. What lies behind the last byte ever written is zeros and takes no memory.

    Copies share their bytes until one of them changes: a state differs from the next one in few files.
    """

    def __init__(self) -> None:
        self._written = bytearray()
        self._is_shared = False
        self._digest: bytes | None = None  # of these bytes, once asked for
        self.size = 0

    def copy(self) -> "Contents":
        made = Contents()
        made._written, made._digest, made.size = self._written, self._digest, self.size
        made._is_shared = self._is_shared = True
        return made

    def __deepcopy__(self, _memo: object) -> "Contents":
        return self.copy()

    def _own(self) -> bytearray:
        """The bytes, to be changed."""
        if self._is_shared:
            self._written, self._is_shared = self._written[:], False
        self._digest = None
        return self._written

    def resize(self, size: int) -> None:
        del self._own()[size:]
        self.size = size

    def write(self, offset: int, data: bytes) -> None:
        written = self._own()
        written.extend(bytes(max(0, offset + len(data) - len(written))))
        written[offset : offset + len(data)] = data
        self.size = max(self.size, len(written))

    def read(self, size: int, offset: int) -> bytes:
        size = max(0, min(size, self.size - offset))
        return bytes(self._written[offset : offset + size]).ljust(size, b"\0")

    def digest(self) -> bytes:
        if self._digest is None:
            hashed = hashlib.blake2b(b"%d " % self.size, digest_size=16)
            hashed.update(self._written.rstrip(b"\0"))
            self._digest = hashed.digest()
        return self._digest


@dataclass
class Change:
    """One change of a file's contents that is not durable yet."""

    offset: int  # -1: the size becomes len
    data: bytes
    size: int = 0

    def apply(self, contents: Contents, part: float = WHOLE) -> None:
        if self.offset < 0:
            if part != NOTHING:
                contents.resize(self.size)
            return
        start = self._tear() if part == SECOND_HALF else 0
        end = self._tear() if part == FIRST_HALF else len(self.data)
        if part != NOTHING and start < end:
            contents.write(self.offset + start, self.data[start:end])

    def _tear(self) -> int:
        """The border of two sectors nearest before the middle, else the next behind it, else the end."""
        size = len(self.data)
        before = (self.offset + size // 2) // SECTOR * SECTOR - self.offset
        return before if before > 0 else min(before + SECTOR, size)


@dataclass
class Inode:
    live: Contents = field(default_factory=Contents)
    durable: Contents = field(default_factory=Contents)
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
        self.seed = 0  # for whoever needs to draw differently in different lives
        self.failing: dict[str, list[int | str | None]] = {}  # action -> what its next calls do: an errno, or "short"
        self._inodes: dict[int, Inode] = {}
        self._names: dict[str, int] = {}
        self._durable_names: dict[str, int] = {}
        self._pending_names: list[Naming] = []
        self._folders: set[str] = {"/"}
        self._pending_folders: set[str] = set()  # made, and their parents not synced since
        self.caches = True  # what is read is in the page cache, always or never
        self.new_folders_may_vanish = False  # else a folder is durable at once: for tests that are not about that
        self._fds: dict[int, int] = {}
        self._read_only: set[int] = set()
        self._next = 100
        self._next_fd = 1_000_000
        self.log: list[Callable[[CrashFiles], object]] = []  # what every action did, to be done again on another disk
        self.past: Past = ()  # who sealed what on this disk
        self._lives_before_log = 0  # of those, how many ended before the log began

    # --- the plug ------------------------------------------------------------------------------------------------

    def _act(self, name: str) -> int | str | None:
        """An action begins: it may be cut here. Returns what was planned for it. One `_do` has to follow."""
        if self.die_at is not None and self.actions >= self.die_at:
            raise PowerLoss
        self.actions += 1
        planned = self.failing.get(name)
        return planned.pop(0) if planned else None

    def _do(self, effect: "Callable[[CrashFiles], object]") -> None:
        """What the action really did, now and whenever the log is done again."""
        self.log.append(effect)
        effect(self)

    def _do_or_raise(self, name: str, effect: "Callable[[CrashFiles], object]") -> None:
        planned = self._act(name)
        if isinstance(planned, int):
            self._do(_nothing)
            raise OSError(planned, os.strerror(planned))
        self._do(effect)

    def begin_log(self) -> None:
        """What happened so far is past, and can be cut no more."""
        self.log.clear()
        self.actions, self._lives_before_log = 0, len(self.past)

    def _past_until(self, action: int) -> Past:
        """Who had sealed what before an action of the log."""
        old = self._lives_before_log
        return (*self.past[:old], *((life, min(until, action)) for life, until in self.past[old:]))

    def cuts(self, first: int, last: int, start: "CrashFiles | None" = None) -> "Iterator[tuple[int, CrashFiles]]":
        """(number, this disk as it was before that action) for each action from `first` to `last` (0-based).

        start   a copy of this disk as it was before its first action; None if it was empty
        Each disk is for looking at until the next one is asked for.
        """
        twin = CrashFiles() if start is None else start.copy()
        if start is None:
            twin._folders = set(self._folders)
        done = 0
        for number in range(first, last + 1):
            for again in self.log[done:number]:
                again(twin)
            done = number
            twin.past = self._past_until(number)
            yield number, twin

    def power_loss(self, choose: "Chooser") -> "CrashFiles":
        """A disk as it might be after the cut; nothing on it is unsynced any more."""
        left = CrashFiles()
        left.new_folders_may_vanish = self.new_folders_may_vanish
        left._next = self._next + 10_000
        left.past, left._lives_before_log = self.past, len(self.past)
        lost: list[str] = []
        for folder in sorted(self._pending_folders):
            if not folder.startswith(tuple(lost)) and not choose.pick((True, False)):
                lost.append(folder + "/")
        left._folders = {folder for folder in self._folders if not f"{folder}/".startswith(tuple(lost))}
        names = dict(self._durable_names)
        for naming in self._pending_names:
            if choose.pick((True, False)):
                _rename(names, naming.paths)
        for path, number in names.items():
            if path.startswith(tuple(lost)):
                continue
            inode = self._inodes[number]
            inode.durable.digest()  # every state that holds these bytes will know it
            contents = inode.durable.copy()
            for change in inode.lost + inode.pending:
                change.apply(contents, choose.pick(WRITE_LEAVES if change.offset >= 0 else RESIZE_LEAVES))
            left._names[path] = left._durable_names[path] = number
            left._inodes[number] = Inode(contents.copy(), contents)
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
        if total <= limit and (every := self._every_state(limit)) is not None:
            yield from every
            return
        draw = random.Random(seed)
        for number in range(limit):
            if number < 2:  # nothing of it, all of it
                yield self.power_loss(Fixed([0 if number else width - 1 for width in widths.widths]))
            else:
                yield self.power_loss(Fixed([draw.randrange(width) for width in widths.widths]))

    def _every_state(self, limit: int) -> "list[CrashFiles] | None":
        """All of them, or None if there are more: which files there are hangs on choices made before."""
        found: list[CrashFiles] = []
        choice: list[int] | None = []
        while choice is not None:
            if len(found) == limit:
                return None
            counting = Counting(choice)
            found.append(self.power_loss(counting))
            choice = counting.following()
        return found

    def digest(self) -> bytes:
        """Names one state: two disks with the same names and durable contents have the same."""
        hashed = hashlib.blake2b("\0".join(sorted(self._folders)).encode(), digest_size=16)
        for path in sorted(self._durable_names):
            hashed.update(path.encode() + b"\0")
            hashed.update(self._inodes[self._durable_names[path]].durable.digest())
        return hashed.digest()

    # --- Files ---------------------------------------------------------------------------------------------------

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._need_folder(path)
        self._do_or_raise("create", lambda disk: disk._create(path, allocate_bytes))
        return self._descriptor(self._names[path])

    def _descriptor(self, number: int) -> int:
        self._next_fd += 1
        self._fds[self._next_fd] = number
        return self._next_fd

    def _create(self, path: str, allocate_bytes: int) -> None:
        self._next += 1
        self._inodes[self._next] = Inode()
        self._name({path: self._next})
        if allocate_bytes:
            self._change(self._next, Change(-1, b"", allocate_bytes))

    def _change(self, number: int, change: Change) -> None:
        if not change.data and change.offset >= 0:
            return
        change.apply(self._inodes[number].live)
        self._inodes[number].pending.append(change)

    def open(self, path: str, *, write: bool = False) -> int:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        fd = self._descriptor(self._names[path])
        if not write:
            self._read_only.add(fd)
        return fd

    def close(self, fd: int) -> None:
        del self._fds[self._checked(fd)]

    def _checked(self, fd: int) -> int:
        if fd not in self._fds:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return fd

    def _writable(self, fd: int) -> int:
        """The number of the inode that a descriptor may change."""
        if fd in self._read_only:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._fds[self._checked(fd)]

    def _inode(self, fd: int) -> Inode:
        return self._inodes[self._fds[self._checked(fd)]]

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        number, whole = self._writable(fd), bytes(data)
        planned = self._act("pwrite")
        done = whole[: len(whole) // 2] if planned == "short" else whole  # an error may come after all was written
        self._do(lambda disk: disk._change(number, Change(offset, done)))
        if isinstance(planned, int):
            raise OSError(planned, os.strerror(planned))
        return len(done)

    def pwrite_much(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        done = 0
        for part in parts:  # each by itself: any of them may be lost, whatever the kernel makes of them
            written = self.pwrite(fd, part, offset + done)
            done += written
            if written < len(part):
                break
        return done

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return self._inode(fd).live.read(size, offset)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        if not self.caches:
            return None
        data = self.pread(fd, size, offset)
        return data if len(data) == size else None

    def will_need(self, fd: int, offset: int, size_bytes: int) -> None:
        self._inode(fd)

    def missing_pages(self, path: str) -> int:
        return 0

    def want_pages(self, path: str) -> None:
        pass

    def sync(self, fd: int) -> None:
        number = self._fds[self._checked(fd)]
        planned = self._act("sync")
        failed = isinstance(planned, int)
        self._do(lambda disk: disk._lose(number) if failed else disk._sync(number))
        if isinstance(planned, int):
            raise OSError(planned, os.strerror(planned))

    def _lose(self, number: int) -> None:
        inode = self._inodes[number]
        inode.lost += inode.pending
        inode.pending.clear()

    def _sync(self, number: int) -> None:
        inode = self._inodes[number]
        for change in inode.pending:
            change.apply(inode.durable)
        inode.pending.clear()

    def sync_dir(self, path: str) -> None:
        if path.rstrip("/") not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._do_or_raise("sync_dir", lambda disk: disk._sync_dir(path))

    def _sync_dir(self, path: str) -> None:
        for naming in [naming for naming in self._pending_names if naming.folder == path.rstrip("/")]:
            _rename(self._durable_names, naming.paths)
            self._pending_names.remove(naming)
        self._pending_folders -= {folder for folder in self._pending_folders if os.path.dirname(folder) == path}

    def truncate(self, fd: int, size_bytes: int) -> None:
        number, change = self._writable(fd), Change(-1, b"", size_bytes)
        self._do_or_raise("truncate", lambda disk: disk._change(number, change))

    def size(self, path: str) -> int:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._inodes[self._names[path]].live.size

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._folders

    def names(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        found = {
            name[len(prefix) :].split("/")[0] for name in [*self._names, *self._folders] if name.startswith(prefix)
        }
        return sorted(found - {""})

    def mkdir(self, path: str) -> None:
        """Parents come by themselves unless new folders may vanish."""
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if self.new_folders_may_vanish and path not in self._folders:
            self._need_folder(path)
            self._do_or_raise("mkdir", lambda disk: disk._mkdir(path))
        while path not in self._folders:
            self._folders.add(path)
            path = os.path.dirname(path)

    def _mkdir(self, path: str) -> None:
        self._folders.add(path)
        self._pending_folders.add(path)

    def rename(self, old: str, new: str) -> None:
        if old not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)
        number = self._names[old]
        self._do_or_raise("rename", lambda disk: disk._name({old: None, new: number}))

    def unlink(self, path: str) -> None:
        if path in self._names:
            self._do_or_raise("unlink", lambda disk: disk._name({path: None}))

    def punch(self, fd: int, offset: int, size_bytes: int) -> None:
        number = self._writable(fd)
        zeros = Change(offset, bytes(max(0, min(size_bytes, self._inode(fd).live.size - offset))))
        self._do_or_raise("punch", lambda disk: disk._change(number, zeros))

    def forget_pages(self, fd: int) -> None:
        """What the next read shows is what the disk holds: not what a failed sync lost."""
        inode = self._inode(fd)
        if inode.lost:
            inode.lost.clear()
            inode.live = inode.durable.copy()
            for change in inode.pending:
                change.apply(inode.live)

    def space(self, path: str) -> Space:
        return Space(1 << 28, 1 << 27, 1 << 20, 1 << 19, read_only=False)  # small, so that segments are

    def _need_folder(self, path: str) -> None:
        if os.path.dirname(path) not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _name(self, paths: dict[str, int | None]) -> None:
        _rename(self._names, paths)
        self._pending_names.append(Naming(os.path.dirname(next(iter(paths))), paths))

    def copy(self) -> "CrashFiles":
        """For trying several things on one state. Its log begins anew."""
        made = CrashFiles()
        own = {name: value for name, value in vars(self).items() if name not in ("log", "past")}
        vars(made).update(copy.deepcopy(own))
        made.past = self.past
        made.begin_log()
        return made


def _nothing(_disk: CrashFiles) -> None:
    return


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


class Counting(Chooser):
    """Takes the choices given, then the first of each; knows which choices come next."""

    def __init__(self, choice: list[int]) -> None:
        self._given = choice
        self._made: list[int] = []
        self._widths: list[int] = []

    def pick(self, options: tuple[float, ...]) -> float:
        at = len(self._made)
        self._made.append(self._given[at] if at < len(self._given) else 0)
        self._widths.append(len(options))
        return options[self._made[-1]]

    def following(self) -> list[int] | None:
        """As an odometer turns; None after the last."""
        made = list(self._made)
        while made and made[-1] + 1 == self._widths[len(made) - 1]:
            made.pop()
        return [*made[:-1], made[-1] + 1] if made else None


class Fixed(Chooser):
    """Choices made beforehand. Which files there are hangs on the first ones; when they run out: the first."""

    def __init__(self, choice: "tuple[int, ...] | list[int]") -> None:
        self._choice = list(choice)

    def pick(self, options: tuple[float, ...]) -> float:
        number = self._choice.pop(0) if self._choice else 0
        return options[min(number, len(options) - 1)]


class Everything(Chooser):
    """Nothing is lost."""

    def pick(self, options: tuple[float, ...]) -> float:
        return options[0]
