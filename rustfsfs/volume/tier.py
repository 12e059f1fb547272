"""What an open volume keeps beside its bucket. Without one `door` is None, and the rest is empty."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import trio

from rustfsfs.cache.piecefiles import PieceFiles
from rustfsfs.cache.pieces import Piece, PieceIndex
from rustfsfs.errors import CloudUnavailable
from rustfsfs.store.cold import Door
from rustfsfs.tiers.bucket_rules import Finding
from rustfsfs.tiers.fetch import GETS_KNOWN, Get
from rustfsfs.tiers.packs import Busy, PackKey
from rustfsfs.units import MIB
from rustfsfs.volume.throughput import Throughput

WAITING_MAX = 1000  # cold reads; half of the session's tasks: the others are left for what needs no network
FROZEN_MAX = 250  # reads that wait for a restore, beside those
KNOWN_MAX = 4096  # packs of which misses and busyness are remembered, readers of cold files
RECENT_BYTES = 96 * MIB  # a window, and what is still read of the one before
# Threads that wait for the bucket; how many requests go at once say the gates of the `Door`. Each work has its own, so
# that none stands before another.
FETCHERS = 32  # reads of applications, and what is fetched ahead of them: two for each of the gate's places by default
UPLOADERS = 32  # the same; `bucket.in_flight` is less, by default: 8 packs
RECALLERS = 8  # each GETs a part at a time; 8 connections give 187 MB/s of 200
WORKERS = 8  # the rest: sweeps, publications, deletions, changes of class (4 at once), a HEAD now and then


class Known(NamedTuple):
    """Of a closed pack. True as long as no live bytes came to or went from any of the packs: what moves, leaves one."""

    others: tuple[tuple[PackKey, ...], ...]  # as in `Pack`
    live_bytes: tuple[tuple[PackKey, int], ...]  # its own, and theirs


@dataclass(slots=True)
class Flight:
    """A GET under way, for all who want something of it."""

    landed: trio.Event = field(default_factory=trio.Event)
    data: bytes | None = None
    error: Exception | None = None


@dataclass(slots=True)
class Traffic:
    """Since the mount, for status."""

    up_bytes: int = 0
    down_bytes: int = 0
    uploaded_packs: int = 0
    demoted_packs: int = 0
    recalled_packs: int = 0
    fetches: int = 0
    failures: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Backlog:
    """What the mover has yet to upload, when it last looked."""

    packs: int = 0
    bytes: int = 0
    since_s: float | None = None  # wall clock


@dataclass(slots=True)
class Published:
    """Of the newest copy of the metadata in the bucket, and of what was not there when it was made."""

    epoch: int = 0  # 0: there is none, or nobody has looked yet
    committed_ns: int = 0
    size_bytes: int = 0
    hot_bytes: int = 0
    local_packs: int = 0
    local_bytes: int = 0
    trouble: str = ""  # why it is late
    trouble_kind: str = ""  # of what the log has been told
    header_is_late: bool = False  # the trouble is of the header only


@dataclass(slots=True)
class Tier:
    """Everything is the trio thread's."""

    door: Door | None = None
    trouble: str | None = None  # why there is no door although the volume has a bucket
    rules: list[Finding] = field(default_factory=list)  # what was wrong with the bucket's owner's rules, the last time
    fenced: str | None = None  # why nothing is written to the bucket any more: another host goes on with it
    term: int | None = None  # the one this life holds; None: nothing was written there yet
    life: bytes = b""  # the id of this life, drawn when it first wants a term
    term_lock: trio.Lock = field(default_factory=trio.Lock)
    files: PieceFiles | None = None
    pieces: PieceIndex = field(default_factory=lambda: PieceIndex(0))
    flights: dict[PackKey, dict[Piece, Flight]] = field(default_factory=dict)
    recent: OrderedDict[Piece, bytes] = field(default_factory=OrderedDict)  # in RAM: who reads in order wants them next
    gets: deque[Get] = field(default_factory=lambda: deque(maxlen=GETS_KNOWN))  # of readers, the last ones
    misses: OrderedDict[PackKey, int] = field(default_factory=OrderedDict)  # of small frames, most recent last
    readers: OrderedDict[int, None] = field(default_factory=OrderedDict)  # inodes whose data was found to be cold
    reads_s: dict[PackKey, int] = field(default_factory=dict)  # pack -> when it was read, not recorded yet
    busy: OrderedDict[PackKey, Busy] = field(default_factory=OrderedDict)  # bytes read from the bucket of late
    restores: OrderedDict[PackKey, float] = field(
        default_factory=OrderedDict
    )  # asked for and frozen yet -> when, trio's
    to_restore: deque[PackKey] = field(default_factory=deque)  # of those, what is to be asked for now
    first_seen_s: dict[PackKey, float] = field(default_factory=dict)  # packs the bucket has not -> when, wall clock
    others: dict[PackKey, Known] = field(default_factory=dict)  # local packs that may lie in the bucket by others
    uploading: dict[PackKey, int] = field(default_factory=dict)  # bytes in flight
    recalling: dict[PackKey, int] = field(default_factory=dict)
    demoting: set[PackKey] = field(default_factory=set)  # until their files are gone
    waiting: int = 0  # cold reads
    waiting_frozen: int = 0  # reads that wait for a restore
    round_no: int = 0  # of the mover's last look at everything
    idle_round_no: int = 0  # of the last one that found nothing to do
    told_s: float = -1e9  # when the log was last told that readers cannot reach the bucket
    told_ahead_s: float = -1e9  # ... nor what fetches ahead of them
    fetchers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(FETCHERS))
    uploaders: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(UPLOADERS))
    recallers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(RECALLERS))
    workers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(WORKERS))
    lock: trio.Lock = field(default_factory=trio.Lock)  # one round of the mover at a time
    traffic: Traffic = field(default_factory=Traffic)
    up: Throughput = field(default_factory=Throughput)
    down: Throughput = field(default_factory=Throughput)
    backlog: Backlog = field(default_factory=Backlog)
    published: Published = field(default_factory=Published)
    header: bytes | None = None  # of the volume, as the bucket is known to have it; None: nobody has looked yet
    went_cold: bool = False  # packs did that the newest copy of the metadata does not know as such
    published_s: float = -1e9  # when this life made the newest copy, trio's clock
    publishing_took_s: float = 0.0
    publish_lock: trio.Lock = field(default_factory=trio.Lock)  # one copy of the metadata at a time

    def note_up(self, size_bytes: int) -> None:
        self.traffic.up_bytes += size_bytes
        self.up.add(size_bytes, now_s=trio.current_time())

    def note_down(self, size_bytes: int) -> None:
        self.traffic.down_bytes += size_bytes
        self.down.add(size_bytes, now_s=trio.current_time())

    def rates(self) -> dict[str, int]:
        """Of the last minute, for status."""
        now_s = trio.current_time()
        return {"up_bytes_s": int(self.up.bytes_s(now_s=now_s)), "down_bytes_s": int(self.down.bytes_s(now_s=now_s))}

    def covering(self, wanted: Piece) -> tuple[Piece, Flight] | None:
        """A GET under way that brings a whole frame."""
        for piece, flight in self.flights.get((wanted.pack, wanted.disk), {}).items():
            if piece.covers(wanted):
                return piece, flight
        return None

    def remember_piece(self, piece: Piece, data: bytes) -> None:
        """Keeps: at most RECENT_BYTES in RAM, unless one piece has more."""
        self.recent[piece] = data
        while len(self.recent) > 1 and sum(map(len, self.recent.values())) > RECENT_BYTES:
            self.recent.popitem(last=False)

    def recently(self, wanted: Piece) -> memoryview | None:
        """A whole frame, if what brought it is in RAM yet."""
        for piece, data in self.recent.items():
            if piece.covers(wanted):
                return memoryview(data)[wanted.offset - piece.offset : wanted.end - piece.offset]
        return None

    def forget(self, wanted: Piece) -> None:
        """What holds a damaged frame is in RAM no more."""
        for piece in [piece for piece in self.recent if piece.covers(wanted)]:
            del self.recent[piece]

    @contextmanager
    def place_to_wait(self) -> Iterator[None]:
        """Of a request that waits for the network. Raises CloudUnavailable when all are taken."""
        if self.waiting >= WAITING_MAX:
            raise CloudUnavailable(f"{WAITING_MAX} reads wait for the bucket already; try again later")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


def remember(known: OrderedDict[Any, Any], limit: int = KNOWN_MAX) -> None:
    """Forget the oldest beyond the limit."""
    while len(known) > limit:
        known.popitem(last=False)
