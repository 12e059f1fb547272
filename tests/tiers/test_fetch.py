"""Ranges to GET: all that is wanted, little that is not, few requests; and the window ahead of a reader."""

import itertools
import random
from collections import deque
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rustfsfs.tiers.ahead import Range
from rustfsfs.tiers.fetch import (
    GETS_KNOWN,
    Fetch,
    FetchPolicy,
    Frame,
    Get,
    block_of,
    coalesce,
    fitted,
    in_turns,
    line_bytes_s,
    plan_fetches,
    plan_window,
    surroundings,
    window_bytes,
)
from rustfsfs.units import KIB, MIB
from tests.tiers.slow_server import SlowServer

POLICY = FetchPolicy()
PACK = 16 * MIB


@st.composite
def frames(draw: st.DrawFn, count_max: int = 12) -> list[Frame]:
    found, at = [], 0
    for gap, size in draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 20)), max_size=count_max)):
        found.append(Frame(at + gap, size))
        at = found[-1].end
    return found


@pytest.mark.parametrize(
    ("wanted", "want"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([Frame(0, 10), Frame(10, 10)], [(0, 20)], id="they touch"),
        pytest.param([Frame(0, 10), Frame(15, 5)], [(0, 20)], id="a gap that is read along"),
        pytest.param([Frame(0, 10), Frame(16, 4)], [(0, 10), (16, 4)], id="a gap that is not"),
        pytest.param([Frame(10, 10), Frame(0, 10)], [(0, 20)], id="in any order"),
        pytest.param([Frame(0, 10), Frame(0, 10)], [(0, 10)], id="the same one twice"),
        pytest.param([Frame(0, 30), Frame(30, 11)], [(0, 30), (30, 11)], id="too long together"),
        pytest.param([Frame(0, 30), Frame(30, 10)], [(0, 40)], id="just as long as may be"),
        pytest.param([Frame(0, 41), Frame(41, 1)], [(0, 41), (41, 1)], id="too long alone"),
    ],
)
def test_coalesce(wanted: list[Frame], want: list[tuple[int, int]]) -> None:
    found = coalesce(wanted, gap_bytes=5, range_bytes_max=40)
    assert [(fetch.offset, fetch.size_bytes) for fetch in found] == want


@given(frames(), st.integers(0, 15), st.integers(1, 80), st.randoms(use_true_random=False))
def test_all_is_fetched_once_and_what_is_read_along_is_bounded(
    wanted: list[Frame], gap: int, longest: int, shuffle: random.Random
) -> None:
    shuffled = [*wanted, *wanted[:3]]
    shuffle.shuffle(shuffled)
    fetches = coalesce(shuffled, gap_bytes=gap, range_bytes_max=longest)
    assert [frame for fetch in fetches for frame in fetch.frames] == wanted
    for fetch in fetches:
        assert (fetch.offset, fetch.end) == (fetch.frames[0].offset, fetch.frames[-1].end)
        assert fetch.size_bytes <= longest or len(fetch.frames) == 1
        waste = fetch.size_bytes - sum(frame.size_bytes for frame in fetch.frames)
        assert waste <= gap * (len(fetch.frames) - 1)
    assert all(left.end <= right.offset for left, right in itertools.pairwise(fetches))


@given(frames(count_max=9), st.integers(0, 15), st.integers(1, 80))
def test_no_other_way_takes_fewer_requests(wanted: list[Frame], gap: int, longest: int) -> None:
    def may_be_one(group: list[Frame]) -> bool:
        gaps = all(right.offset - left.end <= gap for left, right in itertools.pairwise(group))
        return len(group) == 1 or (gaps and group[-1].end - group[0].offset <= longest)

    fewest = [0]  # for the first n frames
    for end in range(1, len(wanted) + 1):
        fewest.append(min(fewest[start] + 1 for start in range(end) if may_be_one(wanted[start:end])))
    assert len(coalesce(wanted, gap_bytes=gap, range_bytes_max=longest)) == fewest[-1]


