"""Rows of a volume with a bucket: `objects`, `doomed_objects`, `heat`, `pinned`, `published`, `terms`; what is cold.

Only where `Metadata.is_tiered`: without a bucket the tables are not there.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rustfsfs import ops
from rustfsfs.meta import chunks, schema
from rustfsfs.meta.chunks import CLOSED, COLD
from rustfsfs.meta.database import Metadata


class Object(NamedTuple):
    """A pack as the bucket has it."""

    pack: int
    disk: int
    size_bytes: int
    crc64: bytes
    placement: str
    put_s: int


class PackRow(NamedTuple):
    """All that is known of where a pack lies and how it is used."""

    pack: int
    disk: int
    size_bytes: int  # of its frames
    live_bytes: int
    closed: int
    object_bytes: int | None  # None: not in the bucket
    placement: str | None
    put_s: int | None
    read_s: int | None  # None: not noted yet

    @property
    def is_closed(self) -> bool:
        return bool(self.closed & CLOSED)

    @property
    def is_cold(self) -> bool:
        return bool(self.closed & COLD)


def attach(metadata: Metadata) -> None:
    """Make the tables. Nothing happens if they are there."""
    for statement in schema.TIER_TABLES.split(";\n"):
        if statement.strip():
            metadata.run(statement)
    metadata.run(f"PRAGMA user_version = {schema.FORMAT_TIERED}")
    metadata.is_tiered = True


def add(metadata: Metadata, op: ops.Uploaded, *, seq: int) -> None:
    """Keeps: objects names only packs that `packs` names; running.object_bytes == sum of their sizes."""
    if chunks.find_pack(metadata, op.pack, op.disk) is None:
        _doom(metadata, op.pack, op.disk, seq, op.size_bytes)
        return
    _forget(metadata, op.pack, op.disk)
    metadata.run(
        "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)",
        (op.pack, op.disk, op.size_bytes, op.crc64, op.placement, op.put_s),
    )
    metadata.running.object_bytes += op.size_bytes


def reclass(metadata: Metadata, op: ops.Reclassed) -> None:
    """Keeps: the bytes, and so every total."""
    sql = "UPDATE objects SET placement = ?, put_s = ? WHERE pack = ? AND disk = ?"
    metadata.run(sql, (op.placement, op.put_s, op.pack, op.disk))


def _forget(metadata: Metadata, pack: int, disk: int) -> Object | None:
    found = find(metadata, pack, disk)
    if found is not None:
        metadata.run("DELETE FROM objects WHERE pack = ? AND disk = ?", (pack, disk))
        metadata.running.object_bytes -= found.size_bytes
    return found


def _doom(metadata: Metadata, pack: int, disk: int, seq: int, size_bytes: int) -> None:
    old = metadata.rows("SELECT size_bytes FROM doomed_objects WHERE pack = ? AND disk = ?", (pack, disk))
    metadata.run("INSERT OR REPLACE INTO doomed_objects VALUES (?, ?, ?, ?)", (pack, disk, seq, size_bytes))
    metadata.running.doomed_object_bytes += size_bytes - sum(row[0] for row in old)


def find(metadata: Metadata, pack: int, disk: int) -> Object | None:
    for row in metadata.rows("SELECT * FROM objects WHERE pack = ? AND disk = ?", (pack, disk)):
        return Object._make(row)
    return None


def sample(metadata: Metadata, count: int) -> list[Object]:
    """The first and the last of those that only the bucket has, and of all; at most `count`."""
    cold = "objects WHERE (pack, disk) IN (SELECT pack, disk FROM packs WHERE closed & 2)"
    ends = [
        f"SELECT * FROM (SELECT * FROM {kind} ORDER BY pack {order} LIMIT ?1)"
        for kind in (cold, "objects")
        for order in ("", "DESC")
    ]
    return [Object._make(row) for row in metadata.rows(" UNION ".join(ends), (count // 4,))]


def doom(metadata: Metadata, pack: int, disk: int, *, seq: int) -> None:
    """The pack was dropped: its object is nobody's, once no older metadata names it."""
    metadata.run("DELETE FROM heat WHERE pack = ? AND disk = ?", (pack, disk))
    found = _forget(metadata, pack, disk)
    if found is not None:
        _doom(metadata, pack, disk, seq, found.size_bytes)


def doomed(metadata: Metadata, limit: int, *, until_seq: int = 1 << 62) -> list[tuple[int, int, int]]:
    """(pack, disk, size in bytes) of those that were dropped at `until_seq` or before, at most `limit`."""
    sql = "SELECT pack, disk, size_bytes FROM doomed_objects WHERE seq <= ? ORDER BY pack, disk LIMIT ?"
    return [(pack, disk, size_bytes) for pack, disk, size_bytes in metadata.rows(sql, (until_seq, limit))]


