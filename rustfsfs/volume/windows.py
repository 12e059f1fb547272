"""What is sealed together: from the hot ranges of files to windows, and from those to batches (DESIGN.md §8).

`tiers.seal` decides what is cut; here is what is looked up for it, in bounded steps. What becomes of it: `sealing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rustfsfs.content.ranges import Extent, between, clip
from rustfsfs.meta import chunks, disks
from rustfsfs.tiers import seal as policy
from rustfsfs.units import MIB
from rustfsfs.volume.volume import Volume

BATCH_BYTES_MAX = 16 * MIB  # plain bytes of a batch; in RAM twice, with its frames
BATCH_EXTENTS_MAX = 2000  # bounds what is read at once
WINDOW_ROWS_MAX = 1000  # extents planned at once
NEIGHBOURHOOD = MIB  # bytes before a hot range that may belong to its chunk,
NEIGHBOURS_MAX = 250  # and extents


@dataclass(slots=True)
class Window:
    """A stretch of a fork that is read and cut at once.

    `is_end`: its last chunk ends by itself. Else only the window's end ended it: that chunk is not sealed now, and
    `resume`, set when the window is cut, says where it began.
    """

    fork: int
    cut: policy.Cut
    sources: list[Extent]
    is_end: bool
    resume: int

    @property
    def is_long(self) -> bool:
        """Cut off for its length: the window behind it does not depend on what becomes of this one."""
        return self.cut.end - self.cut.start == BATCH_BYTES_MAX


@dataclass(slots=True)
class Batch:
    windows: list[Window] = field(default_factory=list)
    plain_bytes: int = 0
    extent_count: int = 0

    def add(self, window: Window) -> None:
        self.windows.append(window)
        self.plain_bytes += window.cut.end - window.cut.start
        self.extent_count += len(window.sources)

    def has_room(self, window: Window) -> bool:
        """Also if it is the first."""
        return not self.windows or self.plain_bytes + window.cut.end - window.cut.start <= BATCH_BYTES_MAX

    def by_fork(self) -> list["Batch"]:
        apart: dict[int, Batch] = {}
        for window in self.windows:
            apart.setdefault(window.fork, Batch()).add(window)
        return [apart[fork] for fork in sorted(apart)]

    @property
    def is_full(self) -> bool:
        return self.plain_bytes >= BATCH_BYTES_MAX or self.extent_count >= BATCH_EXTENTS_MAX


END = 1 << 62  # of a journal


def hot_forks(volume: Volume, *, before: tuple[int, int] = (END, 0), limit: int = 500) -> list[int]:
    """Forks with hot extents that lie before (segment, position) in the journal, those in the oldest segments first."""
    rows = volume.metadata.rows(
        "SELECT DISTINCT fork FROM (SELECT segment, fork FROM extents INDEXED BY extents_hot"
        " WHERE segment > 0 AND segment <= ?1 AND (segment < ?1 OR base < ?2) ORDER BY segment, fork LIMIT 20000)"
        " LIMIT ?3",
        (*before, limit),
    )
    return [fork for (fork,) in rows]


def plan_fork(
    volume: Volume, fork: int, start: int, *, recut: bool = False, leave_tail: bool = False
) -> tuple[list[Window], int | None]:
    """Windows for the next hot (or to be recut) part of a fork from `start` on; and where to go on, None at its end.

    A range longer than a batch gives its first window only, as the last one, with `is_end` false: seal it, then go on
    at its `resume`. `leave_tail`: somebody still writes there, so the last chunk of each range waits.
    """
    first = start if recut or start == 0 else _next_hot(volume, fork, start)  # most files are one stretch
    if first is None or volume.metadata.row("SELECT 1 FROM dead_forks WHERE fork = ?", (fork,)):
        return [], None
    found, more = _stretch(volume, fork, first)
    plan = policy.plan_recut if recut else policy.plan_cuts
    sizes, away = _chunk_sizes(volume, found), _away(volume, found)
    cuts = plan(found, sizes, chunk_avg=volume.header.chunk_avg, away=away)
    windows: list[Window] = []
    for cut in cuts:
        if cut.end <= start:
            continue
        begin = max(cut.start, start)  # what lies before is on its way already
        end = min(cut.end, begin + BATCH_BYTES_MAX)
        sources = [clip(e, begin, end) for e in between(found, begin, end)]
        is_end = end == cut.end and not (leave_tail or (more and cut is cuts[-1]))
        windows.append(Window(fork, policy.Cut(begin, end, cut.overlay), sources, is_end, end))
        if end < cut.end:
            return windows, end
    if not more:
        return windows, None
    return windows, max(found[-1].offset, first + 1) if windows else found[-1].end


def _stretch(volume: Volume, fork: int, first: int) -> tuple[list[Extent], bool]:
    """A few extents before `first`, at most WINDOW_ROWS_MAX from there on, and whether there are more."""
    before = volume.metadata.rows(
        "SELECT offset, length, segment, base, skip, total FROM extents WHERE fork = ? AND offset < ? AND offset >= ?"
        " ORDER BY offset DESC LIMIT ?",
        (fork, first, first - NEIGHBOURHOOD, NEIGHBOURS_MAX),
    )
    rows = volume.metadata.rows(
        "SELECT offset, length, segment, base, skip, total FROM extents WHERE fork = ? AND offset >= ?"
        " ORDER BY offset LIMIT ?",
        (fork, first, WINDOW_ROWS_MAX + 1),
    )
    found = [Extent._make(row) for row in [*reversed(before), *rows[:WINDOW_ROWS_MAX]]]
    return found, len(rows) > WINDOW_ROWS_MAX


def _next_hot(volume: Volume, fork: int, start: int) -> int | None:
    """Where the first hot extent with a byte at or past `start` begins: two looks per journal segment."""
    offsets: list[int] = []
    for segment in disks.hot_segments(volume.metadata):
        where = "FROM extents INDEXED BY extents_hot WHERE segment > 0 AND segment = ? AND fork = ?"
        key = (segment, fork, start)
        before = volume.metadata.row(f"SELECT offset, length {where} AND offset < ? ORDER BY offset DESC LIMIT 1", key)
        if before is not None and before[0] + before[1] > start:
            return int(before[0])
        behind = volume.metadata.row(f"SELECT offset {where} AND offset >= ? ORDER BY offset LIMIT 1", key)
        offsets += behind or ()
    return min(offsets, default=None)


def _away(volume: Volume, found: Sequence[Extent]) -> set[int]:
    """The chunks of those that lie in the bucket only, or on a disk that is missing."""
    if not volume.metadata.is_tiered and not volume.health.missing_disks:
        return set()
    return chunks.not_on(volume.metadata, volume.disks, {extent.base for extent in found if not extent.segment})


def _chunk_sizes(volume: Volume, found: Sequence[Extent]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for extent in found:
        if not extent.segment and extent.base not in sizes:
            chunk = chunks.find(volume.metadata, extent.base)
            sizes[extent.base] = chunk.plain_bytes if chunk else extent.skip + extent.length
    return sizes
