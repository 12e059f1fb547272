"""Which ranges of a pack to GET for the frames that are wanted, and how far to fetch ahead. Pure.

A GET costs a round trip, and money: what lies between two wanted frames is read along when that is cheaper than asking
again. A small frame takes its surroundings along, since small files that were written together are read together. On a
slow line less is asked for at once, so that it comes before readers give up.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from rustfsfs.tiers.ahead import Range, Reader, plan_ahead
from rustfsfs.units import KIB, MIB

T = TypeVar("T")


class FetchPolicy(msgspec.Struct, frozen=True, kw_only=True):
    gap_bytes: int = 256 * KIB  # IA: a GET costs as much as retrieving 300 KiB (OSS.md); in time 30 ms are 1.5 MB
    range_bytes_min: int = MIB  # of a window that is spread over connections
    range_bytes_max: int = 4 * MIB  # at 30 ms and 50 MB/s a connection gives 37 MB/s of its 50
    spread_max: int = 8  # connections that a window is spread over; 8 of them give 290 MB/s
    small_bytes: int = 64 * KIB  # a frame of at most so many is fetched with its surroundings
    block_bytes_min: int = 256 * KIB  # of them, at the first miss in a pack; a power of two
    block_bytes_max: int = 2 * MIB  # doubled with each further miss, up to here
    window_bytes_max: int = 64 * MIB  # ahead of one reader
    window_growth: int = 4  # times what it has read in order: 64 MiB come at 143 MB/s, with 2 at 125 (simulated)
    deadline_shares: int = 8  # a window's part of what comes within a deadline: 4 of them (`tasks.readahead`) take half


GETS_KNOWN = 64  # as many as 4 windows have under way at once, or the line would seem slower than it is


class Get(NamedTuple):
    """One that is over. Times are any clock's."""

    begin_s: float
    end_s: float
    size_bytes: int  # 0: it did not come in time


def line_bytes_s(gets: Iterable[Get]) -> float | None:
    """How fast bytes came while any of the GETs was under way; None: there are none.

    Of the line, then, and not of one connection. Where few are under way at once it may be faster than that.
    """
    size_bytes, took_s, until_s = 0, 0.0, float("-inf")
    for get in sorted(gets):
        size_bytes += get.size_bytes
        took_s += max(0.0, get.end_s - max(get.begin_s, until_s))
        until_s = max(until_s, get.end_s)
    return size_bytes / took_s if took_s else None


def fitted(policy: FetchPolicy, *, bytes_s: float | None, deadline_s: float) -> FetchPolicy:
    """The policy for a line so fast: what is asked for at once comes well within the deadline of a read.

    bytes_s   None: nobody knows yet, and a little shows it
    On a very slow line nothing is fetched ahead at all.
    """
    if bytes_s is None:
        return msgspec.structs.replace(
            policy, window_bytes_max=policy.range_bytes_min, block_bytes_max=policy.block_bytes_min
        )
    share = int(bytes_s * deadline_s / policy.deadline_shares)
    block = 1 << max(share, policy.small_bytes).bit_length() - 1
    return msgspec.structs.replace(
        policy,
        window_bytes_max=min(policy.window_bytes_max, share),
        range_bytes_min=min(policy.range_bytes_min, share),
        range_bytes_max=min(policy.range_bytes_max, share),
        block_bytes_max=min(policy.block_bytes_max, block),
    )


class Frame(NamedTuple):
    """A chunk's sealed bytes in a pack."""

    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes


class Fetch(NamedTuple):
    """One GET, and the frames that are wanted of it, by offset."""

    offset: int
    size_bytes: int
    frames: tuple[Frame, ...]

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes


def coalesce(frames: Iterable[Frame], *, gap_bytes: int, range_bytes_max: int) -> list[Fetch]:
    """The fewest GETs that read along at most `gap_bytes` between two frames and are at most `range_bytes_max` long.

    Each frame lies in one of them as a whole; one that is longer than `range_bytes_max` has a GET for itself. Frames do
    not overlap, but the same one may be named twice. No two GETs overlap.
    """
    groups: list[list[Frame]] = []
    for frame in sorted(set(frames)):
        group = groups[-1] if groups else None
        if group and frame.offset - group[-1].end <= gap_bytes and frame.end - group[0].offset <= range_bytes_max:
            group.append(frame)
        else:
            groups.append([frame])
    return [Fetch(group[0].offset, group[-1].end - group[0].offset, tuple(group)) for group in groups]


def block_bytes(misses: int, policy: FetchPolicy) -> int:
    """How large the surroundings of a small frame are, when so many misses in its pack came before this one."""
    return min(policy.block_bytes_max, policy.block_bytes_min << min(misses, 20))


def block_of(offset: int, *, misses: int, policy: FetchPolicy) -> Range:
    """The aligned block that `offset` lies in. Its frames are those that begin in it, so each has one block only."""
    size = block_bytes(misses, policy)
    return Range(offset // size * size, offset // size * size + size)


def surroundings(wanted: Frame, near: Iterable[Frame], *, misses: int, policy: FetchPolicy) -> Fetch:
    """The GET for a frame that is missed: with what begins in the same block, if it is small.

    near   live frames of the pack around `wanted` that are not in the cache; those outside its block do not count
    """
    if wanted.size_bytes > policy.small_bytes:
        return Fetch(wanted.offset, wanted.size_bytes, (wanted,))
    block = block_of(wanted.offset, misses=misses, policy=policy)
    inside = [frame for frame in near if block.start <= frame.offset < block.end]
    longest = max(block_bytes(misses, policy) + policy.small_bytes, policy.range_bytes_max)
    fetches = coalesce([wanted, *inside], gap_bytes=policy.gap_bytes, range_bytes_max=longest)
    return next(fetch for fetch in fetches if wanted in fetch.frames)


def window_bytes(*, connections: int, policy: FetchPolicy, bytes_max: int) -> int:
    """How far ahead of one reader to fetch: two full GETs a connection, one on its way while another is read.

    bytes_max   what the cache that it goes to can spare; a short GET is none too many for RAM
    """
    spared = max(policy.range_bytes_min, bytes_max)
    return min(2 * connections * policy.range_bytes_max, policy.window_bytes_max, spared)


def plan_window(
    reader: Reader | None, start: int, end: int, *, size: int, window_max: int, policy: FetchPolicy
) -> tuple[Reader, Range | None]:
    """As `plan_ahead`, for a file whose data is cold: what is known of its reader, and what to fetch ahead of it now.

    window_max   from `window_bytes`
    """
    return plan_ahead(reader, start, end, size=size, window_max=window_max, growth=policy.window_growth)


def plan_fetches(frames: Sequence[Frame], *, total_bytes: int, connections: int, policy: FetchPolicy) -> list[Fetch]:
    """The GETs for the frames of one pack, of a window of `total_bytes` in all: short enough to keep all connections.

    A short window in long GETs would use one or two connections; below `range_bytes_min` the round trip is the most.
    """
    share = -(-total_bytes // min(connections, policy.spread_max))
    longest = max(policy.range_bytes_min, min(policy.range_bytes_max, share))
    return coalesce(frames, gap_bytes=policy.gap_bytes, range_bytes_max=longest)


def in_turns(fetches: Sequence[T], sizes: Sequence[int], *, policy: FetchPolicy) -> list[list[T]]:
    """GETs in groups, one group after the other: at most a window's bytes at once, or one GET."""
    turns: list[list[T]] = []
    left = 0
    for fetch, size_bytes in zip(fetches, sizes, strict=True):
        if not turns or size_bytes > left:
            turns.append([])
            left = policy.window_bytes_max
        turns[-1].append(fetch)
        left -= size_bytes
    return turns
