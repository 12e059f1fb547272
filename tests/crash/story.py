"""Short stories on a whole volume, all of whose disk actions are recorded, and what must hold wherever they are cut.

Journal, packs, headers, snapshots and SQLite's own files lie on `CrashFiles`. A story runs once, to its end; then the
power is cut before each of its actions, and every state that could be left is opened (`explore`): it must show the
state after one of the operations, none older than the last fsync, and pass every check of fsck (I1, I2, I11; DESIGN.md
§7).
"""

import itertools
import random
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import apsw
import pytest
import trio

from rustfsfs.config import Config
from rustfsfs.content.slots import SlotKind
from rustfsfs.errors import RustfsfsError
from rustfsfs.journal import barriers
from rustfsfs.meta import database, disks, entries, inodes
from rustfsfs.store.headers import read_disk_header
from rustfsfs.units import KIB, ROOT, Nanoseconds
from rustfsfs.volume import (
    attributes,
    checking,
    collecting,
    commands,
    deleting,
    demoting,
    drives,
    durability,
    epochs,
    formatting,
    names,
    reading,
    reaping,
    recalling,
    rounds,
    sealing,
    snapshots,
    sweeping,
    tiering,
    windows,
    writing,
    xattrs,
)
from rustfsfs.volume.gate import Gate
from rustfsfs.volume.header import unlocked
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Pins, Volume
from rustfsfs.world import World
from tests.crash import dirbucket, nonces, vfs
from tests.crash.disk import CrashFiles, Everything, PowerLoss

T = TypeVar("T")
Tree = dict[str, tuple[object, ...]]
FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
NOISE = random.Random(9).randbytes(300_000)
NO_SNAPSHOT = Pins().snapshot_seq
SEGMENT_BYTES = 256 * KIB  # small, so that stories pass from one to the next


@dataclass(frozen=True)
class Key:
    kind: SlotKind = SlotKind.KEY_FILE
    value: bytes = b"k" * 32


def world_on(files: CrashFiles, seed: int) -> World:
    """For a new life. What it draws, no life before it drew: the kernel would not give it again either."""
    nonces.begin_life(files)
    clock, draw = itertools.count(10**18, 1000), random.Random(f"{len(files.past)} {seed}")
    vfs.VFS.disk = files
    return World(
        files=files, now_ns=lambda: Nanoseconds(next(clock)), random_bytes=draw.randbytes, sqlite_vfs=vfs.SEALED
    )


def empty_disk(path: Path) -> CrashFiles:
    """With the directory that becomes the volume."""
    files = CrashFiles()
    files.mkdir(str(path))
    files.new_folders_may_vanish = True
    return files


@nonces.watched()
def new_disk(path: Path) -> CrashFiles:
    """A disk with a fresh volume at `path`; SQLite's part of it really lies there."""
    files = empty_disk(path)
    path.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formatting, "SEGMENT_SIZE_MIN", SEGMENT_BYTES)
        patch.setattr(formatting, "SEGMENT_SIZE_MAX", SEGMENT_BYTES)
        formatting.format_volume(
            world_on(files, 1),
            str(path),
            disks=[],
            secret=Key(),
            recovery_key=b"r" * 32,
            chunk_avg_bytes=65536,
            compression_level=1,
            copies=1,
            config_text="",
        )
    return files


def opening(path: Path) -> Opening:
    return Opening(path=str(path), secret=Key(), config=Config())


async def tree(volume: Volume, directory: int = ROOT, path: str = "") -> Tree:
    """All that an application could see, by path; and the disks, if there are several."""
    found: Tree = {}
    rows = disks.all_(volume.metadata) if directory == ROOT else []
    if len(rows) > 1:
        found["disks"] = tuple(row.path for row in rows)
    for name, _cookie, row in entries.page(volume.metadata, directory, 2, 1000):
        where = f"{path}/{name.decode()}"
        attached = {key: inodes.get_xattr(volume.metadata, row.inode, key) for key in xattrs.names(volume, row.inode)}
        data = bytes(await reading.read(volume, row.inode, 0, 1 << 22)) if row.is_file else b""
        size = row.size_bytes if row.is_file else 0
        found[where] = (row.mode, row.nlink, size, data, tuple(sorted(attached.items())))
        if row.is_directory:
            found |= await tree(volume, row.inode, where)
    return found


