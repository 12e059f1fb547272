"""A volume in memory whose disk fails as it is told, put through a script; what was acknowledged must stay.

Each run begins with the same volume. Whatever fails, and however often: the tree is what the acknowledged operations
made, in the running volume, after a kill or an orderly end, and in the next life, where fsck finds nothing. The volume
goes on by itself, or is read-only and says why.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rustfsfs.errors import JournalFailed, NoSpace, NotFound, ReadOnlyVolume, RustfsfsError, StoreError
from rustfsfs.meta import database
from rustfsfs.units import ROOT
from rustfsfs.volume import (
    attributes,
    collecting,
    commands,
    durability,
    epochs,
    names,
    reaping,
    snapshots,
    writing,
    xattrs,
)
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.volume import WAL_SIZE_MAX, Volume
from rustfsfs.world import World
from tests.crash import vfs
from tests.crash.disk import CrashFiles
from tests.crash.story import FILE, NOISE, Tree, _findings, inode_of, tree
from tests.faults import SHORT, Fault, Faults, FaultyFiles, FaultyVfs
from tests.volume.in_memory import InMemory

TROUBLE = (NoSpace, StoreError, JournalFailed, ReadOnlyVolume, OSError)  # what an operation may say of its disk
SMALL_CACHE = database.PRAGMAS.replace("-32768", "10")  # pages: the transaction of a replay spills into the WAL
FAULTS = Faults()
VFS = FaultyVfs("faulty-crash", vfs.NAME, FAULTS)
Step = Callable[[Volume], Awaitable[object]]


@dataclass
class FaultyVolume(InMemory):
    """An InMemory that can be put back to its beginning."""

    faults: Faults = field(default_factory=lambda: FAULTS)
    start: CrashFiles = field(default_factory=CrashFiles)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.start = self.files.copy()

    def opened(self, **how: Any) -> AbstractAsyncContextManager[Volume]:
        return self._opened(how)

    @asynccontextmanager
    async def _opened(self, how: dict[str, Any]) -> AsyncIterator[Volume]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "PRAGMAS", SMALL_CACHE)
            async with super().opened(**how) as volume:
                yield volume

    def world(self) -> World:
        return replace(super().world(), files=FaultyFiles(self.files, self.faults), sqlite_vfs=VFS.sealed)

    def begin_again(self) -> None:
        self.files = self.start.copy()
        self.faults.plan()
        self.faults.calls.clear()
        self.faults.failed.clear()
        vfs.put_files(self.files, self.path)


@dataclass
class Run:
    """One run of the script."""

    volume: FaultyVolume
    acknowledged: Tree = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)  # steps that failed
    calls: Counter[str] = field(default_factory=Counter)  # made by the script
    read_only: str | None = None  # what the volume said of itself at the end

    async def tell(self, *faults: Fault, killed: bool, and_look: bool = True) -> None:
        """Raises AssertionError where a promise is broken; what is no trouble of a disk comes through as it is."""
        self.volume.begin_again()
        life = self.volume.killed() if killed else self.volume.opened()
        async with life as volume:
            self.acknowledged = await tree(volume)
            self.volume.faults.calls.clear()
            self.volume.faults.plan(*faults)
            for name, step in SCRIPT.items():
                await self._take(volume, name, step)
            self.calls = Counter(self.volume.faults.calls)
            self.volume.faults.plan()
            if and_look:
                await self._goes_on(volume)
            if not killed:
                self.volume.faults.plan(*(replace(fault, skip=0) for fault in faults))  # again while it is closed
        self.volume.faults.plan()
        if and_look:
            await self._look()

    async def _look(self) -> None:
        """The next life."""
        async with self.volume.opened() as volume:
            assert await tree(volume) == self.acknowledged, "the next life does not show what was acknowledged"
            assert list(_findings(volume)) == []
            assert volume.health.read_only_reason is None, volume.health.read_only_reason

    async def open_again(self, *faults: Fault) -> None:
        """The process was killed after the script; the disk fails while the next life begins, or just after."""
        await self.tell(killed=True, and_look=False)
        self.volume.faults.calls.clear()
        self.volume.faults.plan(*faults)
        try:
            async with self.volume.killed() as volume:
                self.calls = Counter(self.volume.faults.calls)
                assert await tree(volume) == self.acknowledged
                self.read_only = volume.health.read_only_reason
        except* (RustfsfsError, OSError):
            self.refused.append("opening")
        self.volume.faults.plan()
        await self._look()

    async def _take(self, volume: Volume, name: str, step: Step) -> None:
        """It happens, or nothing does."""
        before, failed = self.acknowledged, False
        try:
            with ungrouped():
                await step(volume)
        except TROUBLE:
            failed = True
        except NotFound:
            assert self.refused, f"{name} needs what none of those refused was to make"
            failed = True
        await volume.gate.opened()
        if volume.metadata.lost is not None:
            return  # it answers nothing, rather than something older
        self.acknowledged = await tree(volume)
        if failed:
            self.refused.append(name)
        if failed or name.startswith("*"):
            assert self.acknowledged == before, f"{name}: something changed that was acknowledged"
        else:
            assert self.acknowledged != before or self.refused, f"{name} did nothing"

    async def _goes_on(self, volume: Volume) -> None:
        """The disk is well again: an operation works, and is durable, or the volume says why it takes none."""
        self.read_only = volume.health.read_only_reason
        if self.read_only is not None:
            return
        await volume.gate.opened()
        names.create(volume, ROOT, b"later", mode=FILE, uid=0, gid=0)
        await epochs.commit(volume)
        await durability.barrier(volume)
        await commands.seal(volume, {}, collecting.no_progress)
        assert volume.metadata.running.hot_bytes == 0
        self.acknowledged = await tree(volume)


def change(work: Callable[[Volume], object]) -> Step:
    async def run(volume: Volume) -> None:
        await volume.gate.opened()
        work(volume)

    return run


def make(name: bytes) -> Step:
    return change(lambda v: names.create(v, ROOT, name, mode=FILE, uid=0, gid=0))


def write(name: bytes, data: bytes, offset: int = 0) -> Step:
    return lambda v: writing.write(v, inode_of(v, name), offset, data)


def attach(name: bytes, number: int) -> Step:
    """An xattr of a page and more: it dirties several."""
    return change(lambda v: xattrs.set_(v, inode_of(v, name), b"user.%d" % number, NOISE[number : number + 9000]))


async def begin_wal_anew(volume: Volume) -> None:
    """As when it is longer than 64 MiB."""
    volume.activity.wal_bytes = WAL_SIZE_MAX + 1
    await epochs.commit(volume)


async def seal(volume: Volume) -> None:
    await volume.gate.opened()
    await commands.seal(volume, {}, collecting.no_progress)


async def collect(volume: Volume) -> None:
    await reaping.reap(volume)
    await collecting.collect_now(volume, live_share=0.9)


SCRIPT: dict[str, Step] = {  # those with a star change nothing that an application sees
    "make a": make(b"a"),
    "write a": write(b"a", NOISE[:70_000]),
    "* fsync": durability.barrier,
    "make b": make(b"b"),
    "write b": write(b"b", NOISE[:40_000]),
    **{f"attach {number}": attach(b"a", number) for number in range(1, 7)},
    "* epoch": epochs.commit,
    "overwrite a": write(b"a", b"over" * 500, 1000),
    "* seal": seal,
    "* begin the WAL anew": begin_wal_anew,
    "chmod b": change(lambda v: attributes.change(v, inode_of(v, b"b"), mode=0o600)),
    "* snapshot": snapshots.take,
    "truncate a": lambda v: writing.resize(v, inode_of(v, b"a"), 0),
    "rename b": change(lambda v: names.rename(v, ROOT, b"b", ROOT, b"z", exchange=False, no_replace=False)),
    "* collect": collect,
    "* reap": reaping.reap,
    **{f"attach again {number}": attach(b"a", number) for number in range(7, 11)},
    "unlink a": change(lambda v: names.unlink(v, ROOT, b"a")),
    "* second epoch": epochs.commit,
    "make c": make(b"c"),
    "write c": write(b"c", NOISE[:50_000]),
    **{f"attach to c {number}": attach(b"c", number) for number in range(1, 7)},
}

ACTIONS: dict[str, tuple[str, ...]] = {  # and how each may fail
    "xWrite": ("EIO", "ENOSPC"),
    "xSync": ("EIO",),
    "xTruncate": ("EIO",),
    "xOpen": ("EIO",),
    "xDelete": ("EIO",),
    "create": ("EIO", "ENOSPC"),
    "pwrite": ("EIO", "ENOSPC", SHORT),
    "sync": ("EIO",),
    "sync_dir": ("EIO",),
    "truncate": ("EIO",),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "mkdir": ("ENOSPC",),
}
COUNTS = (1, 2, 10_000)  # calls that fail: once, again at the next attempt, until the disk is mended


def every_fault(calls: Counter[str]) -> list[Fault]:
    """Each call of a run, failing in each way."""
    total: Counter[str] = Counter()
    for call, number in calls.items():
        total[call.split()[0]] += number
    return [
        Fault(action=action, how=how, skip=skip, count=count)
        for action, ways in ACTIONS.items()
        for how in ways
        for count in COUNTS
        for skip in range(total[action])
    ]
