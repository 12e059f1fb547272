"""The whole volume at every power cut: journal, packs, headers on the recording double, SQLite as of its last COMMIT.

A sequence of verbs runs once, to its end. Then, for a cut before each recorded action and for what it could leave,
the volume is opened: it must show the state after one of the operations, none older than the last fsync, and pass every
check. (SQLite's own files are taken as atomic here: a COMMIT that returned is durable.)
"""

import itertools
import os
import random
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from rustfsfs.config import Config
from rustfsfs.content.slots import SlotKind
from rustfsfs.meta import entries, inodes
from rustfsfs.units import ROOT, Nanoseconds
from rustfsfs.volume import (
    attributes,
    checking,
    collecting,
    commands,
    durability,
    epochs,
    formatting,
    names,
    reading,
    sealing,
    writing,
    xattrs,
)
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from rustfsfs.world import World
from tests.crash.disk import CrashFiles

STATES = int(os.environ.get("RUSTFSFS_CRASH_STATES", "2"))
Tree = dict[str, tuple[object, ...]]


@dataclass(frozen=True)
class Key:
    kind: SlotKind = SlotKind.KEY_FILE
    value: bytes = b"k" * 32


def world_on(files: CrashFiles, seed: int) -> World:
    clock, draw = itertools.count(10**18, 1000), random.Random(seed)
    return World(files=files, now_ns=lambda: Nanoseconds(next(clock)), random_bytes=draw.randbytes)


async def tree(volume: Volume, directory: int = ROOT, path: str = "") -> Tree:
    """All that an application could see, by path."""
    found: Tree = {}
    for name, _cookie, row in entries.page(volume.metadata, directory, 2, 1000):
        where = f"{path}/{name.decode()}"
        attached = {key: inodes.get_xattr(volume.metadata, row.inode, key) for key in xattrs.names(volume, row.inode)}
        data = bytes(await reading.read(volume, row.inode, 0, 1 << 22)) if row.is_file else b""
        found[where] = (
            row.mode,
            row.nlink,
            row.size_bytes if row.is_file else 0,
            data,
            tuple(sorted(attached.items())),
        )
        if row.is_directory:
            found |= await tree(volume, row.inode, where)
    return found


@dataclass
class Story:
    """What happened in one run: after how many actions each thing had happened."""

    files: CrashFiles
    trees: list[tuple[int, Tree]] = field(default_factory=list)  # (actions when it began, state after it)
    floors: list[tuple[int, int]] = field(
        default_factory=list
    )  # (actions when fsync returned, trees that must survive)
    commits: list[tuple[int, dict[str, bytes]]] = field(default_factory=list)  # (actions, SQLite's files)
    end: int = 0


def sqlite_files(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in ("metadata.db", "metadata.db-wal") if (path / name).exists()}


FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
NOISE = random.Random(9).randbytes(300_000)


def inode_of(volume: Volume, name: bytes) -> int:
    return names.lookup(volume, ROOT, name).inode


async def seal(volume: Volume) -> None:
    await commands.seal(volume, {}, collecting.no_progress)


async def seal_batch(volume: Volume) -> None:
    """As the background sealer: the pack stays open."""
    forks = sealing.hot_forks(volume)
    await sealing.seal_forks(volume, forks, is_busy=lambda _fork: False, after_batch=nothing_more)
    await durability.barrier(volume)


async def nothing_more(_sealed_bytes: int) -> None:
    return


async def collect(volume: Volume) -> None:
    await collecting.collect_now(volume, live_share=0.9)