# --- what can happen ----------------------------------------------------------------------------------------------


def inode_of(volume: Volume, name: bytes) -> int:
    return names.lookup(volume, ROOT, name).inode


async def seal(volume: Volume) -> None:
    await commands.seal(volume, {}, collecting.no_progress)


async def seal_batch(volume: Volume) -> None:
    """As the background sealer: the pack stays open."""
    forks = windows.hot_forks(volume)
    await sealing.seal_forks(volume, forks, is_busy=lambda _fork: False, after_batch=nothing_more)
    await durability.barrier(volume)


async def nothing_more(_sealed_bytes: int) -> None:
    return


async def collect(volume: Volume) -> None:
    await reaping.reap(volume)
    await collecting.collect_now(volume, live_share=0.9)


async def collect_quietly(volume: Volume) -> None:
    """As the background task: what a snapshot names stays."""
    await reaping.reap(volume)
    await collecting.collect(volume, live_share=0.9)


async def drop(volume: Volume) -> None:
    """Dead packs lose their rows, and nothing is committed."""
    await reaping.reap(volume)
    await collecting.bury(volume)
    await collecting._drop_empty(volume)


async def roll(volume: Volume) -> None:
    """The journal goes on in its next segment."""
    before = volume.journal.segments[-1]
    while volume.journal.segments[-1] == before:
        await volume.gate.opened()
        await writing.write(volume, inode_of(volume, b"c"), 0, NOISE[:100_000])


def sync_verb(work: Callable[[Volume], object]) -> Callable[[Volume], Awaitable[None]]:
    async def run(volume: Volume) -> None:
        await volume.gate.opened()
        work(volume)

    return run


def within_a_seal(step: str) -> Callable[[Volume], Awaitable[None]]:
    """The step happens after the sealer has read what it seals, and before it records that."""

    async def run(volume: Volume) -> None:
        is_done = trio.Event()

        async def sealed() -> None:
            await seal_batch(volume)
            is_done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sealed)
            while not volume.pack_lock.locked() and not is_done.is_set():
                await trio.lowlevel.checkpoint()
            await STEPS[step](volume)
        await durability.barrier(volume)  # there may have been nothing to seal

    return run


def within_an_epoch(step: str) -> Callable[[Volume], Awaitable[None]]:
    """The step happens when COMMIT has waited for the journal, right before the gate is shut."""
    closed = Gate.closed

    async def run(volume: Volume) -> None:
        @asynccontextmanager
        async def behind_the_step(gate: Gate) -> AsyncIterator[None]:
            Gate.closed = closed  # type: ignore[method-assign]
            await STEPS[step](volume)
            async with closed(gate):
                yield

        Gate.closed = behind_the_step  # type: ignore[method-assign, assignment]
        try:
            await epochs.commit(volume)
        finally:
            Gate.closed = closed  # type: ignore[method-assign]
        await durability.barrier(volume)

    return run


def other_disk(volume: Volume) -> str:
    return f"{volume.path}-disk"


def within_a_snapshot(*steps: str) -> Callable[[Volume], Awaitable[None]]:
    """The steps happen while a snapshot is written, before it is recorded: the gate holds it until they are done."""
    opened = Gate.opened

    async def run(volume: Volume) -> None:
        done = trio.Event()

        async def held(gate: Gate) -> None:
            if trio.lowlevel.current_task().name == "held snapshot" and volume.pins.snapshot_seq != NO_SNAPSHOT:
                await done.wait()
            await opened(gate)

        Gate.opened = held  # type: ignore[method-assign, assignment]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(snapshots.take, volume, name="held snapshot")
                while volume.pins.snapshot_seq == NO_SNAPSHOT:
                    await trio.lowlevel.checkpoint()
                for step in steps:
                    await (STEPS | LATER)[step](volume)
                done.set()
        finally:
            Gate.opened = opened  # type: ignore[method-assign]

    return run