def is_doomed(metadata: Metadata, pack: int, disk: int) -> bool:
    return bool(metadata.rows("SELECT 1 FROM doomed_objects WHERE pack = ? AND disk = ?", (pack, disk)))


def forget_doomed(metadata: Metadata, packs: Iterable[tuple[int, int]]) -> None:
    for pack, disk in packs:
        found = metadata.rows("SELECT size_bytes FROM doomed_objects WHERE pack = ? AND disk = ?", (pack, disk))
        metadata.run("DELETE FROM doomed_objects WHERE pack = ? AND disk = ?", (pack, disk))
        metadata.running.doomed_object_bytes -= sum(row[0] for row in found)


def demote(metadata: Metadata, packs: Iterable[tuple[int, int]]) -> None:
    """Keeps (I7): a cold pack is closed, and in `objects`; running.cold_bytes == sum of the cold packs' sizes."""
    for pack, disk in packs:
        row = chunks.find_pack(metadata, pack, disk)
        if row is not None and row.is_closed and not row.is_cold and find(metadata, pack, disk) is not None:
            _mark(metadata, row, is_cold=True)


def drop_places(metadata: Metadata, op: ops.DropPlaces) -> None:
    """Keeps (I7): each chunk that loses a place here has one in a pack that the bucket has."""
    there = {key for key in op.kept_in if key != (op.pack, op.disk) and find(metadata, *key) is not None}
    for chunk in op.chunks:
        lies = {(place.pack, place.disk): place for place in chunks.places(metadata, chunk)}
        here = lies.get((op.pack, op.disk))
        if here is not None and not there.isdisjoint(lies):
            chunks.remove_place(metadata, chunk, here)


def recall(metadata: Metadata, packs: Iterable[tuple[int, int]]) -> None:
    for pack, disk in packs:
        row = chunks.find_pack(metadata, pack, disk)
        if row is not None and row.is_cold:
            _mark(metadata, row, is_cold=False)


def _mark(metadata: Metadata, row: chunks.Pack, *, is_cold: bool) -> None:
    closed = row.closed | COLD if is_cold else row.closed & ~COLD
    metadata.run("UPDATE packs SET closed = ? WHERE pack = ? AND disk = ?", (closed, row.pack, row.disk))
    metadata.running.cold_bytes += row.size_bytes if is_cold else -row.size_bytes


def is_cold(metadata: Metadata, pack: int, disk: int) -> bool:
    """Are its bytes in the bucket only?"""
    if not metadata.is_tiered:
        return False
    found = metadata.rows("SELECT closed FROM packs WHERE pack = ? AND disk = ?", (pack, disk))
    return bool(found) and bool(found[0][0] & COLD)


class Whereabouts(NamedTuple):
    """Of a chunk's places: those whose pack lies on a disk, and those whose pack the bucket has. Some are both."""

    local: list[ops.Place]
    in_bucket: list[ops.Place]


def whereabouts(metadata: Metadata, places: Sequence[ops.Place]) -> Whereabouts:
    if not metadata.is_tiered:
        return Whereabouts(list(places), [])
    local, in_bucket = [], []
    sql = "SELECT k.closed, o.pack FROM packs k LEFT JOIN objects o USING (pack, disk) WHERE k.pack = ? AND k.disk = ?"
    for place in places:
        for closed, found in metadata.rows(sql, (place.pack, place.disk)):
            if not closed & COLD:
                local.append(place)
            if found is not None:
                in_bucket.append(place)
    return Whereabouts(local, in_bucket)


def lose(metadata: Metadata, pack: int, disk: int) -> None:
    """A pack that lies on its disk may be put into the bucket again; of a cold one the row stays, to be asked again."""
    row = chunks.find_pack(metadata, pack, disk)
    if row is None or not row.is_cold:
        _forget(metadata, pack, disk)


def note_reads(metadata: Metadata, reads: Iterable[tuple[int, int, int]]) -> None:
    """Of packs that are gone nothing is kept. The last word counts: an earlier one may be of a clock that was wrong."""
    metadata.run_many(
        "INSERT INTO heat SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM packs WHERE pack = ?1 AND disk = ?2)"
        " ON CONFLICT (pack, disk) DO UPDATE SET read_s = ?3",
        reads,
    )


def pin(metadata: Metadata, inode: int, *, pinned: bool) -> None:
    if pinned:
        metadata.run("INSERT OR IGNORE INTO pinned SELECT inode FROM inodes WHERE inode = ?", (inode,))
    else:
        metadata.run("DELETE FROM pinned WHERE inode = ?", (inode,))


