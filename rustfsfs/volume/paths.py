"""Which files a chunk or a fork belongs to: for messages only, by reading whole tables in a worker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from rustfsfs.meta import database, entries, inodes
from rustfsfs.meta.database import Metadata
from rustfsfs.units import ROOT
from rustfsfs.volume.volume import Volume

PATHS_MAX = 10  # in one message


async def of_chunk(volume: Volume, chunk: int) -> list[str]:
    """Paths of the files that name a chunk, as of the last COMMIT."""
    return await trio.to_thread.run_sync(_of_chunk, volume, chunk)


async def of_fork(volume: Volume, fork: int) -> list[str]:
    """Paths of the file that has a fork, as of the last COMMIT."""
    return await trio.to_thread.run_sync(_of_fork, volume, fork)


def _of_fork(volume: Volume, fork: int) -> list[str]:
    with reading_apart(volume) as metadata:
        return paths_of_fork(metadata, fork)


def _of_chunk(volume: Volume, chunk: int) -> list[str]:
    with reading_apart(volume) as metadata:
        return paths_of_chunk(metadata, chunk)


@contextmanager
def reading_apart(volume: Volume) -> Iterator[Metadata]:
    """A connection of its own, in a read transaction of the last COMMIT: for what takes long. Blocking."""
    path, key = volume.metadata.path, volume.metadata.key
    metadata = Metadata(database.connect(path, key, vfs=volume.world.sqlite_vfs), path, key)
    try:
        metadata.run("BEGIN")
        database.read_running(metadata)
        yield metadata
    finally:
        metadata.close()


def paths_of_chunk(metadata: Metadata, chunk: int) -> list[str]:
    forks = metadata.rows(
        "SELECT DISTINCT fork FROM extents WHERE segment = 0 AND base = ? ORDER BY fork LIMIT ?", (chunk, PATHS_MAX)
    )
    return [path for (fork,) in forks for path in paths_of_fork(metadata, fork)][:PATHS_MAX]


def paths_of_fork(metadata: Metadata, fork: int) -> list[str]:
    found = metadata.rows("SELECT inode FROM inodes WHERE fork = ? ORDER BY inode", (fork,))
    return [path for (inode,) in found for path in paths_of(metadata, inode)]


def paths_of(metadata: Metadata, inode: int) -> list[str]:
    """Every path of an inode, from the root of the volume; `inode N (no name)` if it has none."""
    if inode == ROOT:
        return ["/"]
    found = [path_of_name(metadata, parent, name) for parent, name in entries.names_of(metadata, inode)]
    return found or [f"inode {inode} (no name)"]


def path_of_name(metadata: Metadata, parent: int, name: bytes) -> str:
    parts = [os.fsdecode(name)]
    while parent != ROOT:
        row = inodes.find(metadata, parent)
        above = None if row is None else next(iter(entries.names_of(metadata, parent)), None)
        if above is None:
            return f"(lost directory {parent})/" + "/".join(reversed(parts))
        parent = above[0]
        parts.append(os.fsdecode(above[1]))
    return "/" + "/".join(reversed(parts))
