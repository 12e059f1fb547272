"""As `index`, of what the bucket has: rows of cold packs, as far as they can be read and make sense.

What they do not explain the caller looks for in the bucket itself, where each pack has its directory too.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import NamedTuple

from rustfsfs import ops
from rustfsfs.meta import chunks, index, objects
from rustfsfs.meta.chunks import CLOSED, COLD, Pack
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.index import READING_ERRORS, Entry

KEPT = ("pinned", "published", "terms")


class _Frame(NamedTuple):
    """A place as the old rows say it. An `Entry`."""

    offset: int
    stored_bytes: int
    chunk_id: bytes
    plain_bytes: int


def begin(source: Metadata, target: Metadata) -> None:
    """Make the tables of the tier, and fill them: what is no part of the index whole, the rest as far as it opens.

    Raises DamagedVolume naming a table that cannot be read whole.
    """
    objects.attach(target)
    for table in KEPT:
        index.copy_whole(source, target, table)
    for table in ("objects", "doomed_objects", "heat"):
        with suppress(*READING_ERRORS):
            index.copy(source, target, table)


def keep(source: Metadata, target: Metadata, local: Collection[tuple[int, int]]) -> bool:
    """Take the cold packs over that the old rows explain; is that all which is not on disks?

    local   (pack, disk) of the files that are there; they count, whatever rows say
    """
    try:
        rows = {(row.pack, row.disk): row for row in chunks.packs(source) if row.live_bytes or row.is_cold}
        named = set(source.rows("SELECT DISTINCT pack, disk FROM places UNION SELECT pack, disk FROM objects"))
    except READING_ERRORS:
        rows, named = _readable_packs(source), set()
        is_all = False
    else:
        is_all = named <= {*rows, *local}
    for key in sorted(rows.keys() - set(local)):
        frames = _frames(source, target, rows[key])
        if frames is None:
            is_all = False
            continue
        row = rows[key]
        index.add_frames(target, *key, frames, closed=row.closed, standing=index.NAMED)
        sql = "UPDATE packs SET size_bytes = ?, end_bytes = ? WHERE pack = ? AND disk = ?"
        target.run(sql, (row.size_bytes, row.end_bytes, *key))
    return is_all


def _readable_packs(source: Metadata) -> dict[tuple[int, int], Pack]:
    """Up to the first page that does not open."""
    found: dict[tuple[int, int], Pack] = {}
    with suppress(*READING_ERRORS):
        for values in source.db.cursor().execute("SELECT * FROM packs"):
            row = Pack._make(values)
            found[row.pack, row.disk] = row
    return found


def _frames(source: Metadata, target: Metadata, row: Pack) -> list[_Frame] | None:
    """The live frames of a cold pack; None: its rows cannot be read, or contradict themselves."""
    stored = objects.find(target, row.pack, row.disk)
    if row.closed != CLOSED | COLD or stored is None:
        return None
    sql = (
        "SELECT p.offset, p.stored_bytes, c.chunk_id, c.plain_bytes FROM places p LEFT JOIN chunks c USING (chunk)"
        " WHERE p.disk = ? AND p.pack = ? ORDER BY p.offset"
    )
    try:
        frames = [_Frame._make(values) for values in source.rows(sql, (row.disk, row.pack))]
    except READING_ERRORS:
        return None
    end = 1
    for frame in frames:
        if frame.chunk_id is None or frame.offset < end or frame.stored_bytes <= 0:
            return None
        end = frame.offset + frame.stored_bytes
    makes_sense = sum(frame.stored_bytes for frame in frames) == row.live_bytes and end <= stored.size_bytes
    return frames if makes_sense else None


def knows_object(target: Metadata, pack: int, disk: int, size_bytes: int) -> bool:
    """Do the rows that were taken over have it as the bucket does?"""
    known = objects.find(target, pack, disk)
    return known is not None and known.size_bytes == size_bytes


def add_object(target: Metadata, pack: int, disk: int, entries: Sequence[Entry], uploaded: ops.Uploaded | None) -> None:
    """A pack that lies in the bucket only, by its directory there. `uploaded`: how, unless rows know that already."""
    doomed = target.row("SELECT 1 FROM doomed_objects WHERE pack = ? AND disk = ?", (pack, disk))
    standing = index.FOUND_DOOMED if doomed else index.FOUND_THERE
    index.add_frames(target, pack, disk, entries, closed=CLOSED | COLD, standing=standing)
    if uploaded is not None:
        objects.add(target, uploaded, seq=0)