def unpin(metadata: Metadata, inodes: Sequence[int]) -> None:
    """Inodes that are no more."""
    metadata.run_many("DELETE FROM pinned WHERE inode = ?", [(inode,) for inode in inodes])


def pinned(metadata: Metadata) -> list[int]:
    return [inode for (inode,) in metadata.rows("SELECT inode FROM pinned ORDER BY inode")]


def publish(metadata: Metadata, copies: Sequence[tuple[int, int]]) -> None:
    metadata.run("DELETE FROM published")
    metadata.run_many("INSERT INTO published VALUES (?, ?)", copies)


def published(metadata: Metadata) -> list[tuple[int, int]]:
    """(epoch, seq) of each copy of the metadata in the bucket, oldest first."""
    return [(epoch, seq) for epoch, seq in metadata.rows("SELECT epoch, seq FROM published ORDER BY epoch")]


def terms(metadata: Metadata) -> list[tuple[int, bytes, bool]]:
    """(number, life, was it taken?) of what this metadata knows of the bucket's owners, oldest first."""
    found = metadata.rows("SELECT number, life, taken FROM terms ORDER BY number, life")
    return [(number, life, bool(taken)) for number, life, taken in found]


def want_term(metadata: Metadata, op: ops.WantTerm) -> None:
    """The bucket has the one before it by now, so what was about to be taken before that is of no use."""
    metadata.run("DELETE FROM terms WHERE number < ? - 1 AND NOT taken", (op.number,))
    metadata.run("INSERT OR IGNORE INTO terms VALUES (?, ?, 0)", (op.number, op.life))


def take_term(metadata: Metadata, op: ops.TakeTerm) -> None:
    metadata.run("DELETE FROM terms")
    metadata.run("INSERT INTO terms VALUES (?, ?, 1)", (op.number, op.life))
    metadata.running.may_take_over = metadata.running.restored_epoch = 0


def not_in_bucket(metadata: Metadata) -> tuple[int, int]:
    """(packs of which something is needed that only disks have, how many bytes of them are needed).

    Of two copies all places are looked at: for who is not in a hurry.
    """
    sql = (
        "SELECT count(*), coalesce(sum(p.live_bytes), 0) FROM packs p LEFT JOIN objects o USING (pack, disk)"
        " WHERE p.live_bytes > 0 AND o.pack IS NULL AND EXISTS (SELECT 1 FROM places f"
        " WHERE f.disk = p.disk AND f.pack = p.pack AND NOT EXISTS"
        " (SELECT 1 FROM places g JOIN objects USING (pack, disk) WHERE g.chunk = f.chunk))"
    )
    packs, live_bytes = metadata.rows(sql)[0]
    return packs, live_bytes


def rows_behind(metadata: Metadata, after: tuple[int, int], limit: int) -> list[PackRow]:
    """Packs in the order of (disk, pack), those behind `after`, at most `limit`."""
    sql = (
        "SELECT p.pack, p.disk, p.size_bytes, p.live_bytes, p.closed, o.size_bytes, o.placement, o.put_s, h.read_s"
        " FROM packs p LEFT JOIN objects o USING (pack, disk) LEFT JOIN heat h USING (pack, disk)"
        " WHERE (p.disk, p.pack) > (?, ?) ORDER BY p.disk, p.pack LIMIT ?"
    )
    return [PackRow._make(row) for row in metadata.rows(sql, (*after, limit))]


def lost_chunks(metadata: Metadata, nowhere: Iterable[tuple[int, int]]) -> list[chunks.Chunk]:
    """Chunks all of whose places are in packs that are nowhere, oldest first. Reads whole tables, if there are any."""
    metadata.run("CREATE TEMP TABLE nowhere (pack INTEGER, disk INTEGER, PRIMARY KEY (pack, disk)) WITHOUT ROWID")
    metadata.run_many("INSERT INTO nowhere VALUES (?, ?)", sorted(nowhere))
    sql = (
        "SELECT DISTINCT c.chunk, c.chunk_id, c.plain_bytes, c.good FROM nowhere n JOIN places p USING (pack, disk)"
        " JOIN chunks c USING (chunk) WHERE NOT EXISTS (SELECT 1 FROM places o WHERE o.chunk = p.chunk"
        " AND (o.pack, o.disk) NOT IN (SELECT pack, disk FROM nowhere)) ORDER BY c.chunk"
    )
    found = [chunks.Chunk._make(row) for row in metadata.rows(sql)]
    metadata.run("DROP TABLE nowhere")
    return found
