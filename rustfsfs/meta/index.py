"""The index of chunks made anew, when its tables were lost: by the rest of the database and by what packs hold.

`chunks` says which number is which content, and is salvaged as far as its pages open; `places`, `packs`, `doomed` and
`maybe_dead` follow from it and from the frames that lie in packs. All other tables must be readable whole.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

import apsw

from rustfsfs.errors import DamagedMetadata, DamagedVolume, StoreUnavailable
from rustfsfs.meta import checks, database
from rustfsfs.meta.database import Metadata

KEPT = ("inodes", "entries", "xattrs", "extents", "orphans", "dead_forks", "overlaid", "disks", "snapshots", "state")
NAMED, FOUND_THERE, FOUND_DOOMED = 0, 1, 2  # `found.standing`
NUMBER_STEP = 16  # chunk numbers passed over behind a page that does not open: it holds about 60
PREFIX_STEP = 1 << 48  # of the first eight bytes of a chunk id
READING_ERRORS = (DamagedMetadata, StoreUnavailable, *database.DAMAGE, apsw.IOError)

FOUND = """
CREATE TABLE found (                    -- frames that lie in packs; gone at the end
    chunk_id     BLOB NOT NULL,
    disk         INTEGER NOT NULL,
    pack         INTEGER NOT NULL,
    offset       INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    plain_bytes  INTEGER NOT NULL,
    standing     INTEGER NOT NULL,      -- 0: rows say so; 1: a pack says so; 2: one that was about to be deleted
    PRIMARY KEY (chunk_id, disk, standing, pack DESC, offset)
) WITHOUT ROWID
"""
# of several frames of a chunk on one disk that which rows name, else the newest: it was moved there, if it was
PLACES = """
INSERT INTO places SELECT chunk, disk, pack, offset, stored_bytes FROM (
    SELECT c.chunk, f.disk, f.pack, f.offset, f.stored_bytes, row_number() OVER (
        PARTITION BY f.chunk_id, f.disk ORDER BY f.standing, f.pack DESC, f.offset) AS rank
    FROM found f JOIN chunks c USING (chunk_id)) WHERE rank = 1
"""
SIZES = """
UPDATE chunks SET plain_bytes = (SELECT plain_bytes FROM found f WHERE f.chunk_id = chunks.chunk_id LIMIT 1)
    WHERE chunk IN (SELECT chunk FROM places)
"""
PACKS = """
UPDATE packs SET live_bytes =
    (SELECT coalesce(sum(stored_bytes), 0) FROM places p WHERE p.disk = packs.disk AND p.pack = packs.pack)
"""
# of a volume with a bucket: what only the bucket has, and nothing needs, has no row any more, and is spared as unnamed
TIERED = (
    "DELETE FROM packs WHERE closed & 2 AND live_bytes = 0",
    "DELETE FROM objects WHERE (pack, disk) NOT IN (SELECT pack, disk FROM packs)",
    "DELETE FROM heat WHERE (pack, disk) NOT IN (SELECT pack, disk FROM packs)",
    "DELETE FROM doomed_objects WHERE (pack, disk) IN (SELECT pack, disk FROM packs)",
)


class Entry(Protocol):
    """A frame as a pack's directory names it."""

    @property
    def offset(self) -> int: ...
    @property
    def stored_bytes(self) -> int: ...
    @property
    def chunk_id(self) -> bytes: ...
    @property
    def plain_bytes(self) -> int: ...


def begin(source: Metadata, target: Metadata) -> None:
    """Copy every table that is no part of the index, and what opens of `chunks`.

    Raises DamagedVolume naming a table that cannot be read whole.
    """
    for table in KEPT:
        copy_whole(source, target, table)
    with suppress(*READING_ERRORS):
        copy(source, target, "doomed")
    database.read_running(target)
    target.run_many("INSERT INTO chunks VALUES (?, ?, 0, ?)", _chunks_by_number(source, _last_number(target)))
    target.run_many("INSERT OR IGNORE INTO chunks VALUES (?2, ?1, 0, 1)", _chunks_by_id(source))
    target.run(FOUND)


def copy_whole(source: Metadata, target: Metadata, table: str) -> None:
    """Raises DamagedVolume: it cannot be."""
    try:
        copy(source, target, table)
    except READING_ERRORS as exc:
        raise DamagedVolume(
            f"not only the index is damaged, {table} is too ({exc}); fsck --restore-metadata is what is left"
        ) from exc


def copy(source: Metadata, target: Metadata, table: str) -> None:
    """Its rows, up to the first page that does not open: then one of READING_ERRORS is raised."""
    columns = len(target.rows(f"PRAGMA table_info({table})"))
    insert = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * columns)})"
    target.run_many(insert, source.db.cursor().execute(f"SELECT * FROM {table}"))


