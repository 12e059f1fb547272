"""Where a file's data lies, as extended attributes that nobody can set: user.rustfsfs.tier and its like.

They are not listed: who copies all attributes of a file would try to set them elsewhere.
"""

import trio

from rustfsfs.errors import NoSuchXattr
from rustfsfs.meta import extents, inodes
from rustfsfs.meta.chunks import COLD
from rustfsfs.meta.database import Metadata
from rustfsfs.units import Fork, Inode
from rustfsfs.volume import epochs, paths
from rustfsfs.volume.volume import Volume

PREFIX = b"user.rustfsfs."
TIER, STORED, UNIQUE = PREFIX + b"tier", PREFIX + b"stored_bytes", PREFIX + b"unique_bytes"
EXTENTS_AT_ONCE = 500  # about 5 ms; a file with more is looked at by a worker, as of a COMMIT


async def get(volume: Volume, inode: Inode | int, name: bytes) -> bytes:
    """The value, in ASCII. Raises NoSuchXattr: another name, or not a regular file."""
    row = inodes.get(volume.metadata, inode)
    if name not in (TIER, STORED, UNIQUE) or not row.is_file:
        raise NoSuchXattr("no such attribute")
    if not extents.many(volume.metadata, row.fork, 0, 1 << 62, EXTENTS_AT_ONCE):
        return _value(volume.metadata, row.fork, name)
    if volume.health.read_only_reason is None:
        await epochs.commit(volume)
    return await trio.to_thread.run_sync(_value_apart, volume, row.fork, name)


def _value_apart(volume: Volume, fork: Fork, name: bytes) -> bytes:
    with paths.reading_apart(volume) as metadata:
        return _value(metadata, fork, name)


def _value(metadata: Metadata, fork: Fork, name: bytes) -> bytes:
    if name == TIER:
        return tier_of(metadata, fork).encode()
    return str(stored_bytes(metadata, fork, only_here=name == UNIQUE)).encode()


def tier_of(metadata: Metadata, fork: Fork) -> str:
    """hot: in the journal only; local: on disks, some of it hot perhaps; cold: in the bucket only; mixed: both.

    A file without data is local.
    """
    hot = metadata.rows("SELECT 1 FROM extents WHERE fork = ? AND segment > 0 LIMIT 1", (fork,))
    # a chunk is cold when all its packs are
    found = metadata.rows(
        "SELECT DISTINCT cold FROM (SELECT min(k.closed & ?2) > 0 AS cold FROM"
        " (SELECT DISTINCT base FROM extents WHERE fork = ?1 AND segment = 0) e"
        " JOIN places p ON p.chunk = e.base JOIN packs k USING (pack, disk) GROUP BY p.chunk)",
        (fork, COLD),
    )
    kinds = {bool(cold) for (cold,) in found}
    if kinds == {True}:
        return "mixed" if hot else "cold"
    if kinds == {True, False}:
        return "mixed"
    return "hot" if hot and not kinds else "local"


def stored_bytes(metadata: Metadata, fork: Fork, *, only_here: bool) -> int:
    """Bytes of one copy of each chunk that a file names, as stored, and of what is hot, as written.

    only_here   chunks that other files name too do not count: what deleting the file would free
    """
    hot = metadata.rows("SELECT coalesce(sum(length), 0) FROM extents WHERE fork = ? AND segment > 0", (fork,))
    alone = (
        " WHERE NOT EXISTS (SELECT 1 FROM extents o WHERE o.segment = 0 AND o.base = e.base AND o.fork <> ?1)"
        if only_here
        else ""
    )
    found = metadata.rows(
        "SELECT coalesce(sum((SELECT max(stored_bytes) FROM places p WHERE p.chunk = e.base)), 0) FROM"
        f" (SELECT DISTINCT base FROM extents WHERE fork = ?1 AND segment = 0) e{alone}",
        (fork,),
    )
    return int(hot[0][0]) + int(found[0][0])
