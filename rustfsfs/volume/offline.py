"""Commands on a volume that is not mounted: it is opened for the length of the call, without FUSE.

Readers replay the journal into a transaction that is never committed, so they change nothing. For the command line:
each function runs its own trio loop and is plain to call.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Config, Parsed, config_of, parse_settings
from rustfsfs.errors import MachineTrouble, OpeningError, UsageError
from rustfsfs.meta import entries, inodes
from rustfsfs.meta.inodes import Attributes
from rustfsfs.siteconfig import Site, config_for
from rustfsfs.units import MIB, ROOT
from rustfsfs.volume import checking, coldchecking, commands, drives, epochs, reading, tiercommands
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.exporting import export_tree
from rustfsfs.volume.formatting import CONFIG, Secret
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.settings import read_settings, read_text, with_class
from rustfsfs.volume.status import status as show
from rustfsfs.volume.volume import Volume
from rustfsfs.world import publish, real_world

READ_SIZE = 4 * MIB
T = TypeVar("T")


def _run(
    path: str,
    secret: Secret,
    work: Callable[[Volume], Awaitable[T]],
    *,
    read_only: bool,
    site: Site | None = None,  # if the volume was named by its NAME
    config: Config | None = None,  # instead of what its files say
) -> T:
    async def main() -> T:
        settings = config or _config(path, site, read_only=read_only)
        how = Opening(path=os.path.abspath(path), secret=secret, config=settings, read_only=read_only)
        async with opened_volume(real_world(), how) as volume:
            return await work(volume)

    return trio.run(main)


def _config(path: str, site: Site | None, *, read_only: bool) -> Config:
    """A mistake in the settings keeps nobody from reading the data. Raises UsageError, MachineTrouble otherwise."""
    try:
        return config_for(site, read_settings(f"{path}/{CONFIG}", must_exist=False))
    except OpeningError:
        if not read_only:
            raise
        return config_for(site, Parsed(frozenset(), {}))


def status(path: str, secret: Secret, *, site: Site | None = None) -> dict[str, Any]:
    """The dictionary of `volume.status`, state clean or unclean."""

    async def work(volume: Volume) -> dict[str, Any]:
        state = "unclean" if volume.health.unclean_start else "clean"
        found = await show(volume, state=state, mount_point=None, pid=None)
        found["volume"]["read_only"] = volume.health.trouble
        if found["bucket"] is not None:
            found["bucket"]["backlog"] = None
        return found

    return _run(path, secret, work, read_only=True, site=site)


def fsck(path: str, secret: Secret, *, data: bool, progress: Progress = no_progress) -> list[str]:
    """One line for each finding; empty means sound."""

    async def work(volume: Volume) -> list[str]:
        metadata = volume.metadata  # the replayed transaction, not the last COMMIT
        findings = [] if volume.health.trouble is None else [volume.health.trouble]
        findings += commands.out_of_reach(volume)
        disks, uuid, way = volume.disks, volume.header.uuid, coldchecking.way_of(volume)
        findings += checking.check_all(
            metadata, disks, volume.journal, volume.keys, uuid, data=data, step=progress, way=way
        )
        return findings

    return _run(path, secret, work, read_only=True)


def scrub(
    path: str, secret: Secret, args: dict[str, Any], *, site: Site | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """As the call `scrub` of a mounted volume."""

    async def work(volume: Volume) -> dict[str, Any]:
        return await commands.scrub(volume, args, progress)

    return _run(path, secret, work, read_only=not args["repair"], site=site)


def cat(path: str, secret: Secret, file: str, write: Callable[[bytes], object]) -> None:
    """The contents of one file, in pieces. Raises UsageError (no such file), DamagedData."""

    async def work(volume: Volume) -> None:
        row = find(volume, file)
        if not row.is_file:
            raise UsageError(f"{file} is not a regular file")
        async for data in contents(volume, row):
            write(bytes(data))

    _run(path, secret, work, read_only=True)


def export(path: str, secret: Secret, source: str, target: str, *, progress: Progress = no_progress) -> list[str]:
    """Copy a tree out to a directory; returns what could not be read, a line each, and goes on past it."""

    async def work(volume: Volume) -> list[str]:
        return await export_tree(volume, find(volume, source), source, target, progress=progress)

    return _run(path, secret, work, read_only=True)


def find(volume: Volume, path: str) -> Attributes:
    """The inode at a path from the volume's root. Raises UsageError."""
    row = inodes.get(volume.metadata, ROOT)
    for name in os.fsencode(path).split(b"/"):
        if name in (b"", b"."):
            continue
        found = entries.find_attributes(volume.metadata, row.inode, name)
        if found is None:
            raise UsageError(f"there is no {path} in the volume")
        row = found
    return row