def pack_of(size_bytes: int, *, count: int = 10**9) -> list[Frame]:
    return [Frame(96 + number * size_bytes, size_bytes) for number in range(min(count, PACK // size_bytes))]


class Cached:
    """Reads frames of packs, each a miss unless something fetched it; counts what that takes."""

    def __init__(self, packs: list[list[Frame]]) -> None:
        self.packs = packs
        self.held: list[set[Frame]] = [set() for _ in packs]
        self.misses = [0] * len(packs)
        self.requests = self.bytes = 0

    def read(self, number: int, frame: Frame) -> None:
        if frame in self.held[number]:
            return
        block = block_of(frame.offset, misses=self.misses[number], policy=POLICY)
        near = [one for one in self.packs[number] if block.start <= one.offset < block.end]
        fetch = surroundings(
            frame,
            [one for one in near if one not in self.held[number]],
            misses=self.misses[number],
            policy=POLICY,
        )
        assert frame in fetch.frames
        self.misses[number] += 1
        self.requests += 1
        self.bytes += fetch.size_bytes
        self.held[number] |= {one for one in self.packs[number] if fetch.offset <= one.offset < one.end <= fetch.end}


@pytest.mark.parametrize("order", ["as written", "by chance"])
@pytest.mark.parametrize("size_bytes", [700, 4 * KIB + 80, 16 * KIB])
def test_ten_thousand_small_files_written_together_take_at_most_200_gets(size_bytes: int, order: str) -> None:
    per_pack = PACK // size_bytes
    packs = [pack_of(size_bytes, count=min(per_pack, 10_000 - done)) for done in range(0, 10_000, per_pack)]
    reads = [(number, frame) for number, found in enumerate(packs) for frame in found]
    if order == "by chance":
        random.Random(5).shuffle(reads)
    cache = Cached(packs)
    for number, frame in reads:
        cache.read(number, frame)
    assert cache.requests <= 200
    assert cache.bytes <= 1.5 * 10_000 * size_bytes, "hardly anything is fetched twice"


def test_a_single_small_file_costs_its_block_and_a_large_frame_only_itself() -> None:
    found = pack_of(4 * KIB)
    fetch = surroundings(found[1000], found, misses=0, policy=POLICY)
    assert fetch.size_bytes == POLICY.block_bytes_min
    large = Frame(5 * MIB, 300 * KIB)
    assert surroundings(large, [*found, large], misses=9, policy=POLICY) == Fetch(5 * MIB, 300 * KIB, (large,))


@given(frames(count_max=40), st.data(), st.integers(0, 30))
def test_surroundings_have_the_frame_and_stay_within_its_block(
    found: list[Frame], data: st.DataObject, misses: int
) -> None:
    if not found:
        return
    policy = FetchPolicy(gap_bytes=5, range_bytes_max=64, small_bytes=16, block_bytes_min=64, block_bytes_max=256)
    wanted = data.draw(st.sampled_from(found))
    near = data.draw(st.lists(st.sampled_from(found)))
    fetch = surroundings(wanted, near, misses=misses, policy=policy)
    block = block_of(wanted.offset, misses=misses, policy=policy)
    assert wanted in fetch.frames and {*fetch.frames} <= {wanted, *near}
    assert all(block.start <= frame.offset < block.end for frame in fetch.frames)
    assert wanted.size_bytes <= policy.small_bytes or fetch.frames == (wanted,)


@given(frames(count_max=40), st.integers(1, 10**9), st.integers(1, 32))
def test_a_window_is_spread_over_the_connections(found: list[Frame], total: int, connections: int) -> None:
    policy = FetchPolicy(gap_bytes=5, range_bytes_min=30, range_bytes_max=60)
    fetches = plan_fetches(found, total_bytes=total, connections=connections, policy=policy)
    share = max(policy.range_bytes_min, -(-total // min(connections, policy.spread_max)))
    assert all(fetch.size_bytes <= min(policy.range_bytes_max, share) for fetch in fetches)
    assert [frame for fetch in fetches for frame in fetch.frames] == found


CHUNK = 256 * KIB


class ColdFile:
    """A file whose chunks lie one behind the other in packs; each is fetched once."""

    def __init__(self, server: SlowServer) -> None:
        self.server = server
        self.policy = POLICY
        self.asked: set[int] = set()
        self.held: set[int] = set()

    def fetch(self, wanted: Range) -> None:
        numbers = [n for n in range(wanted.start // CHUNK, wanted.end // CHUNK) if n not in self.asked]
        self.asked.update(numbers)
        for first, group in itertools.groupby(numbers, key=lambda n: n * CHUNK // PACK * PACK):
            found = [Frame(n * CHUNK - first, CHUNK) for n in group]
            fetches = plan_fetches(
                found, total_bytes=len(numbers) * CHUNK, connections=self.server.connections, policy=self.policy
            )
            for one in fetches:
                ours = [(first + frame.offset) // CHUNK for frame in one.frames]
                self.get(one.size_bytes, partial(self.held.update, ours))

    def get(self, size_bytes: int, when_done: Callable[[], None]) -> None:
        self.server.get(size_bytes, when_done)

    def read(self, wanted: Range) -> None:
        self.fetch(wanted)
        self.server.until(lambda: self.held.issuperset(range(wanted.start // CHUNK, wanted.end // CHUNK)))


def cold_reading_s(server: SlowServer, file_bytes: int) -> float:
    """Read in order, in requests of 1 MiB, at 1 GB/s once the bytes are here."""
    window_max = window_bytes(connections=server.connections, policy=POLICY, bytes_max=64 * MIB)
    file, reader = ColdFile(server), None
    for start in range(0, file_bytes, MIB):
        reader, ahead = plan_window(reader, start, start + MIB, size=file_bytes, window_max=window_max, policy=POLICY)
        file.fetch(Range(start, start + MIB))
        if ahead is not None:
            file.fetch(ahead)
        file.read(Range(start, start + MIB))
        server.sleep(MIB / 1e9)
    return server.now_s


@pytest.mark.parametrize("connections", [8, 16, 32])
def test_a_cold_sequential_read_reaches_80_percent_of_what_the_server_gives(connections: int) -> None:
    server, size = SlowServer(connections=connections), 256 * MIB
    assert size / cold_reading_s(server, size) >= 0.8 * server.total_rate
    assert server.requests <= 2 * size / POLICY.range_bytes_max + 32, "a few short ones to begin with"


@pytest.mark.parametrize(
    ("gets", "want"),
    [
        pytest.param([], None, id="none yet"),
        pytest.param([Get(0.0, 2.0, 100)], 50.0, id="one"),
        pytest.param([Get(0.0, 2.0, 100), Get(8.0, 10.0, 60)], 40.0, id="a pause is nobody's"),
        pytest.param([Get(1.0, 3.0, 100), Get(0.0, 2.0, 50)], 50.0, id="two at once are faster than one"),
        pytest.param([Get(0.0, 9.0, 90), Get(1.0, 2.0, 90)], 20.0, id="one inside the other"),
        pytest.param([Get(0.0, 1.0, 90), Get(1.0, 9.0, 0)], 10.0, id="one that did not come in time"),
    ],
)
def test_how_fast_the_line_is(gets: list[Get], want: float | None) -> None:
    assert line_bytes_s(gets) == want


@given(
    bytes_s=st.one_of(st.none(), st.floats(0, 1e10)),
    deadline_s=st.floats(0.5, 600),
    connections=st.integers(1, 64),
    misses=st.integers(0, 9),
)
def test_what_is_asked_for_at_once_comes_well_within_the_deadline(
    bytes_s: float | None, deadline_s: float, connections: int, misses: int
) -> None:
    policy = fitted(POLICY, bytes_s=bytes_s, deadline_s=deadline_s)
    window = window_bytes(connections=connections, policy=policy, bytes_max=1 << 40)
    block = block_of(0, misses=misses, policy=policy).end
    assert 0 <= window <= POLICY.window_bytes_max and policy.small_bytes <= block <= POLICY.block_bytes_max
    assert block & (block - 1) == 0
    if bytes_s is None:
        assert window <= POLICY.range_bytes_min
    else:
        assert 4 * window <= bytes_s * deadline_s / 2, "four readers' windows in half of it"
        assert block <= max(bytes_s * deadline_s / 8, POLICY.small_bytes)


@given(sizes=st.lists(st.integers(1, 50)), bytes_max=st.integers(0, 100))
def test_who_wants_more_than_a_window_gets_it_in_turns(sizes: list[int], bytes_max: int) -> None:
    policy = FetchPolicy(window_bytes_max=bytes_max)
    turns = in_turns(sizes, sizes, policy=policy)
    assert [size for turn in turns for size in turn] == sizes
    assert all(len(turn) == 1 or sum(turn) <= bytes_max for turn in turns)
    assert all(sum(turn) + following[0] > bytes_max for turn, following in itertools.pairwise(turns))


class Learning(ColdFile):
    """As a volume does it: sized for the line as the last GETs show it."""

    def __init__(self, server: SlowServer, deadline_s: float) -> None:
        super().__init__(server)
        self.deadline_s = deadline_s
        self.gets: deque[Get] = deque(maxlen=GETS_KNOWN)
        self.longest_s = 0.0

    def get(self, size_bytes: int, when_done: Callable[[], None]) -> None:
        begin_s = self.server.now_s

        def landed() -> None:
            self.gets.append(Get(begin_s, self.server.now_s, size_bytes))
            self.longest_s = max(self.longest_s, self.server.now_s - begin_s)
            when_done()

        super().get(size_bytes, landed)

    def read_all(self, file_bytes: int) -> None:
        reader = None
        for start in range(0, file_bytes, CHUNK):
            self.policy = fitted(POLICY, bytes_s=line_bytes_s(self.gets), deadline_s=self.deadline_s)
            window_max = window_bytes(connections=self.server.connections, policy=self.policy, bytes_max=64 * MIB)
            end = start + CHUNK
            reader, ahead = plan_window(reader, start, end, size=file_bytes, window_max=window_max, policy=self.policy)
            self.fetch(Range(start, end))
            if ahead is not None:
                self.fetch(Range(ahead.start // CHUNK * CHUNK, -(-ahead.end // CHUNK) * CHUNK))
            self.read(Range(start, end))


@pytest.mark.parametrize("rate", [60e3, 100e3, 300e3, 1e6, 5e6, 50e6], ids=lambda rate: f"{rate / 1e3:g} kB/s")
def test_on_a_slow_line_a_file_is_read_without_missing_a_deadline_and_at_its_speed(rate: float) -> None:
    server = SlowServer(connections=16, latency_s=0.05, connection_rate=rate, total_rate=rate)
    file, size = Learning(server, deadline_s=30.0), 16 * MIB
    file.read_all(size)
    assert file.longest_s <= 0.75 * file.deadline_s
    assert size / server.now_s >= 0.7 * rate


@given(rate=st.floats(60e3, 1e9), deadline_s=st.floats(20.0, 120.0), latency_s=st.floats(0.001, 0.3))
@settings(max_examples=40)
def test_on_any_line_that_is_fast_enough_for_a_chunk_nobody_misses_a_deadline(
    rate: float, deadline_s: float, latency_s: float
) -> None:
    server = SlowServer(connections=16, latency_s=latency_s, connection_rate=rate, total_rate=rate)
    file = Learning(server, deadline_s)
    file.read_all(8 * MIB)
    first_s = (CHUNK + POLICY.range_bytes_min) / rate + 2 * latency_s  # before the line is known
    assert file.longest_s <= max(deadline_s, first_s)
