"""The cache: its bound holds, its values are right, a scan does not flush it."""

from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.cache.twoqueue import ITEM_OVERHEAD, TwoQueueCache

BOUND = 10_000
steps = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("put"), st.integers(0, 20), st.integers(0, 4000)),
        st.tuples(st.just("remove"), st.integers(0, 20), st.just(0)),
    ),
    max_size=60,
)


@given(steps)
def test_the_bound_holds_and_no_value_is_ever_stale(plan: list[tuple[str, int, int]]) -> None:
    cache: TwoQueueCache[int, tuple[int, int]] = TwoQueueCache(BOUND)
    truth: dict[int, tuple[int, int]] = {}
    for number, (kind, key, size) in enumerate(plan):
        if kind == "put":
            truth[key] = (number, size)
            cache.put(key, truth[key], size)
        elif kind == "remove":
            truth.pop(key, None)
            cache.remove(key)
        else:
            assert cache.get(key) in (None, truth.get(key))
        assert 0 <= cache.bytes <= BOUND
        assert cache.bytes == sum(
            truth[key][1] + ITEM_OVERHEAD for queue in (cache._probation, cache._protected) for key in queue
        )


def test_what_was_read_ahead_and_then_asked_for_was_asked_for_once() -> None:
    cache: TwoQueueCache[int, str] = TwoQueueCache(BOUND)
    for key in range(5):
        cache.put(key, "often", 1000)
        assert cache.get(key) == "often"
    for key in range(100, 200):
        cache.put(key, "scanned", 1000, unasked=True)
        assert cache.get(key) == "scanned"
    assert all(cache.get(key) == "often" for key in range(5))
    assert not cache._unasked


def test_what_was_read_ahead_and_is_asked_for_twice_stays() -> None:
    cache: TwoQueueCache[int, str] = TwoQueueCache(BOUND)
    cache.put(1, "often", 1000, unasked=True)
    assert cache.get(1) == cache.get(1) == "often"
    for key in range(100, 200):
        cache.put(key, "scanned", 1000)
    assert cache.get(1) == "often"


def test_a_scan_does_not_flush_what_was_asked_for_twice() -> None:
    cache: TwoQueueCache[int, str] = TwoQueueCache(BOUND)
    for key in range(5):
        cache.put(key, "kept", 800)
        assert cache.get(key) == "kept"
    for key in range(100, 400):
        cache.put(key, "scan", 800)
    assert [cache.get(key) for key in range(5)] == ["kept"] * 5


def test_what_is_too_large_is_not_kept() -> None:
    cache: TwoQueueCache[int, str] = TwoQueueCache(BOUND)
    cache.put(1, "large", BOUND // 2)
    assert cache.get(1) is None and len(cache) == 0
    cache.put(2, "small", 10)
    cache.clear()
    assert (cache.bytes, len(cache), cache.get(2)) == (0, 0, None)


def test_a_lower_limit_holds_at_once_and_a_higher_one_makes_room() -> None:
    cost = 100 + ITEM_OVERHEAD
    cache = TwoQueueCache[int, int](8 * cost)
    for number in range(8):
        assert cache.put(number, number, 100) == []
    cache.get(0)
    assert cache.resize(4 * cost) == [1, 2, 3, 4], "what was asked for twice stays"
    assert cache.bytes == 4 * cost
    assert cache.put(9, 9, 100) == [5]
    assert cache.resize(8 * cost) == [] and cache.put(10, 10, 100) == []