async def epoch_then_roll(volume: Volume) -> None:
    """Behind the COMMIT, and before segments are dropped, the journal goes on in its next segment."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(epochs.commit, volume)
        while not volume.gate.shut:
            await trio.lowlevel.checkpoint()
        await roll(volume)


async def upload(volume: Volume) -> None:
    """Every closed pack is in the bucket too; the volume gets one if it has none."""
    await volume.gate.opened()
    dirbucket.attach(volume, first=True)
    packs = (await tiering.gather(volume)).packs
    await rounds.upload_all(volume, [pack for pack in packs if pack.closed and pack.is_local and not pack.object])


async def demote(volume: Volume) -> None:
    await upload(volume)
    await demoting.demote(volume, [pack.key for pack in (await tiering.gather(volume)).packs if pack.is_local])


async def recall(volume: Volume) -> None:
    for pack in (await tiering.gather(volume)).packs:
        if not pack.is_local:
            assert await recalling.recall(volume, pack.key)


async def write_new(volume: Volume, name: bytes, data: bytes) -> None:
    await volume.gate.opened()
    row = names.create(volume, ROOT, name, mode=FILE, uid=0, gid=0)
    await writing.write(volume, row.inode, 0, data)


STEPS: dict[str, Callable[[Volume], Awaitable[object]]] = {
    "create": sync_verb(lambda v: names.create(v, ROOT, b"new", mode=FILE, uid=0, gid=0)),
    "write": lambda v: writing.write(v, inode_of(v, b"a"), 0, NOISE[:70_000]),
    "append": lambda v: writing.write(v, inode_of(v, b"a"), 5000, NOISE[100:3000]),
    "overwrite": lambda v: writing.write(v, inode_of(v, b"b"), 1000, b"over" * 50),
    "truncate": lambda v: writing.resize(v, inode_of(v, b"b"), 1500),
    "truncate to nothing": lambda v: writing.resize(v, inode_of(v, b"b"), 0),
    "rename": sync_verb(lambda v: names.rename(v, ROOT, b"a", ROOT, b"z", exchange=False, no_replace=False)),
    "rename over": sync_verb(lambda v: names.rename(v, ROOT, b"a", ROOT, b"b", exchange=False, no_replace=False)),
    "link": sync_verb(lambda v: names.link(v, inode_of(v, b"b"), ROOT, b"hard")),
    "unlink": sync_verb(lambda v: names.unlink(v, ROOT, b"b")),
    "mkdir": sync_verb(lambda v: names.create(v, ROOT, b"dir", mode=DIRECTORY, uid=0, gid=0)),
    "rmdir": sync_verb(lambda v: names.rmdir(v, ROOT, b"d")),
    "setxattr": sync_verb(lambda v: xattrs.set_(v, inode_of(v, b"b"), b"user.x", b"value")),
    "chmod": sync_verb(lambda v: attributes.change(v, inode_of(v, b"b"), mode=0o600)),
    "fsync": durability.barrier,  # fsyncdir is the same verb
    "seal": seal,
    "seal batch": seal_batch,
    "epoch": epochs.commit,
    "collect": collect,
    "snapshot": snapshots.take,
    "same again": lambda v: writing.write(v, inode_of(v, b"c"), 0, NOISE[:40_000]),  # as b: a dedup hit
    "bury": collecting.bury,
}
LATER: dict[str, Callable[[Volume], Awaitable[object]]] = {
    "collect quietly": collect_quietly,
    "drop": drop,
    "delete doomed": collecting.delete_doomed,
    "roll": roll,
    "reap": reaping.reap,
    "collect within a snapshot": within_a_snapshot("drop", "epoch", "delete doomed"),
    "seal within a snapshot": within_a_snapshot("roll", "seal", "epoch"),
    "epoch then roll": epoch_then_roll,
    "upload": upload,
    "demote": demote,
    "recall": recall,
    "delete objects": deleting.delete_objects,
    "sweep": sweeping.sweep,
    "disk add": lambda v: drives.add(v, other_disk(v)),
    "disk remove": lambda v: drives.remove(v, other_disk(v)),
    "mkdir later": sync_verb(lambda v: names.create(v, ROOT, b"later-dir", mode=DIRECTORY, uid=0, gid=0)),
    "create later": sync_verb(lambda v: names.create(v, ROOT, b"later", mode=FILE, uid=0, gid=0)),
}
WITHIN = ("write", "overwrite", "truncate", "truncate to nothing", "unlink", "bury", "epoch")
STEPS |= {f"{step} within a seal": within_a_seal(step) for step in WITHIN}
STEPS |= {f"{step} within an epoch": within_an_epoch(step) for step in ("write", "create", "unlink")}
INVISIBLE = {"fsync", "seal", "seal batch", "epoch", "collect", "snapshot", "bury", "bury within a seal"}
INVISIBLE |= {
    "collect within a snapshot",
    "epoch within a seal",
    "collect quietly",
    "drop",
    "delete doomed",
    "reap",
    "upload",
    "demote",
    "recall",
    "delete objects",
    "sweep",
}
NO_BARRIER = {"collect", "collect quietly", "bury", "drop", "delete doomed", "reap"}
NO_BARRIER |= {"upload", "recall", "delete objects"}
FLOORS = {name for name in [*STEPS, *LATER] if " within " in name} | INVISIBLE - NO_BARRIER
FLOORS |= {"disk add", "disk remove"}
ONCE = ("create", "mkdir", "rmdir", "link")
A_GONE, B_GONE = {"rename", "rename over"}, {"unlink"}
NEEDS_A = {"write", "append", "rename", "rename over"}
NEEDS_B = {"overwrite", "truncate", "truncate to nothing", "link", "unlink", "setxattr", "chmod"}


def base(step: str) -> str:
    return step.partition(" within ")[0]


def is_possible(steps: tuple[str, ...]) -> bool:
    """No step needs what one before it took away."""
    return not any(_excludes(base(one), base(other)) for one, other in itertools.combinations(steps, 2))


def _excludes(before: str, step: str) -> bool:
    if before == step and step in ONCE:
        return True
    return (before in A_GONE and step in NEEDS_A) or (before in B_GONE and step in NEEDS_B)


def sequences(length: int) -> list[tuple[str, ...]]:
    """All possible ones."""
    return [steps for steps in itertools.product(STEPS, repeat=length) if is_possible(steps)]


# --- a story, and what it may leave -------------------------------------------------------------------------------


@dataclass
class Story:
    """What happened in one run: after how many actions each thing had happened."""

    path: Path
    start: CrashFiles  # the disk before the run
    files: CrashFiles
    trees: list[tuple[int, Tree]] = field(default_factory=list)  # (actions when it began, state after it)
    floors: list[tuple[int, int]] = field(default_factory=list)  # (actions when it was durable, trees that stay)
    doubts: list[tuple[int, int, Tree]] = field(default_factory=list)  # (began, answered EIO, as if it had happened)
    after: list[Tree] = field(default_factory=list)  # after each step
    ended: list[tuple[str, int]] = field(default_factory=list)  # (step, actions when it returned)
    first: int = 0  # the first action of the story proper
    last: int = 0
    first_inode: int = 0  # numbers this life may have given out: from here on,
    next_inode: int = 0  # below this
    image: bytes = b""  # the database at the end, in clear, with its open transaction

    def possible(self, cut: int) -> list[Tree]:
        """What may be found after a cut before this action."""
        floor = max(count for actions, count in self.floors if actions <= cut)
        doubted = [state for began, answered, state in self.doubts if began < cut < answered]
        return [state for began, state in self.trees if began <= cut][floor - 1 :] + doubted

    @property
    def last_step(self) -> int:
        """The first action of the last step: what comes before is the story of the steps before."""
        return self.ended[-2][1] if len(self.ended) > 1 else self.first

    def cuts(self, first: int | None = None) -> Iterator[tuple[int, CrashFiles]]:
        return self.files.cuts(self.first if first is None else first, self.last, self.start)


Faults = dict[str, list[int | str | None]]  # as CrashFiles.failing


@nonces.watched()
def told(path: Path, steps: tuple[str, ...], *, faults: Faults | None = None, well: "Story | None" = None) -> Story:
    """Run the steps on a new volume that holds a sealed file, a hot one and a directory.

    faults   what fails from the first step on: then a step may raise, and must have changed nothing
    well     the same story without faults: what a step that failed would have done
    """
    disk = new_disk(path)
    story = Story(path, disk.copy(), disk)
    disk.begin_log()
    trio.run(_tell, story, steps, faults or {}, well, _furnish)
    return story


@nonces.watched()
def told_after(path: Path, left: CrashFiles, steps: tuple[str, ...]) -> Story:
    """The next life: recover what a cut or a kill left, and run the steps there."""
    vfs.put_files(left, path)
    left.begin_log()
    left.die_at = None
    story = Story(path, left.copy(), left)
    trio.run(_tell, story, steps, {}, None, nothing_first)
    return story


async def nothing_first(_volume: Volume) -> None:
    return


async def _tell(
    story: Story,
    steps: tuple[str, ...],
    faults: Faults,
    well: Story | None,
    first: Callable[[Volume], Awaitable[None]],
) -> None:
    files = story.files
    try:
        async with opened_volume(world_on(files, 1000 + files.seed), opening(story.path)) as volume:
            dirbucket.attach(volume)
            await first(volume)
            story.first, story.first_inode = files.actions, volume.numbers.inode
            story.trees.append((story.first, await tree(volume)))
            story.floors.append((story.first, 1))
            files.failing = {action: list(planned) for action, planned in faults.items()}
            for number, step in enumerate(steps):
                await _take(story, volume, step, None if well is None else well.after[number])
                story.after.append(story.trees[-1][1])
                story.ended.append((step, files.actions))
            await volume.gate.opened()
            assert await tree(volume) == story.trees[-1][1], "something acknowledged disappeared from the running mount"
            story.image, story.next_inode = image(volume), volume.numbers.inode
            story.last = files.actions
            files.die_at = story.last  # closing is not part of the story
    except* (PowerLoss, RustfsfsError, apsw.Error, OSError):
        if not story.last:
            raise


async def _furnish(volume: Volume) -> None:
    for name in (b"a", b"b"):
        await write_new(volume, name, NOISE[:5000] if name == b"a" else NOISE[:40_000])
        await seal(volume)
    names.create(volume, ROOT, b"c", mode=FILE, uid=0, gid=0)
    names.create(volume, ROOT, b"d", mode=DIRECTORY, uid=0, gid=0)
    await writing.write(volume, inode_of(volume, b"a"), 4000, NOISE[:1000])
    await epochs.commit(volume)


async def _take(story: Story, volume: Volume, step: str, wanted: Tree | None) -> None:
    """One step, and what is true since. It may fail if it is known what it was `wanted` to do."""
    began, failed = story.files.actions, False
    try:
        await (STEPS | LATER)[step](volume)
    except* (RustfsfsError, OSError):
        failed = True
        if wanted is None:
            raise
    if failed and wanted is not None:
        story.doubts.append((began, story.files.actions, wanted))
        await volume.gate.opened()
        now = await tree(volume)
        if now != story.trees[-1][1]:  # the sealing around it failed
            assert " within " in step, step
            story.trees.append((began, now))
        return
    if step not in INVISIBLE:
        story.trees.append((began, await tree(volume)))
    if step in FLOORS:
        story.floors.append((story.files.actions, len(story.trees)))


@dataclass
class Found:
    """What opening a disk showed."""

    tree: Tree
    findings: list[str]
    read_only_reason: str | None
    life: nonces.Life  # what it sealed


async def at_once(work: Callable[..., T], *args: object, **_how: object) -> T:
    """As `trio.to_thread.run_sync`, without the thread: hops took half of an opening's time (measured)."""
    await trio.lowlevel.checkpoint()
    return work(*args)


