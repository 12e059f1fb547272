"""Bodies piece by piece: the right ones, as often as asked for, and given up when they crawl."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.errors import CloudUnavailable, DamagedData
from rustfsfs.store.bodies import PIECE_SIZE, RATE_MIN, READ_SIZE, Body, Pace, read_exactly
from tests.store.faultbuckets import FakeTime


class Raw:
    """A stream that gives what it has, `step` bytes at the most, `seconds` a read."""

    def __init__(self, data: bytes, time: FakeTime, *, step: int = READ_SIZE, seconds: float = 0.0) -> None:
        self._file = io.BytesIO(data)
        self._time, self._step, self._seconds = time, step, seconds

    def read(self, amt: int, *, decode_content: bool) -> bytes:
        assert not decode_content and 0 < amt <= READ_SIZE
        self._time.now_s += self._seconds
        return self._file.read(min(amt, self._step))


def pace_of(size: int, time: FakeTime, grace_s: float = 10.0) -> Pace:
    return Pace(size, clock_s=time.timing.clock_s, grace_s=grace_s, name="oss://b/v")


@given(size=st.integers(1, 5000), step=st.integers(1, 5000), surplus=st.integers(0, 100))
def test_exactly_so_many_however_they_come(size: int, step: int, surplus: int) -> None:
    time, data = FakeTime(), bytes(n % 251 for n in range(size))
    raw = Raw(data + b"x" * surplus, time, step=step)
    assert read_exactly(raw, size, pace_of(size, time)) == data


@pytest.mark.parametrize("there", [0, 1, 9])
def test_an_end_before_that_is_damage(there: int) -> None:
    time = FakeTime()
    with pytest.raises(DamagedData, match=f"10 bytes ended after {there}"):
        read_exactly(Raw(bytes(there), time), 10, pace_of(10, time))


@pytest.mark.parametrize(
    ("done", "now_s", "is_given_up"),
    [
        pytest.param(0, 10.0, False, id="within the grace"),
        pytest.param(0, 10.1, True, id="nothing after it"),
        pytest.param(100 * RATE_MIN, 110.0, False, id="as slow as may be"),
        pytest.param(100 * RATE_MIN, 110.1, True, id="slower"),
        pytest.param(1000 * RATE_MIN, 9999.0, False, id="it is all there"),
    ],
)
def test_what_crawls_is_given_up(done: int, now_s: float, is_given_up: bool) -> None:
    time = FakeTime()
    pace = pace_of(1000 * RATE_MIN, time)
    time.now_s = now_s
    if is_given_up:
        with pytest.raises(CloudUnavailable, match="oss://b/v passes fewer than 64 KiB/s"):
            pace.check(done)
    else:
        pace.check(done)


def test_a_body_is_whole_each_time() -> None:
    time, data = FakeTime(), bytes(range(256)) * 3000
    body = Body(memoryview(data), pace_of(len(data), time))
    assert len(body) == len(data)
    for _ in range(2):
        pieces = list(body)
        assert b"".join(pieces) == data and max(map(len, pieces)) == PIECE_SIZE