def sync_verb(work: Callable[[Volume], object]) -> Callable[[Volume], Awaitable[None]]:
    async def run(volume: Volume) -> None:
        await volume.gate.opened()
        work(volume)

    return run


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
    "fsync": durability.barrier,
    "seal": seal,
    "seal batch": seal_batch,
    "epoch": epochs.commit,
    "collect": collect,
}
INVISIBLE = {"fsync", "seal", "seal batch", "epoch", "collect"}
IMPOSSIBLE = {("rename", "write"), ("rename", "append"), ("rename", "rename"), ("rename", "rename over")}
IMPOSSIBLE |= {("rename over", name) for name in ("write", "append", "rename", "rename over")}
IMPOSSIBLE |= {("unlink", name) for name in ("overwrite", "truncate", "truncate to nothing", "link", "unlink")}
IMPOSSIBLE |= {("unlink", name) for name in ("setxattr", "chmod")}
IMPOSSIBLE |= {("create", "create"), ("mkdir", "mkdir"), ("rmdir", "rmdir"), ("link", "link")}
PAIRS = [pair for pair in itertools.product(STEPS, repeat=2) if pair not in IMPOSSIBLE]
CHOSEN = PAIRS if os.environ.get("RUSTFSFS_CRASH_ALL") else random.Random(4).sample(PAIRS, 24)
SEQUENCES = [
    *((name,) for name in STEPS),
    *CHOSEN,
    ("seal", "overwrite", "seal", "collect"),
    ("unlink", "collect", "seal"),
]


async def live(story: Story, path: Path, sequence: tuple[str, ...]) -> None:
    """Run the sequence on a volume that holds a sealed file, a hot one and a directory."""
    how = Opening(path=str(path), secret=Key(), config=Config())
    async with opened_volume(world_on(story.files, 2), how) as volume:

        def committed(_db: object, _name: str, _pages: int) -> int:
            story.commits.append((story.files.actions, sqlite_files(path)))
            return 0

        volume.metadata.db.set_wal_hook(committed)
        for name in (b"a", b"b"):
            row = names.create(volume, ROOT, name, mode=FILE, uid=0, gid=0)
            await writing.write(volume, row.inode, 0, NOISE[:5000] if name == b"a" else NOISE[:40_000])
            await seal(volume)
        names.create(volume, ROOT, b"d", mode=DIRECTORY, uid=0, gid=0)
        await writing.write(volume, inode_of(volume, b"a"), 4000, NOISE[:1000])
        await epochs.commit(volume)
        story.commits.append((story.files.actions, sqlite_files(path)))
        story.trees.append((story.files.actions, await tree(volume)))
        story.floors.append((story.files.actions, 1))
        for step in sequence:
            began = story.files.actions
            await STEPS[step](volume)
            if step not in INVISIBLE:
                story.trees.append((began, await tree(volume)))
            if step in INVISIBLE:
                story.floors.append((story.files.actions, len(story.trees)))
        await volume.gate.opened()
        story.end = story.files.actions  # closing is not part of the story


async def opened_again(path: Path, files: CrashFiles) -> tuple[Tree, list[str]]:
    how = Opening(path=str(path), secret=Key(), config=Config())
    async with opened_volume(world_on(files, 3), how) as volume:
        assert volume.health.read_only_reason is None
        found = await tree(volume)
        findings = list(checking.check_metadata(volume.metadata))
        findings += checking.check_packs(volume.metadata, volume.disks, collecting.no_progress)
        findings += checking.check_data(
            volume.metadata, volume.disks, volume.journal, volume.keys, volume.header.uuid, collecting.no_progress
        )
        return found, findings


def put_sqlite(path: Path, stored: dict[str, bytes]) -> None:
    path.mkdir(exist_ok=True)
    for name in ("metadata.db", "metadata.db-wal", "metadata.db-shm"):
        (path / name).unlink(missing_ok=True)
    for name, data in stored.items():
        (path / name).write_bytes(data)


@pytest.mark.slow  # opens a volume for each state
@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda steps: ", ".join(steps))
def test_every_power_cut_leaves_a_prefix_up_to_the_last_fsync(tmp_path: Path, sequence: tuple[str, ...]) -> None:
    path = tmp_path / "v"
    path.mkdir()
    files = CrashFiles()
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
    story = Story(files)
    trio.run(live, story, path, sequence)
    first = story.floors[0][0]
    for cut, disk in story.files.cuts(first, story.end):
        stored = [data for actions, data in story.commits if actions <= cut][-1]
        floor = max(count for actions, count in story.floors if actions <= cut)
        possible = [state for began, state in story.trees if began <= cut][floor - 1 :]
        for left in disk.states(limit=STATES, seed=cut):
            put_sqlite(path, stored)
            found, findings = trio.run(opened_again, path, left)
            assert found in possible, (cut, sorted(found))
            assert findings == [], cut