@contextmanager
def no_threads() -> Iterator[None]:
    """For openings that are looked at and no more: nothing else happens while a worker works."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", at_once)
        patch.setattr(barriers, "INLINE_S_MAX", 1.0)
        yield


@nonces.watched()
def opened_again(path: Path, disk: CrashFiles) -> Found:
    """Recover what a cut left, look at it, and pull the plug. The disk's log then holds the recovery."""
    vfs.put_files(disk, path)
    found: list[Found] = []
    try:
        with no_threads():
            trio.run(_open_again, path, disk, found)
    except* PowerLoss:
        if not found:
            raise
    return found[0]


async def _open_again(path: Path, disk: CrashFiles, found: list[Found]) -> None:
    world = world_on(disk, 500_000 + disk.seed)
    life, _until = disk.past[-1]
    async with opened_volume(world, opening(path)) as volume:
        dirbucket.attach(volume)
        found.append(Found(await tree(volume), list(_findings(volume)), volume.health.read_only_reason, life))
        disk.die_at = disk.actions


def _findings(volume: Volume) -> Iterator[str]:
    yield from map(str, checking.check_metadata(volume.metadata))
    yield from map(str, checking.check_packs(volume.metadata, volume.disks, collecting.no_progress))
    yield from map(
        str,
        checking.check_data(
            volume.metadata, volume.disks, volume.journal, volume.keys, volume.header.uuid, collecting.no_progress
        ),
    )


