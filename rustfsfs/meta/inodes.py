"""Rows of `inodes`, `orphans` and `xattrs`: plain functions on a connection."""

import stat
from collections.abc import Sequence
from typing import NamedTuple

from rustfsfs.errors import NoSuchInode
from rustfsfs.meta.database import Metadata
from rustfsfs.units import Fork, Inode


class Attributes(NamedTuple):
    """One row of `inodes`, without the symlink's target."""

    inode: Inode
    mode: int
    uid: int
    gid: int
    nlink: int
    rdev: int
    size_bytes: int
    mapped_bytes: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    fork: Fork
    parent: Inode
    stale_tail: int
    xattr_count: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


COLUMNS = ", ".join(Attributes._fields)
QUALIFIED = ", ".join(f"i.{name}" for name in Attributes._fields)
_SELECT = f"SELECT {COLUMNS} FROM inodes WHERE inode = ?"


def find(metadata: Metadata, inode: int) -> Attributes | None:
    found: Attributes | None = metadata.seen.get(inode)
    if found is not None:
        return found
    for row in metadata.rows(_SELECT, (inode,)):
        found = Attributes._make(row)
        metadata.seen[inode] = found
    return found


def get(metadata: Metadata, inode: int) -> Attributes:
    """Raises NoSuchInode."""
    found = find(metadata, inode)
    if found is None:
        raise NoSuchInode(f"inode {inode} does not exist")
    return found


def target(metadata: Metadata, inode: int) -> bytes | None:
    """Where a symlink leads; None for anything else. Raises NoSuchInode."""
    for (value,) in metadata.rows("SELECT target FROM inodes WHERE inode = ?", (inode,)):
        return None if value is None else bytes(value)
    raise NoSuchInode(f"inode {inode} does not exist")


def add(metadata: Metadata, row: Attributes, *, symlink_target: bytes | None) -> None:
    metadata.run("INSERT INTO inodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, symlink_target))
    if row.is_directory:
        metadata.running.directories += 1
    else:
        metadata.running.files += 1


def orphaned(metadata: Metadata, among: Sequence[int]) -> list[Attributes]:
    """Those that have no name left, in the order of their numbers."""
    sql = (
        f"SELECT {QUALIFIED} FROM orphans JOIN inodes AS i USING (inode) "
        "WHERE inode IN (SELECT value FROM json_each(?)) ORDER BY inode"
    )
    return [Attributes._make(row) for row in metadata.rows(sql, (str(list(among)),))]


def remove(metadata: Metadata, rows: Sequence[Attributes]) -> None:
    """Orphans and their xattrs go; the forks they had are the caller's to free."""
    metadata.run_many("DELETE FROM orphans WHERE inode = ?", [(row.inode,) for row in rows])
    metadata.run_many("DELETE FROM inodes WHERE inode = ?", [(row.inode,) for row in rows])
    metadata.run_many("DELETE FROM xattrs WHERE inode = ?", [(row.inode,) for row in rows if row.xattr_count])
    directory_count = sum(row.is_directory for row in rows)
    metadata.running.logical_bytes -= sum(row.mapped_bytes for row in rows)
    metadata.running.directories -= directory_count
    metadata.running.files -= len(rows) - directory_count


def get_xattr(metadata: Metadata, inode: int, name: bytes) -> bytes | None:
    for (value,) in metadata.rows("SELECT value FROM xattrs WHERE inode = ? AND name = ?", (inode, name)):
        return bytes(value)
    return None


def xattr_names(metadata: Metadata, inode: int) -> list[bytes]:
    return [bytes(name) for (name,) in metadata.rows("SELECT name FROM xattrs WHERE inode = ? ORDER BY name", (inode,))]


def xattr_names_size(metadata: Metadata, inode: int, *, without: bytes) -> int:
    """Bytes of all names but one, each with its end: what listxattr(2) answers."""
    sql = "SELECT coalesce(sum(length(name) + 1), 0) FROM xattrs WHERE inode = ? AND name <> ?"
    return int(metadata.rows(sql, (inode, without))[0][0])


def set_xattr(metadata: Metadata, inode: int, name: bytes, value: bytes) -> None:
    """Keeps: xattr_count == rows."""
    if get_xattr(metadata, inode, name) is None:
        metadata.run("UPDATE inodes SET xattr_count = xattr_count + 1 WHERE inode = ?", (inode,))
    metadata.run("INSERT OR REPLACE INTO xattrs VALUES (?, ?, ?)", (inode, name, value))


def remove_xattr(metadata: Metadata, inode: int, name: bytes) -> None:
    """Nothing happens if it is not there. Keeps: xattr_count == rows."""
    metadata.run("DELETE FROM xattrs WHERE inode = ? AND name = ?", (inode, name))
    if metadata.changed():
        metadata.run("UPDATE inodes SET xattr_count = xattr_count - 1 WHERE inode = ?", (inode,))


def orphans(metadata: Metadata) -> list[Inode]:
    return [Inode(inode) for (inode,) in metadata.rows("SELECT inode FROM orphans ORDER BY inode")]
