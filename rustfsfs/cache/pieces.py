"""Which ranges of the bucket's packs lie on the cache disk, and which go when there is no more room. No I/O.

A piece is what one GET brought, in one file: an index of single frames would not fit into memory (26 million of 4 KiB
in 100 GiB), and what was fetched together is wanted together. Files are the caller's.
"""

from typing import NamedTuple

from rustfsfs.cache.twoqueue import TwoQueueCache

BLOCK = 4096  # bytes; a file takes whole ones
GRAIN = 512  # bytes of a piece for one bit of what was asked for; shorter frames share theirs


class Piece(NamedTuple):
    """Bytes [offset, offset + size_bytes) of a pack in the bucket; they never change."""

    pack: int
    disk: int
    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes

    def covers(self, other: "Piece") -> bool:
        return self[:2] == other[:2] and self.offset <= other.offset and other.end <= self.end


class _Entry:
    __slots__ = ("asked", "piece")

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.asked = 0  # bits: frames that begin in these grains


class PieceIndex:
    """Pieces enter on probation; when a *frame* is asked for again its piece is protected.

    The many small files of one piece, read one after the other, are a scan and not a habit: they protect nothing.
    Keeps: the files of all pieces take at most `bytes_max`, if what `add` names is deleted before its piece is written.
    """

    def __init__(self, bytes_max: int) -> None:
        self._queues: TwoQueueCache[tuple[int, int, int], _Entry] = TwoQueueCache(bytes_max)
        self._by_pack: dict[tuple[int, int], dict[int, _Entry]] = {}  # (pack, disk) -> offset -> entry; a few each
        self.hits = 0
        self.misses = 0

    @property
    def bytes(self) -> int:
        return self._queues.bytes

    def __len__(self) -> int:
        return len(self._queues)

    def holds(self, frame: Piece) -> bool:
        """Looking does not count as asking."""
        return self._covering(frame) is not None

    def has(self, piece: Piece) -> bool:
        """This very piece, not one around it."""
        entry = self._by_pack.get(piece[:2], {}).get(piece.offset)
        return entry is not None and entry.piece == piece

    def find(self, frame: Piece) -> Piece | None:
        """The piece that a frame lies in as a whole."""
        entry = self._covering(frame)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        bit = 1 << (frame.offset - entry.piece.offset) // GRAIN
        if entry.asked & bit:
            self._queues.get(_key(entry.piece))
        entry.asked |= bit
        return entry.piece

    def add(self, piece: Piece) -> list[Piece] | None:
        """Pieces to delete now, before this one is written; None: it is not to be kept.

        Not kept is what is too large for the cache, and what is there already. Pieces that lie within the new one go.
        """
        cost = -(-piece.size_bytes // BLOCK) * BLOCK
        if not self._queues.takes(cost) or self.holds(piece):
            return None
        entry = _Entry(piece)
        within = [old for old in self._by_pack.get(piece[:2], {}).values() if piece.covers(old.piece)]
        for old in within:
            entry.asked |= old.asked << (old.piece.offset - piece.offset) // GRAIN
            self.remove(old.piece)
        evicted = self._queues.put(_key(piece), entry, cost)
        for old in evicted:
            self._forget(old.piece)
        self._by_pack.setdefault(piece[:2], {})[piece.offset] = entry
        return [old.piece for old in (*within, *evicted)]

    def remove(self, piece: Piece) -> None:
        """Its file is gone, or damaged."""
        if self.has(piece):
            self._queues.remove(_key(piece))
            self._forget(piece)

    def remove_pack(self, pack: int, disk: int) -> list[Piece]:
        """The pack is not in the bucket any more, or has a local copy: the pieces to delete."""
        gone = [entry.piece for entry in self._by_pack.get((pack, disk), {}).values()]
        for piece in gone:
            self.remove(piece)
        return gone

    def _covering(self, frame: Piece) -> _Entry | None:
        entries = self._by_pack.get(frame[:2], {}).values()
        return next((entry for entry in entries if entry.piece.covers(frame)), None)

    def _forget(self, piece: Piece) -> None:
        pieces = self._by_pack[piece[:2]]
        del pieces[piece.offset]
        if not pieces:
            del self._by_pack[piece[:2]]


def _key(piece: Piece) -> tuple[int, int, int]:
    return piece[:3]