@nonces.watched()
def replayed(path: Path, disk: CrashFiles) -> bytes:
    """The database in clear after a replay from the last COMMIT, not committed itself."""
    vfs.put_files(disk, path)
    return trio.run(_replay, path, disk)


async def _replay(path: Path, disk: CrashFiles) -> bytes:
    async with opened_volume(world_on(disk, 3), replace(opening(path), read_only=True)) as volume:
        return image(volume)


def image(volume: Volume) -> bytes:
    """The database's pages in clear, with the open transaction, each without its nonce and tag."""
    data = volume.metadata.db.serialize("main")
    page, reserved = int.from_bytes(data[16:18], "big"), data[20]  # sqlite.org/fileformat2.html §1.3
    return b"".join(data[at : at + page - reserved] for at in range(0, len(data), page))


# --- exploring ----------------------------------------------------------------------------------------------------


@dataclass
class Explored:
    """States by their hash: each is opened once, and judged at every cut that can leave it."""

    found: dict[bytes, Found] = field(default_factory=dict)
    judged: int = 0

    def judge(self, path: Path, left: CrashFiles, possible: list[Tree], where: object) -> Found:
        digest = left.digest()
        if (found := self.found.get(digest)) is None:
            found = self.found[digest] = opened_again(path, left)
        elif found.life.repeats(left.past):
            raise AssertionError((where, "a nonce or a key is used again"))
        self.judged += 1
        assert found.read_only_reason is None, (where, found.read_only_reason)
        assert found.tree in possible, (where, difference(found.tree, possible))
        assert found.findings == [], (where, found.findings)
        return found


