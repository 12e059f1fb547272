"""A cache with a byte limit that holds, and that a scan does not flush (segmented LRU, Karedla et al. 1994)."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ITEM_OVERHEAD = 200  # bytes: dictionary entry, key, object headers; a safe estimate
PROTECTED_SHARE = 0.75  # what was asked for twice may fill this much
ITEM_SHARE_MAX = 0.25  # a larger item would flush too much for itself


class TwoQueueCache(Generic[K, V]):
    """Items enter on probation; asked for again, they are protected. Both queues give up their oldest first.

    Keeps: bytes <= bytes_max, overhead counted. One thread uses it.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._probation: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._protected: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._protected_bytes = 0
        self._unasked: set[K] = set()  # on probation
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: K) -> V | None:
        item = self._protected.get(key)
        if item is not None:
            self._protected.move_to_end(key)
            self.hits += 1
            return item[0]
        item = self._probation.pop(key, None)
        if item is None:
            self.misses += 1
            return None
        self.hits += 1
        if key in self._unasked:
            self._unasked.remove(key)
            self._probation[key] = item
            return item[0]
        self._protected[key] = item
        self._protected_bytes += item[1]
        while self._protected_bytes > PROTECTED_SHARE * self._bytes_max and len(self._protected) > 1:
            old_key, old = self._protected.popitem(last=False)
            self._protected_bytes -= old[1]
            self._probation[old_key] = old
        return item[0]

    def takes(self, size_bytes: int) -> bool:
        """Is an item of that size small enough to be worth keeping?"""
        return size_bytes + ITEM_OVERHEAD <= ITEM_SHARE_MAX * self._bytes_max

    def put(self, key: K, value: V, size_bytes: int, *, unasked: bool = False) -> list[V]:
        """Keep `value` if it `takes` it; replaces what was there. Returns what had to go for it.

        unasked   read ahead: then the first to ask for it is the first, and not the second
        """
        self.remove(key)
        if not self.takes(size_bytes):
            return []
        cost = size_bytes + ITEM_OVERHEAD
        self._probation[key] = (value, cost)
        if unasked:
            self._unasked.add(key)
        self.bytes += cost
        return self._shrunk()

    def resize(self, bytes_max: int) -> list[V]:
        """Another limit; returns what had to go for it."""
        self._bytes_max = bytes_max
        return self._shrunk()

    def _shrunk(self) -> list[V]:
        evicted: list[V] = []
        while self.bytes > self._bytes_max:
            evicted.append(self._evict())
        return evicted

    def _evict(self) -> V:
        if self._probation:
            key, item = self._probation.popitem(last=False)
            self._unasked.discard(key)
        else:
            _key, item = self._protected.popitem(last=False)
            self._protected_bytes -= item[1]
        self.bytes -= item[1]
        return item[0]

    def remove(self, key: K) -> None:
        self._unasked.discard(key)
        item = self._probation.pop(key, None)
        if item is None:
            item = self._protected.pop(key, None)
            if item is None:
                return
            self._protected_bytes -= item[1]
        self.bytes -= item[1]

    def clear(self) -> None:
        self._probation.clear()
        self._protected.clear()
        self._unasked.clear()
        self.bytes = self._protected_bytes = 0

    def __contains__(self, key: K) -> bool:
        """Looking does not count as asking."""
        return key in self._protected or key in self._probation

    def __len__(self) -> int:
        return len(self._probation) + len(self._protected)
