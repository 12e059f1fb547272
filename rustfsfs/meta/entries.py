"""Rows of `entries`: the names in directories."""

from collections.abc import Iterator

from rustfsfs.meta.database import Metadata
from rustfsfs.meta.inodes import QUALIFIED, Attributes
from rustfsfs.units import Inode


def find(metadata: Metadata, parent: int, name: bytes) -> Inode | None:
    if (what := (parent, name)) in metadata.seen:
        seen: Attributes | None = metadata.seen[what]
        return None if seen is None else seen.inode
    for (inode,) in metadata.rows("SELECT inode FROM entries WHERE parent = ? AND name = ?", (parent, name)):
        return Inode(inode)
    return None


def find_attributes(metadata: Metadata, parent: int, name: bytes) -> Attributes | None:
    """The inode a name stands for, in one statement."""
    found: Attributes | None = None
    if (what := (parent, name)) in metadata.seen:
        found = metadata.seen[what]
        return found
    for row in metadata.rows(_FIND_ATTRIBUTES, what):
        found = Attributes._make(row)
        metadata.seen[found.inode] = found
    metadata.seen[what] = found
    return found


_FIND_ATTRIBUTES = f"SELECT {QUALIFIED} FROM entries e JOIN inodes i USING (inode) WHERE e.parent = ? AND e.name = ?"
_PAGE = (
    f"SELECT e.name, e.cookie, {QUALIFIED} FROM entries e JOIN inodes i USING (inode)"
    " WHERE e.parent = ? AND e.cookie > ? ORDER BY e.cookie LIMIT ?"
)


def page(metadata: Metadata, parent: int, after_cookie: int, count: int) -> list[tuple[bytes, int, Attributes]]:
    """At most `count` names past a cookie, oldest first."""
    rows = metadata.rows(_PAGE, (parent, after_cookie, count))
    return [(bytes(row[0]), row[1], Attributes._make(row[2:])) for row in rows]


def names_of(metadata: Metadata, inode: int) -> Iterator[tuple[Inode, bytes]]:
    """Every (parent, name) of an inode. Reads the whole table: for messages and checks only."""
    for parent, name in metadata.rows("SELECT parent, name FROM entries WHERE inode = ?", (inode,)):
        yield Inode(parent), bytes(name)


def add(metadata: Metadata, parent: int, name: bytes, inode: int, *, cookie: int) -> None:
    metadata.run("INSERT INTO entries VALUES (?, ?, ?, ?)", (parent, name, inode, cookie))


def remove(metadata: Metadata, parent: int, name: bytes) -> None:
    metadata.run("DELETE FROM entries WHERE parent = ? AND name = ?", (parent, name))
    assert metadata.changed() == 1, (parent, name)


def point(metadata: Metadata, parent: int, name: bytes, inode: int) -> None:
    """An existing name stands for another inode now; its cookie stays."""
    metadata.run("UPDATE entries SET inode = ? WHERE parent = ? AND name = ?", (inode, parent, name))
    assert metadata.changed() == 1, (parent, name)