def explore_kill(story: Story, explored: Explored, *, limit: int, seed: int, steps: tuple[str, ...]) -> None:
    """The process is killed at the end of the story, and nothing is lost; the power is cut in the next life.

    What recovery builds on must be durable before it does: the pages that the first life wrote may not be yet (I1).
    """
    before = story.possible(story.last)
    story.files.seed = 5
    after = told_after(story.path, story.files, steps)
    assert after.trees[0][1] == story.trees[-1][1], "a kill lost something acknowledged"
    for cut, disk in after.files.cuts(0, after.last, after.start):
        possible = after.possible(cut) if cut >= after.first else []
        for left in disk.states(limit=limit, seed=seed + cut):
            left.seed = cut
            explored.judge(story.path, left, [*before, *possible] if cut < after.first else possible, (cut, "kill"))


@nonces.watched()
def explore_snapshots(story: Story, *, limit: int = 6) -> None:
    """Wherever the power is cut: the newest snapshot on the disk, restored, finds everything that it names (I5).

    And once there was one, there is one for ever, also after the next life has begun; the disk's header names one that
    is there.
    """
    header, keys = unlocked(world_on(story.start.copy(), 8), str(story.path), Key())
    trees = [state for _began, state in story.trees]
    since = min(actions for step, actions in story.ended if step.endswith("snapshot"))
    looked = set[bytes]()
    for cut, disk in story.cuts():
        for left in disk.states(limit=limit, seed=cut):
            folder = f"{story.path}/snapshots"
            found = [name for name in left.names(folder) if name.endswith(".db")] if left.exists(folder) else []
            assert found or cut < since, (cut, "the snapshots are gone")
            named = read_disk_header(left, str(story.path), keys=keys, uuid=header.uuid).epoch
            assert not named or snapshots.file_name(named) in found, (cut, "the disk's header names another snapshot")
            if found and left.digest() not in looked:
                looked.add(left.digest())
                living = left.copy()
                opened_again(story.path, living)
                still = [name for name in living.names(folder) if name.endswith(".db")]
                assert still or cut < since, (cut, "the next life deleted the last snapshot")
                restored = trio.run(_restore, story.path, left, f"{folder}/{found[-1]}")
                assert restored.findings == [], (cut, restored.findings)
                assert restored.tree in trees, (cut, difference(restored.tree, trees))
    assert looked, "no snapshot was ever there"


