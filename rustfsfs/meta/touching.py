"""Reading the pages that an operation will need, on another connection: so that they are in memory when it comes.

Nothing is answered. What the last COMMIT does not know yet lies in the writing connection's own cache.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from rustfsfs.meta.database import Metadata

EXTENTS_MAX = 1000  # as many as one op frees (apply.EXTENTS_PER_OP)
FREED = 101  # of an inode or a fork that goes: as many as one step of the reaper looks at
LISTED = 225  # names of a reply of 32 KiB
SUSPECTS = 50  # chunks buried at once
STRETCH = 1 << 20  # bytes: an extent has no more
END = 1 << 62  # of every file


def inode(metadata: Metadata, number: int, *_rest: object) -> None:
    metadata.rows("SELECT mode FROM inodes WHERE inode = ?", (number,))
    metadata.rows("SELECT 1 FROM xattrs WHERE inode = ? LIMIT 1", (number,))


def entry(metadata: Metadata, parent: int, name: bytes) -> int | None:
    """A name and its inode, which is returned."""
    found = metadata.row("SELECT inode FROM entries WHERE parent = ? AND name = ?", (parent, name))
    if found is None:
        return None
    inode(metadata, found[0])
    return int(found[0])


def new_name(metadata: Metadata, parent: int, name: bytes, *_rest: object) -> None:
    inode(metadata, parent)
    entry(metadata, parent, name)
    metadata.rows("SELECT max(cookie) FROM entries INDEXED BY entries_by_cookie WHERE parent = ?", (parent,))


def old_name(metadata: Metadata, parent: int, name: bytes, *_rest: object) -> None:
    """A name that goes, and what goes with its inode."""
    inode(metadata, parent)
    found = entry(metadata, parent, name)
    for (cookie,) in metadata.rows("SELECT cookie FROM entries WHERE parent = ? AND name = ?", (parent, name)):
        sql = "SELECT 1 FROM entries INDEXED BY entries_by_cookie WHERE parent = ? AND cookie = ?"
        metadata.rows(sql, (parent, cookie))
    if found is not None:
        metadata.rows("SELECT 1 FROM orphans WHERE inode = ?", (found,))
        contents(metadata, found, 0, END, limit=FREED)


def renamed(
    metadata: Metadata, parent: int, name: bytes, new_parent: int, new_parent_name: bytes, *_rest: object
) -> None:
    old_name(metadata, parent, name)
    old_name(metadata, new_parent, new_parent_name)
    new_name(metadata, new_parent, new_parent_name)


def looked_up(metadata: Metadata, parent: int, name: bytes, *_rest: object) -> None:
    inode(metadata, parent)
    entry(metadata, parent, name)


def linked(metadata: Metadata, number: int, parent: int, name: bytes, *_rest: object) -> None:
    inode(metadata, number)
    new_name(metadata, parent, name)


def around(metadata: Metadata, number: int, offset: int, *_rest: object) -> None:
    """What a read or a write at `offset` meets."""
    start = offset // STRETCH * STRETCH
    contents(metadata, number, start, min(start + 2 * STRETCH, END))


def opened(metadata: Metadata, number: int, flags: int, *_rest: object) -> None:
    if flags & os.O_TRUNC:
        contents(metadata, number, 0, END)
    else:
        inode(metadata, number)


def changed(metadata: Metadata, number: int, attr: Any, fields: Any, *_rest: object) -> None:
    """A truncation frees extents."""
    if fields.update_size:
        contents(metadata, number, attr.st_size, END)
    else:
        inode(metadata, number)


def contents(metadata: Metadata, number: int, start: int, end: int, *, limit: int = EXTENTS_MAX) -> None:
    """The first extents of an inode with a byte in [start, end), and the rows of their chunks."""
    inode(metadata, number)
    for (fork,) in metadata.rows("SELECT fork FROM inodes WHERE inode = ?", (number,)):
        sql = (
            "SELECT segment, base FROM extents WHERE fork = ?1 AND offset < ?3"
            " AND offset >= coalesce((SELECT max(offset) FROM extents WHERE fork = ?1 AND offset <= ?2), ?2) LIMIT ?4"
        )
        _extents(metadata, metadata.rows(sql, (fork, start, end, limit)), fork)


def tail(metadata: Metadata, fork: int) -> None:
    """The last extents of a fork, which are freed first."""
    sql = "SELECT segment, base FROM extents WHERE fork = ? ORDER BY offset DESC LIMIT ?"
    _extents(metadata, metadata.rows(sql, (fork, FREED)), fork)


def _extents(metadata: Metadata, found: Sequence[tuple[int, int]], fork: int) -> None:
    for table in ("overlaid", "dead_forks"):
        metadata.rows(f"SELECT 1 FROM {table} WHERE fork = ?", (fork,))
    for segment, base in found:
        if segment:
            sql = "SELECT 1 FROM extents INDEXED BY extents_hot WHERE segment > 0 AND segment = ? AND fork = ? LIMIT 1"
            metadata.rows(sql, (segment, fork))
        else:
            chunk(metadata, base)


def chunk(metadata: Metadata, number: int) -> None:
    """A chunk, its places, and whoever names it."""
    metadata.rows("SELECT plain_bytes FROM chunks WHERE chunk = ?", (number,))
    metadata.rows("SELECT offset FROM places WHERE chunk = ?", (number,))
    metadata.rows("SELECT 1 FROM maybe_dead WHERE chunk = ?", (number,))
    metadata.rows("SELECT 1 FROM extents INDEXED BY extents_by_chunk WHERE segment = 0 AND base = ? LIMIT 1", (number,))


def listing(metadata: Metadata, number: int, after_cookie: int, *_rest: object) -> None:
    inode(metadata, number)
    metadata.rows(
        "SELECT i.mode FROM entries e JOIN inodes i USING (inode) WHERE e.parent = ? AND e.cookie > ?"
        " ORDER BY e.cookie LIMIT ?",
        (number, after_cookie, LISTED),
    )


def reaped(metadata: Metadata) -> None:
    """What the next steps of the reaper free."""
    for (fork,) in metadata.rows("SELECT fork FROM dead_forks ORDER BY fork LIMIT 1"):
        tail(metadata, fork)


def suspected(metadata: Metadata) -> None:
    """The chunks that are looked at next, with all that goes with those that are dead."""
    for (number,) in metadata.rows("SELECT chunk FROM maybe_dead ORDER BY chunk LIMIT ?", (SUSPECTS,)):
        chunk(metadata, number)
        for (chunk_id,) in metadata.rows("SELECT chunk_id FROM chunks WHERE chunk = ?", (number,)):
            metadata.rows("SELECT 1 FROM chunks WHERE chunk_id = ?", (chunk_id,))
        for place in metadata.rows("SELECT disk, pack, offset FROM places WHERE chunk = ?", (number,)):
            sql = "SELECT 1 FROM places INDEXED BY places_by_pack WHERE disk = ? AND pack = ? AND offset = ?"
            metadata.rows(sql, place)


TOUCHES: dict[str, Callable[..., None]] = {  # request, or a task's step -> what reads its pages: with its arguments
    "lookup": looked_up,
    "mknod": new_name,
    "mkdir": new_name,
    "symlink": new_name,
    "create": new_name,
    "link": linked,
    "unlink": old_name,
    "rmdir": old_name,
    "rename": renamed,
    "readdir": listing,
    "read": around,
    "write": around,
    "open": opened,
    "setattr": changed,
    "getattr": inode,
    "readlink": inode,
    "opendir": inode,
    "getxattr": inode,
    "setxattr": inode,
    "listxattr": inode,
    "removexattr": inode,
    "reap": reaped,
    "bury": suspected,
}
