"""fsck of the tables: each check is a statement that finds rows breaking an invariant; a table of them, no repair."""

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from rustfsfs.errors import DamagedMetadata, StoreUnavailable
from rustfsfs.meta.database import Metadata


class Finding(NamedTuple):
    """One broken invariant. `inode` or `fork`, when known, lead to a path for the message."""

    text: str
    inode: int | None = None
    fork: int | None = None


MARKED = "a chunk was found damaged"

# (what is wrong, statement giving (subject, detail) rows, what the subject is)
CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "a name leads to an inode that does not exist",
        "SELECT e.parent, e.inode FROM entries e LEFT JOIN inodes i USING (inode) WHERE i.inode IS NULL",
        "inode",
    ),
    (
        "names are filed under a directory that does not exist",
        "SELECT DISTINCT e.parent, e.parent FROM entries e LEFT JOIN inodes i ON i.inode = e.parent"
        " WHERE i.inode IS NULL OR i.mode & 0xF000 != 0x4000",
        "inode",
    ),
    (
        "an inode has no name and is not an orphan",
        "SELECT i.inode, i.nlink FROM inodes i WHERE i.inode != 1 AND i.inode NOT IN (SELECT inode FROM names_of)"
        " AND i.inode NOT IN (SELECT inode FROM orphans)",
        "inode",
    ),
    (
        "the link count of a file is not the number of its names",
        "SELECT i.inode, i.nlink FROM inodes i WHERE i.mode & 0xF000 != 0x4000 AND i.nlink !="
        " (SELECT coalesce(max(names), 0) FROM names_of n WHERE n.inode = i.inode)",
        "inode",
    ),
    (
        "the link count of a directory is not 2 and one for each subdirectory",
        "SELECT i.inode, i.nlink FROM inodes i WHERE i.mode & 0xF000 = 0x4000 AND i.nlink > 0 AND i.nlink != 2 +"
        " (SELECT count(*) FROM entries e JOIN inodes c USING (inode)"
        " WHERE e.parent = i.inode AND c.mode & 0xF000 = 0x4000)",
        "inode",
    ),
    (
        "the size of a directory is not that of its names",
        "SELECT i.inode, i.size_bytes FROM inodes i WHERE i.mode & 0xF000 = 0x4000 AND i.size_bytes !="
        " (SELECT coalesce(sum(2 * length(name)), 0) FROM entries e WHERE e.parent = i.inode)",
        "inode",
    ),
    (
        "'..' of a directory does not lead to where its name is",
        "SELECT i.inode, i.parent FROM inodes i JOIN entries e USING (inode)"
        " WHERE i.mode & 0xF000 = 0x4000 AND i.parent != e.parent",
        "inode",
    ),
    (
        "the mapped bytes of a file are not those of its extents",
        "SELECT i.inode, i.mapped_bytes FROM inodes i WHERE i.mapped_bytes !="
        " (SELECT coalesce(sum(length), 0) FROM extents e WHERE e.fork = i.fork AND i.fork != 0)",
        "inode",
    ),
    (
        "an extent lies past the end of its file",
        "SELECT i.inode, e.offset FROM inodes i JOIN extents e USING (fork)"
        " WHERE i.stale_tail = 0 AND e.offset + e.length > i.size_bytes",
        "inode",
    ),
    (
        "two extents of a file overlap",
        "SELECT fork, offset FROM (SELECT fork, offset, lag(offset + length) OVER (PARTITION BY fork ORDER BY offset)"
        " AS before FROM extents) WHERE before > offset",
        "fork",
    ),
    (
        "extents are kept for a file that does not exist",
        "SELECT DISTINCT e.fork, e.fork FROM extents e WHERE e.fork NOT IN (SELECT fork FROM inodes)"
        " AND e.fork NOT IN (SELECT fork FROM dead_forks)",
        "fork",
    ),
    (
        "an extent names a chunk that does not exist",
        "SELECT e.fork, e.base FROM extents e LEFT JOIN chunks c ON c.chunk = e.base"
        " WHERE e.segment = 0 AND c.chunk IS NULL",
        "fork",
    ),
    (
        "an extent reaches past the end of its chunk",
        "SELECT e.fork, e.base FROM extents e JOIN chunks c ON c.chunk = e.base"
        " WHERE e.segment = 0 AND e.skip + e.length > c.plain_bytes",
        "fork",
    ),
    (
        MARKED,
        "SELECT e.fork, c.chunk FROM chunks c JOIN extents e ON e.base = c.chunk AND e.segment = 0 WHERE c.good = 0",
        "fork",
    ),
    (
        "a chunk lies in no pack",
        "SELECT chunk, chunk FROM chunks WHERE chunk NOT IN (SELECT chunk FROM places)",
        "chunk",
    ),
    (
        "a chunk is neither named by a file nor suspected to be dead",
        "SELECT chunk, chunk FROM chunks WHERE chunk NOT IN (SELECT base FROM extents WHERE segment = 0)"
        " AND chunk NOT IN (SELECT chunk FROM maybe_dead)",
        "chunk",
    ),
    (
        "a frame lies in a pack that does not exist",
        "SELECT p.chunk, p.pack FROM places p LEFT JOIN packs k USING (pack, disk) WHERE k.pack IS NULL",
        "chunk",
    ),
    (
        "the live bytes of a pack are not those of its frames",
        "SELECT k.pack, k.live_bytes FROM packs k WHERE k.live_bytes !="
        " (SELECT coalesce(sum(stored_bytes), 0) FROM places p WHERE p.disk = k.disk AND p.pack = k.pack)",
        "pack",
    ),
    (
        "the attribute count of an inode is not that of its attributes",
        "SELECT i.inode, i.xattr_count FROM inodes i WHERE i.xattr_count !="
        " (SELECT count(*) FROM xattrs x WHERE x.inode = i.inode)",
        "inode",
    ),
    (
        "attributes are kept for an inode that does not exist",
        "SELECT DISTINCT inode, inode FROM xattrs WHERE inode NOT IN (SELECT inode FROM inodes)",
        "inode",
    ),
)

