"""Memory for large records, used again and again.

A page of memory that nobody had before costs more than to seal what goes into it: 1 MiB of records in fresh memory took
670 us, in used memory 166 (measured 2026-11; DESIGN.md §14).
"""

from rustfsfs.units import KIB, MIB

SIZE = MIB + 64 * KIB  # holds any record of a whole write: its data, their overhead, its op
SIZE_MIN = SIZE // 2  # a smaller one would hold more than twice the memory that it needs, until it is durable
KEPT_MAX = 24  # more than are unsynced while a stream flows (DESIGN.md §3, Barriers)


class Buffers:
    """Keeps at most KEPT_MAX * SIZE bytes. One thread uses it."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """`size` bytes of any content."""
        if not SIZE_MIN <= size <= SIZE:
            return memoryview(bytearray(size))
        return memoryview(self._free.pop() if self._free else bytearray(SIZE))[:size]

    def give(self, taken: memoryview) -> None:
        """Nobody looks at what `take` gave any more."""
        buffer = taken.obj
        assert isinstance(buffer, bytearray)
        if len(buffer) == SIZE and len(self._free) < KEPT_MAX:
            self._free.append(buffer)