def _last_number(target: Metadata) -> int:
    named = target.rows("SELECT coalesce(max(base), 0) FROM extents WHERE segment = 0")
    return max(int(named[0][0]), target.running.next_chunk)


def _chunks_by_number(source: Metadata, last: int) -> Iterator[tuple[Any, ...]]:
    """(number, id, good) of each page of the table that opens."""
    sql = "SELECT chunk, chunk_id, good FROM chunks WHERE chunk > ? ORDER BY chunk"

    def beyond(after: int) -> int | None:
        return after + NUMBER_STEP if after + NUMBER_STEP <= last else None

    return _salvaged(source, sql, 0, beyond)


def _chunks_by_id(source: Metadata) -> Iterator[tuple[Any, ...]]:
    """(id, number) of each page of the index that opens: it has all that the table has but sizes."""
    sql = "SELECT chunk_id, chunk FROM chunks WHERE chunk_id > ? ORDER BY chunk_id"

    def beyond(after: bytes) -> bytes | None:
        prefix = int.from_bytes(bytes(after)[:8].ljust(8, b"\0")) + PREFIX_STEP
        return prefix.to_bytes(8) if prefix < 1 << 64 else None

    return _salvaged(source, sql, b"", beyond)


def _salvaged(source: Metadata, sql: str, first: Any, beyond: Callable[[Any], Any]) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of their first column, past the pages that do not open.

    beyond   a key further on; None at the end
    """
    after = first
    while after is not None:
        try:
            for row in source.db.cursor().execute(sql, (after,)):
                after = row[0]
                yield row
            return
        except READING_ERRORS:
            after = beyond(after)


def unknown(target: Metadata) -> list[int]:
    """Chunk numbers that extents name and no row of `chunks` explains."""
    sql = "SELECT DISTINCT base FROM extents WHERE segment = 0 AND base NOT IN (SELECT chunk FROM chunks) ORDER BY base"
    return [number for (number,) in target.rows(sql)]


def learn(target: Metadata, older: Metadata, numbers: Iterable[int]) -> None:
    """Take from a snapshot what it says of these numbers: a number never came to mean another content."""
    for number in numbers:
        try:
            row = older.row("SELECT chunk, chunk_id FROM chunks WHERE chunk = ?", (number,))
        except READING_ERRORS:
            continue
        if row is not None:
            target.run("INSERT OR IGNORE INTO chunks VALUES (?, ?, 0, 1)", row)


def add_pack(target: Metadata, pack: int, disk: int, entries: Sequence[Entry], *, closed: bool) -> None:
    """A pack file and the frames in it. `closed`: its directory is whole."""
    doomed = target.row("SELECT 1 FROM doomed WHERE pack = ? AND disk = ?", (pack, disk))
    add_frames(target, pack, disk, entries, closed=int(closed), standing=FOUND_DOOMED if doomed else FOUND_THERE)


def add_frames(target: Metadata, pack: int, disk: int, entries: Sequence[Entry], *, closed: int, standing: int) -> None:
    """A pack with the frames that are in it. `closed` as in `packs`, `standing` as in `found`."""
    size_bytes = sum(entry.stored_bytes for entry in entries)
    end_bytes = max((entry.offset + entry.stored_bytes for entry in entries), default=0)
    target.run("INSERT INTO packs VALUES (?, ?, ?, 0, ?, ?)", (pack, disk, size_bytes, end_bytes, closed))
    target.run_many(
        "INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(e.chunk_id, disk, pack, e.offset, e.stored_bytes, e.plain_bytes, standing) for e in entries],
    )


def is_whole(target: Metadata) -> bool:
    """Was a frame of every chunk found so far?"""
    return not target.rows("SELECT 1 FROM chunks WHERE chunk_id NOT IN (SELECT chunk_id FROM found) LIMIT 1")


def finish(target: Metadata) -> list[int]:
    """Make places, packs and totals of what was found; returns the chunks that lie nowhere, marked as damaged."""
    for statement in (PLACES, SIZES, PACKS, *(TIERED if target.is_tiered else ())):
        target.run(statement)
    target.run("UPDATE chunks SET good = 0 WHERE chunk NOT IN (SELECT chunk FROM places)")
    target.run("DELETE FROM doomed")  # their files have rows again, and are dropped again when nothing lives in them
    target.run("INSERT INTO maybe_dead SELECT chunk FROM chunks")  # collection looks at each, and clears the living
    target.run("DROP TABLE found")
    lost = target.rows("SELECT chunk FROM chunks WHERE chunk NOT IN (SELECT chunk FROM places) ORDER BY chunk")
    for name, sql in (checks.TOTALS | (checks.TIERED_TOTALS if target.is_tiered else {})).items():
        setattr(target.running, name, target.rows(sql)[0][0])
    target.running.next_chunk = _last_number(target) + 1
    database.write_running(target)
    return [number for (number,) in lost]
