"""Metadata of an older format, brought to today's when a volume is opened; as it was, it is kept.

Order: room → a copy of it durable by its name → one transaction of all steps, and the new format's number → COMMIT →
other copies go. Cut anywhere, the database is of the one format or the other, whole. As long as it is of the older one
the copy is made anew: whoever goes on with an older rustfsfs changes it. The journal stays as it is, and is replayed
behind the migration: ops of every format that was released are read for ever.

A volume that is opened to be read only is migrated in a copy of its database, which is gone afterwards (`frozen`).
"""

import errno
import os

from rustfsfs.content.keys import Keys
from rustfsfs.errors import DamagedVolume, MachineTrouble
from rustfsfs.meta import database, migrations
from rustfsfs.meta.database import Metadata
from rustfsfs.units import MIB, format_size
from rustfsfs.volume import ballast
from rustfsfs.volume.notices import notice
from rustfsfs.volume.volume import log
from rustfsfs.world import World

KEPT, SUFFIX = "metadata.before-", ".db"  # between them today's format: it is the metadata as it was before that
TEMPORARY = "metadata.copy"  # as that of a snapshot: who makes the next one begins with its removal
STEP = MIB  # bytes copied at once
ROOM_TIMES = (
    3  # the size of the database: two copies while one is made, or one and a WAL in which all of it changed twice
)
ROOM_BYTES = 32 * MIB  # beside that


def open_metadata(world: World, path: str, keys: Keys) -> Metadata:
    """The database at its last COMMIT, of whatever format we can use. Raises DamagedVolume, NewerFormat."""
    if not os.path.exists(path):
        raise DamagedVolume(
            f"the metadata {path} is gone; rustfsfs fsck --rebuild-from-bucket brings it back if the volume has a"
            " bucket, --restore-metadata a snapshot of it"
        )
    metadata = database.open_(path, keys.database, vfs=world.sqlite_vfs)
    try:
        migrations.needed(migrations.format_of(metadata))
    except BaseException:
        metadata.close()
        raise
    return metadata


def open_copy(world: World, path: str, keys: Keys) -> Metadata:
    """Of a database that is a copy, brought to today's format. Raises DamagedVolume, NewerFormat, and as `run`."""
    metadata = open_metadata(world, path, keys)
    try:
        _migrate(metadata)
    except BaseException:
        metadata.close()
        raise
    return metadata


def is_older(world: World, path: str, keys: Keys) -> bool:
    """Has the database at `path` to be migrated before it is used? Raises DamagedVolume, NewerFormat."""
    metadata = open_metadata(world, path, keys)
    try:
        return bool(migrations.needed(migrations.format_of(metadata)))
    finally:
        metadata.close()


def upgrade(world: World, path: str, metadata: Metadata, keys: Keys, *, keeps_copy: bool) -> None:
    """Bring the database of the volume at `path` to today's format. Nothing happens to one that is. Blocking.

    keeps_copy   False: it is a copy itself

    Raises MachineTrouble (no room for it: nothing has changed), NoSpace, StoreUnavailable, DamagedMetadata.
    """
    version = migrations.format_of(metadata)
    steps = migrations.needed(version)
    if not steps:
        return
    if not keeps_copy:
        log.info("the metadata of %s has format %d; it is read in a copy of format %d", path, version, steps[-1].to)
        _migrate(metadata)
        return
    kept = f"{path}/{KEPT}{steps[-1].to}{SUFFIX}"
    _make_room(world, path, metadata, version, steps[-1].to)
    _keep(world, path, metadata, keys, kept)
    _migrate(metadata)
    notice.warning(
        "the metadata of %s has been brought from format %d to %d, which older versions of rustfsfs cannot open; as it"
        " was, it is kept in %s, which you may delete when all is well",
        *(path, version, steps[-1].to, kept),
    )
    _delete_others(world, path, kept)


def _migrate(metadata: Metadata) -> None:
    """One transaction, durable on return. Nothing happens to a database of today's format."""
    if not migrations.needed(migrations.format_of(metadata)):
        return
    database.begin(metadata, spills=True)
    try:
        migrations.run(metadata)
    except BaseException:
        database.rollback(metadata)
        raise
    metadata.commit()
    database.read_running(metadata)


def _make_room(world: World, path: str, metadata: Metadata, version: int, to: int) -> None:
    """Raises MachineTrouble."""
    files = world.files
    need_bytes = ROOM_TIMES * sum(files.size(name) for name in _files_of(world, metadata.path)) + ROOM_BYTES
    ballast.make_room_to_open(files, path, need_bytes)
    free_bytes = files.space(path).free_bytes
    if free_bytes < need_bytes:
        raise MachineTrouble(
            f"the metadata of {path} has format {version}, and bringing it to format {to} needs"
            f" {format_size(need_bytes)} on its disk, where {format_size(free_bytes)} are free; nothing has changed:"
            " free some space, then try again"
        )


def _files_of(world: World, database_path: str) -> list[str]:
    return [name for name in (database_path, f"{database_path}-wal") if world.files.exists(name)]


def _keep(world: World, path: str, metadata: Metadata, keys: Keys, kept: str) -> None:
    """Order: the copy durable → by its name, durable. Raises NoSpace, StoreUnavailable, MachineTrouble."""
    files, offset = world.files, 0
    try:
        files.unlink(f"{kept}.new")
        fd = files.create(f"{kept}.new")
        try:
            for data in database.copied(metadata.db, f"{path}/{TEMPORARY}", keys.database, step=STEP):
                if files.pwrite(fd, data, offset) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                offset += len(data)
            files.sync(fd)
        finally:
            files.close(fd)
        files.rename(f"{kept}.new", kept)
        files.sync_dir(path)
    except OSError as exc:
        raise MachineTrouble(f"the metadata as it is cannot be kept in {kept} ({exc.strerror}); try again") from exc


def _delete_others(world: World, path: str, kept: str) -> None:
    """Of older migrations; one copy is enough. Trouble with them is only logged."""
    for name in world.files.names(path):
        if name.startswith(KEPT) and f"{path}/{name}" != kept:
            try:
                world.files.unlink(f"{path}/{name}")
            except OSError as exc:
                log.warning("%s/%s, which nobody needs any more, cannot be deleted (%s)", path, name, exc.strerror)