async def _restore(path: Path, disk: CrashFiles, snapshot: str) -> Found:
    """As `fsck --restore-metadata`, then opened without a change."""
    data = disk.pread(disk.open(snapshot), disk.size(snapshot) - snapshots.TRAILER_SIZE, 0)
    for name in (f"{path}/metadata.db", f"{path}/metadata.db-wal", f"{path}/metadata.pages"):
        disk.unlink(name)
    fd = disk.create(f"{path}/metadata.db")
    disk.pwrite(fd, data, 0)
    vfs.put_files(disk, path)
    world = world_on(disk, 9)
    _header, keys = unlocked(world, str(path), Key())
    metadata = database.open_(f"{path}/metadata.db", keys.database, vfs=world.sqlite_vfs)
    database.mark_restored(metadata, newest_epoch=0)
    metadata.close()
    async with opened_volume(world, replace(opening(path), read_only=True)) as volume:
        return Found(await tree(volume), list(_findings(volume)), None, disk.past[-1][0])


def explore_format(path: Path, explored: Explored, *, limit: int, seed: int) -> None:
    """Format cut off anywhere leaves no volume, or a whole one (VOLUME/header comes last)."""
    files = new_disk(path)
    for cut, disk in files.cuts(0, files.actions, empty_disk(path)):
        for left in disk.states(limit=limit, seed=seed + cut):
            if left.exists(f"{path}/header"):
                explored.judge(path, left, [{}], (cut, "format"))
            else:
                assert cut < files.actions, "format returned, and there is no volume"


def difference(found: Tree, possible: list[Tree]) -> str:
    """How a state differs from the likest of those it may be, in few words."""
    likest = min(possible, key=lambda tree: len(set(tree) ^ set(found)))
    names_ = sorted(name for name in {*likest, *found} if likest.get(name) != found.get(name))
    return f"{len(possible)} possible; the likest differs in {names_}; there is {sorted(found)}"


def explore(story: Story, explored: Explored, *, limit: int, seed: int, first: int | None = None) -> None:
    """Cut before every action from `first` on (the story's); judge at most `limit` states of each cut."""
    for cut, disk in story.cuts(first):
        possible = story.possible(cut)
        for left in disk.states(limit=limit, seed=seed + cut):
            left.seed = cut
            explored.judge(story.path, left, possible, (cut, len(story.trees)))


def explore_recovery(
    story: Story,
    explored: Explored,
    *,
    limit: int,
    seed: int,
    steps: tuple[str, ...],
    share: float = 0.3,
    first: int | None = None,
) -> None:
    """Of a `share` of the cuts, drawn by `seed`, a recovery is cut everywhere; then the next life is told, and cut."""
    draw = random.Random(seed)
    for cut, disk in story.cuts(first):
        if draw.random() > share:
            continue
        possible = story.possible(cut)
        left = list(disk.states(limit=3, seed=seed + cut))[-1]
        start = left.copy()
        found = opened_again(story.path, left)
        assert found.tree in possible and found.read_only_reason is None, (cut, found.read_only_reason)
        for again, disk_again in left.cuts(0, left.actions, start):
            for state in disk_again.states(limit=limit, seed=again):
                state.seed = again
                explored.judge(story.path, state, [found.tree], (cut, "recovery", again))
        left.die_at = None
        living = left.power_loss(Everything())
        living.seed = 77 + cut
        after = told_after(story.path, living, steps)
        assert after.first_inode >= story.next_inode, "an inode number is given out twice"
        explore(after, explored, limit=limit, seed=seed + cut)