async def contents(volume: Volume, row: Attributes) -> AsyncIterator[bytes | bytearray | memoryview]:
    offset = 0
    while offset < row.size_bytes:
        data = await reading.read(volume, row.inode, offset, READ_SIZE)
        yield data
        offset += len(data)


def accept_restored(path: str, secret: Secret) -> str:
    """Restored metadata is the volume from now on, whatever newer metadata may name; returns that in a sentence.

    What only newer metadata names goes then, in the bucket and on the disks. Raises UsageError, MachineTrouble.
    """

    async def work(volume: Volume) -> str:
        running = volume.metadata.running
        if not running.restored:
            raise UsageError("the metadata was not restored; there is nothing to accept")
        running.restored = running.restored_packs = running.restored_epoch = 0
        await epochs.commit(volume)
        if running.restored or volume.health.read_only_reason is not None:
            raise MachineTrouble(f"nothing was accepted: {volume.health.read_only_reason or 'COMMIT failed'}")
        return "the restored metadata is the volume now; what only newer metadata names goes in the background"

    return _run(path, secret, work, read_only=False)


def disk_list(path: str, secret: Secret) -> list[dict[str, Any]]:
    async def work(volume: Volume) -> list[dict[str, Any]]:
        return await drives.list_(volume)

    return _run(path, secret, work, read_only=True)


def disk_add(path: str, secret: Secret, disk: str, *, site: Site | None = None) -> int:
    async def work(volume: Volume) -> int:
        return await drives.add(volume, disk)

    return _run(path, secret, work, read_only=False, site=site)


def disk_remove(
    path: str, secret: Secret, disk: str, *, site: Site | None = None, progress: Progress = no_progress
) -> None:
    async def work(volume: Volume) -> None:
        await drives.remove(volume, disk, progress=progress)

    _run(path, secret, work, read_only=False, site=site)


def tier(
    path: str,
    secret: Secret,
    name: str,
    args: dict[str, Any],
    *,
    read_only: bool,
    site: Site | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """As one of the calls `tier_...` of a mounted volume."""

    async def work(volume: Volume) -> dict[str, Any]:
        result: dict[str, Any] = await tiercommands.COMMANDS[name](volume, args, progress)
        return result

    return _run(path, secret, work, read_only=read_only, site=site)


def _ensure_class(site: Site, placement: Placement) -> None:
    here = config_of(site.parsed.settings.values()).bucket.placement
    if here is not placement:
        raise UsageError(f"{site.path} has bucket.class {here.value}; change it there, or leave --class out")


def bucket_attach(
    path: str, secret: Secret, args: dict[str, Any], *, site: Site | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """As the call of a mounted volume; a class that config.toml does not name yet is written there, at the end.

    Raises UsageError too where NAME.toml has another class: its table [bucket] is the one in effect.
    """
    where = f"{path}/{CONFIG}"
    text = wanted = read_text(where, must_exist=False)
    if args["class"] is not None:
        placement = Placement(args["class"])
        if site is not None and "bucket" in site.parsed.tables:
            _ensure_class(site, placement)
        else:
            wanted = with_class(text, placement, where=where)

    async def work(volume: Volume) -> dict[str, Any]:
        done = await commands.bucket_attach(volume, args, progress)
        if wanted != text:
            publish(volume.world.files, where, wanted.encode())
        return done

    config = config_for(site, parse_settings(wanted, where=where))
    return _run(path, secret, work, read_only=False, config=config)
