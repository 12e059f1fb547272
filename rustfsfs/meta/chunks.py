"""Rows of `chunks`, `places`, `packs`, `doomed`, `maybe_dead`: what is sealed, and where it lies."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rustfsfs.meta.database import Metadata
from rustfsfs.ops import NewChunk, Place
from rustfsfs.units import ChunkNo

CLOSED, COLD = 1, 2  # bits of packs.closed


class Chunk(NamedTuple):
    chunk: ChunkNo
    chunk_id: bytes
    plain_bytes: int
    good: int


class Pack(NamedTuple):
    pack: int
    disk: int
    size_bytes: int
    live_bytes: int
    end_bytes: int
    closed: int

    @property
    def is_closed(self) -> bool:
        return bool(self.closed & CLOSED)

    @property
    def is_cold(self) -> bool:
        """Its bytes are in the bucket only."""
        return bool(self.closed & COLD)


def find(metadata: Metadata, chunk: int) -> Chunk | None:
    sql = "SELECT chunk, chunk_id, plain_bytes, good FROM chunks WHERE chunk = ?"
    for row in metadata.rows(sql, (chunk,)):
        return Chunk._make(row)
    return None


def find_by_id(metadata: Metadata, chunk_id: bytes) -> Chunk | None:
    sql = "SELECT chunk, chunk_id, plain_bytes, good FROM chunks WHERE chunk_id = ?"
    for row in metadata.rows(sql, (chunk_id,)):
        return Chunk._make(row)
    return None


def find_copies(metadata: Metadata, chunk_id: bytes) -> list[tuple[Chunk, int]]:
    """A chunk with each disk it has a place on, that in the bucket not counted."""
    sql = (
        "SELECT c.chunk, c.chunk_id, c.plain_bytes, c.good, p.disk FROM chunks c JOIN places p USING (chunk)"
        " WHERE c.chunk_id = ? ORDER BY p.disk, p.pack"
    )
    if metadata.is_tiered:
        sql = sql.replace(" WHERE", " JOIN packs k USING (pack, disk) WHERE NOT k.closed & 2 AND")
    return [(Chunk._make(row[:4]), row[4]) for row in metadata.rows(sql, (chunk_id,))]


def places(metadata: Metadata, chunk: int) -> list[Place]:
    sql = "SELECT disk, pack, offset, stored_bytes FROM places WHERE chunk = ? ORDER BY disk, pack"
    return [Place(*row) for row in metadata.rows(sql, (chunk,))]


def not_on(metadata: Metadata, disks: Iterable[int], among: Iterable[int]) -> set[int]:
    """Those chunks that have places, but none on these disks: what is in the bucket only is on no disk."""
    found = metadata.rows(
        "SELECT p.chunk FROM places p JOIN packs k USING (pack, disk)"
        " WHERE p.chunk IN (SELECT value FROM json_each(?1)) GROUP BY p.chunk"
        " HAVING NOT max(NOT k.closed & ?2 AND p.disk IN (SELECT value FROM json_each(?3)))",
        (json.dumps(sorted(among)), COLD, json.dumps(sorted(disks))),
    )
    return {chunk for (chunk,) in found}


def add(metadata: Metadata, new: Sequence[NewChunk]) -> set[int]:
    """Chunks, or new places of known ones (healed, or stored again); returns the numbers of those not known before.

    Packs must be known. Nothing may come to name a new one, should every range of the Seal have changed meanwhile:
    then the caller has to `suspect` it.
    """
    known = {one.chunk: found for one in new if (found := find(metadata, one.chunk)) is not None}
    fresh = [one for one in new if one.chunk not in known]
    metadata.run_many(
        "INSERT INTO chunks VALUES (?, ?, ?, 1)", [(one.chunk, one.chunk_id, one.plain_bytes) for one in fresh]
    )
    running = metadata.running
    running.unique_bytes += sum(one.plain_bytes for one in fresh)
    running.next_chunk = max([running.next_chunk, *(one.chunk + 1 for one in fresh)])
    add_places(metadata, [(one.chunk, place) for one in fresh for place in one.places])
    for one in new:
        if one.chunk in known:
            _add_again(metadata, one, known[one.chunk])
    return {one.chunk for one in fresh}


def _add_again(metadata: Metadata, new: NewChunk, known: Chunk) -> None:
    lies: set[tuple[int, int]] = set()
    if not known.good:
        mark(metadata, new.chunk, good=True)
        for place in places(metadata, new.chunk):
            remove_place(metadata, new.chunk, place)
    else:
        lies = {(place.disk, place.pack) for place in places(metadata, new.chunk)}
    for place in new.places:
        if (place.disk, place.pack) in lies:  # found there already, when the index was rebuilt
            add_dead(metadata, place)
        else:
            add_places(metadata, [(new.chunk, place)])


def suspect(metadata: Metadata, chunks: Iterable[int]) -> None:
    """Perhaps no extent names them: Collect looks."""
    metadata.run_many("INSERT OR IGNORE INTO maybe_dead VALUES (?)", [(chunk,) for chunk in sorted(chunks)])


def add_places(metadata: Metadata, added: Sequence[tuple[int, Place]]) -> None:
    """Of each (chunk, place) the bytes were appended just now. Keeps: packs.live_bytes == sum of its places."""
    metadata.run_many(
        "INSERT INTO places VALUES (?, ?, ?, ?, ?)",
        [(chunk, place.disk, place.pack, place.offset, place.stored_bytes) for chunk, place in added],
    )
    by_pack: dict[tuple[int, int], list[Place]] = {}
    for _chunk, place in added:
        by_pack.setdefault((place.pack, place.disk), []).append(place)
    for group in by_pack.values():
        stored_bytes = sum(place.stored_bytes for place in group)
        _lengthen(metadata, max(group, key=lambda place: place.offset), stored_bytes, live_bytes=stored_bytes)
        metadata.running.stored_bytes += stored_bytes


def remove_place(metadata: Metadata, chunk: int, place: Place) -> None:
    metadata.run("DELETE FROM places WHERE chunk = ? AND disk = ? AND pack = ?", (chunk, place.disk, place.pack))
    metadata.run(
        "UPDATE packs SET live_bytes = live_bytes - ? WHERE pack = ? AND disk = ?",
        (place.stored_bytes, place.pack, place.disk),
    )
    metadata.running.stored_bytes -= place.stored_bytes


def collect(metadata: Metadata, chunks: Sequence[int]) -> None:
    """Delete those no extent names; clear the suspicion of the rest."""
    for chunk in chunks:
        metadata.run("DELETE FROM maybe_dead WHERE chunk = ?", (chunk,))
        found = find(metadata, chunk)
        if found is None or is_named(metadata, chunk):
            continue
        for place in places(metadata, chunk):
            remove_place(metadata, chunk, place)
        if not found.good:
            mark(metadata, chunk, good=True)
        metadata.run("DELETE FROM chunks WHERE chunk = ?", (chunk,))
        metadata.running.unique_bytes -= found.plain_bytes


def mark(metadata: Metadata, chunk: int, *, good: bool) -> None:
    """A chunk was found damaged, or seen good again. Nothing happens to one that is known to be so."""
    metadata.run("UPDATE chunks SET good = ?1 WHERE chunk = ?2 AND good != ?1", (int(good), chunk))
    metadata.running.bad_chunks += -metadata.changed() if good else metadata.changed()


def is_named(metadata: Metadata, chunk: int) -> bool:
    sql = "SELECT 1 FROM extents WHERE segment = 0 AND base = ? LIMIT 1"
    return bool(metadata.rows(sql, (chunk,)))


def suspects(metadata: Metadata, count: int) -> list[int]:
    return [chunk for (chunk,) in metadata.rows("SELECT chunk FROM maybe_dead ORDER BY chunk LIMIT ?", (count,))]


def add_pack(metadata: Metadata, pack: int, disk: int) -> None:
    metadata.run("INSERT OR IGNORE INTO packs VALUES (?, ?, 0, 0, 0, 0)", (pack, disk))
    metadata.running.next_pack = max(metadata.running.next_pack, pack + 1)


def packs(metadata: Metadata) -> list[Pack]:
    return [Pack._make(row) for row in metadata.rows("SELECT * FROM packs ORDER BY pack, disk")]


class Held(NamedTuple):
    """Which packs with an object stay as they are."""

    put_since_s: dict[str, int]  # class -> seconds since 1970: those whose objects of it were put later
    disks: list[int]  # of these


def sparse_packs(metadata: Metadata, live_share: float, limit: int, held: Held | None = None) -> list[Pack]:
    """Packs of which less than `live_share` is live, or that are empty: the emptiest first, at most `limit`.

    held   left out, unless nothing lives in them
    """
    sql = (
        "SELECT * FROM packs WHERE (live_bytes < ?1 * size_bytes OR size_bytes = 0) {}"
        " ORDER BY CAST(live_bytes AS REAL) / max(size_bytes, 1), pack, disk LIMIT ?2"
    )
    if held is None:
        return [Pack._make(row) for row in metadata.rows(sql.format(""), (live_share, limit))]
    is_not_held = (
        "AND (live_bytes = 0 OR disk NOT IN (SELECT value FROM json_each(?4)) OR NOT EXISTS (SELECT 1 FROM objects o"
        " JOIN json_each(?3) h ON h.key = o.placement"
        " WHERE o.pack = packs.pack AND o.disk = packs.disk AND o.put_s > h.value))"
    )
    values = (live_share, limit, json.dumps(held.put_since_s), json.dumps(held.disks))
    return [Pack._make(row) for row in metadata.rows(sql.format(is_not_held), values)]


def empty_packs(metadata: Metadata, limit: int) -> list[Pack]:
    """Packs in which nothing lives."""
    sql = "SELECT * FROM packs WHERE live_bytes = 0 ORDER BY pack, disk LIMIT ?"
    return [Pack._make(row) for row in metadata.rows(sql, (limit,))]


def packs_behind(metadata: Metadata, after: tuple[int, int], limit: int) -> list[Pack]:
    """Packs in the order of (disk, pack), those behind `after`: at most `limit`."""
    sql = "SELECT * FROM packs WHERE (disk, pack) > (?, ?) ORDER BY disk, pack LIMIT ?"
    return [Pack._make(row) for row in metadata.rows(sql, (*after, limit))]


def packs_on(metadata: Metadata, disk: int, limit: int) -> list[Pack]:
    """Packs whose files lie there."""
    sql = "SELECT * FROM packs WHERE disk = ? AND NOT closed & ? ORDER BY pack LIMIT ?"
    return [Pack._make(row) for row in metadata.rows(sql, (disk, COLD, limit))]


def find_pack(metadata: Metadata, pack: int, disk: int) -> Pack | None:
    for row in metadata.rows("SELECT * FROM packs WHERE pack = ? AND disk = ?", (pack, disk)):
        return Pack._make(row)
    return None


def live_in(
    metadata: Metadata, pack: int, disk: int, *, behind: int = -1, limit: int = -1
) -> list[tuple[Chunk, Place]]:
    """Live frames of one pack, in the order they lie there; at most `limit`, those that begin behind `behind`."""
    sql = (
        "SELECT c.chunk, c.chunk_id, c.plain_bytes, c.good, p.disk, p.pack, p.offset, p.stored_bytes"
        " FROM places p JOIN chunks c USING (chunk) WHERE p.disk = ? AND p.pack = ?"
        " AND p.offset > ? ORDER BY p.offset LIMIT ?"
    )
    return [(Chunk._make(row[:4]), Place(*row[4:])) for row in metadata.rows(sql, (disk, pack, behind, limit))]


class Elsewhere(NamedTuple):
    """A live frame of a pack, and the other packs that its chunk lies in."""

    chunk: int
    offset: int
    packs: frozenset[tuple[int, int]]


def elsewhere(metadata: Metadata, pack: int, disk: int, *, behind: int, limit: int) -> list[Elsewhere]:
    """Of the live frames of a pack, in the order they lie there; at most `limit`, those that begin behind `behind`."""
    sql = (
        "SELECT f.chunk, f.offset, o.pack, o.disk FROM"
        " (SELECT chunk, offset FROM places WHERE disk = ?1 AND pack = ?2 AND offset > ?3 ORDER BY offset LIMIT ?4) f"
        " LEFT JOIN places o ON o.chunk = f.chunk AND (o.disk, o.pack) != (?1, ?2) ORDER BY f.offset"
    )
    found: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for chunk, offset, other_pack, other_disk in metadata.rows(sql, (disk, pack, behind, limit)):
        others = found.setdefault((chunk, offset), set())
        if other_pack is not None:
            others.add((other_pack, other_disk))
    return [Elsewhere(*frame, frozenset(others)) for frame, others in found.items()]


def frames_between(metadata: Metadata, pack: int, disk: int, start: int, end: int) -> list[tuple[int, int]]:
    """(offset, stored_bytes) of the live frames of a pack that begin in [start, end)."""
    sql = "SELECT offset, stored_bytes FROM places WHERE disk = ? AND pack = ? AND offset >= ? AND offset < ?"
    return [(offset, size) for offset, size in metadata.rows(sql + " ORDER BY offset", (disk, pack, start, end))]


def close_pack(metadata: Metadata, pack: int, disk: int) -> None:
    metadata.run("UPDATE packs SET closed = closed | ? WHERE pack = ? AND disk = ?", (CLOSED, pack, disk))


def drop_pack(metadata: Metadata, pack: int, disk: int, *, seq: int) -> bool:
    """A pack without live frames leaves, and its file is doomed. Not if it lives again, or is gone: was it dropped?"""
    found = find_pack(metadata, pack, disk)
    if found is None or found.live_bytes:
        return False
    metadata.run("DELETE FROM packs WHERE pack = ? AND disk = ?", (pack, disk))
    metadata.running.pack_bytes -= found.size_bytes
    if found.is_cold:
        metadata.running.cold_bytes -= found.size_bytes
    else:
        metadata.run("INSERT INTO doomed VALUES (?, ?, ?, ?)", (pack, disk, seq, found.size_bytes))
        metadata.running.doomed_bytes += found.size_bytes
    return True


def first_pack(metadata: Metadata, start: int) -> int | None:
    """The lowest number from `start` on."""
    number: int | None = metadata.rows("SELECT min(pack) FROM packs WHERE pack >= ?", (start,))[0][0]
    return number


def live_bytes_between(metadata: Metadata, start: int, end: int) -> dict[int, int]:
    """By disk, of the packs with numbers in [start, end) that lie on disks. 0.4 us a pack."""
    found = metadata.rows(
        "SELECT disk, sum(live_bytes) FROM packs WHERE pack >= ? AND pack < ? AND NOT closed & 2 GROUP BY disk",
        (start, end),
    )
    return dict(found)


def doomed(metadata: Metadata) -> list[tuple[int, int, int]]:
    return [
        (pack, disk, seq) for pack, disk, seq in metadata.rows("SELECT pack, disk, seq FROM doomed ORDER BY pack, disk")
    ]


def forget_doomed(metadata: Metadata, packs: Iterable[tuple[int, int]]) -> None:
    """Their files are gone, or are nobody's business any more."""
    for pack, disk in packs:
        found = metadata.rows("SELECT size_bytes FROM doomed WHERE pack = ? AND disk = ?", (pack, disk))
        metadata.run("DELETE FROM doomed WHERE pack = ? AND disk = ?", (pack, disk))
        metadata.running.doomed_bytes -= sum(size_bytes for (size_bytes,) in found)


def add_dead(metadata: Metadata, place: Place) -> None:
    """Bytes were appended that no chunk came to need: the pack is longer, its live part is not."""
    _lengthen(metadata, place, place.stored_bytes, live_bytes=0)


def _lengthen(metadata: Metadata, last: Place, size_bytes: int, *, live_bytes: int) -> None:
    """A pack grew by frames of `size_bytes`, `last` is the one behind the others."""
    metadata.run(
        "UPDATE packs SET size_bytes = size_bytes + ?1, live_bytes = live_bytes + ?2, end_bytes = max(end_bytes, ?3)"
        " WHERE pack = ?4 AND disk = ?5",
        (size_bytes, live_bytes, last.offset + last.stored_bytes, last.pack, last.disk),
    )
    assert metadata.changed() == 1, last
    metadata.running.pack_bytes += size_bytes