# running total -> the statement that sums it
TOTALS: dict[str, str] = {
    "files": "SELECT count(*) FROM inodes WHERE mode & 0xF000 != 0x4000",
    "directories": "SELECT count(*) FROM inodes WHERE mode & 0xF000 = 0x4000",
    "logical_bytes": "SELECT coalesce(sum(mapped_bytes), 0) FROM inodes",
    "hot_bytes": "SELECT coalesce(sum(length), 0) FROM extents WHERE segment > 0",
    "unique_bytes": "SELECT coalesce(sum(plain_bytes), 0) FROM chunks",
    "stored_bytes": "SELECT coalesce(sum(stored_bytes), 0) FROM places",
    "pack_bytes": "SELECT coalesce(sum(size_bytes), 0) FROM packs",
    "bad_chunks": "SELECT count(*) FROM chunks WHERE good = 0",
    "doomed_bytes": "SELECT coalesce(sum(size_bytes), 0) FROM doomed",
    "cold_bytes": "SELECT coalesce(sum(size_bytes), 0) FROM packs WHERE closed & 2",
}
# of a volume with a bucket
TIERED_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "a pack is cold, and the bucket does not have it",
        "SELECT p.pack, p.disk FROM packs p LEFT JOIN objects o USING (pack, disk)"
        " WHERE p.closed & 2 AND (o.pack IS NULL OR NOT p.closed & 1)",
        "pack",
    ),
    (
        "the bucket has a pack that does not exist",
        "SELECT o.pack, o.disk FROM objects o LEFT JOIN packs p USING (pack, disk) WHERE p.pack IS NULL",
        "pack",
    ),
    (
        "an inode is pinned that does not exist",
        "SELECT inode, inode FROM pinned WHERE inode NOT IN (SELECT inode FROM inodes)",
        "inode",
    ),
)
TIERED_TOTALS: dict[str, str] = {
    "object_bytes": "SELECT coalesce(sum(size_bytes), 0) FROM objects",
    "doomed_object_bytes": "SELECT coalesce(sum(size_bytes), 0) FROM doomed_objects",
}


def check_pages(metadata: Metadata) -> Iterator[Finding]:
    """Does every page open, and does every tree hang together? Little RAM, whatever the size."""
    for (text,) in metadata.rows("PRAGMA quick_check(10)"):
        if text != "ok":
            yield Finding(f"SQLite: {text}")


def check(metadata: Metadata, *, marked: bool = True) -> Iterator[Finding]:
    """Everything that the tables alone can show. The caller holds a read transaction and its `running` is of it.

    marked   chunks that were found damaged before, too
    """
    try:
        yield from check_pages(metadata)
        # one pass over entries for all link counts: they have no index by inode
        metadata.run("CREATE TEMP TABLE IF NOT EXISTS names_of (inode INTEGER PRIMARY KEY, names INTEGER NOT NULL)")
        metadata.run("DELETE FROM names_of")
        metadata.run("INSERT INTO names_of SELECT inode, count(*) FROM entries GROUP BY inode")
        is_tiered = metadata.is_tiered
        for text, sql, subject in (*CHECKS, *(TIERED_CHECKS if is_tiered else ())):
            if text == MARKED and not marked:
                continue
            for number, detail in metadata.rows(sql):
                yield _finding(text, subject, number, detail)
        for name, sql in (TOTALS | (TIERED_TOTALS if is_tiered else {})).items():
            found, kept = metadata.rows(sql)[0][0], getattr(metadata.running, name)
            if found != kept:
                yield Finding(f"the running total {name} is {kept}, counted {found}")
    except (DamagedMetadata, StoreUnavailable, apsw.IOError) as exc:
        yield Finding(f"SQLite cannot read its file: {exc}")


def _finding(text: str, subject: str, number: int, detail: int) -> Finding:
    if subject == "inode":
        return Finding(f"{text} (inode {number}, {detail})", inode=number)
    if subject == "fork":
        return Finding(f"{text} ({detail})", fork=number)
    return Finding(f"{text} ({subject} {number}, {detail})")
