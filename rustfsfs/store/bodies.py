"""The bytes of objects on their way, piece by piece, and no slower than is any use."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from rustfsfs.errors import CloudUnavailable, DamagedData

PIECE_SIZE = 256 * 1024  # bytes sent at once: a socket's timeout is for a whole sendall, however much that sends
READ_SIZE = 1 << 20  # bytes asked of a socket at once
RATE_MIN = 64 * 1024  # bytes/s; a body that goes slower is given up, so that its thread is not lost for hours


class Pace:
    """Of one body of `size` bytes, from `begin` on; `grace_s` more than RATE_MIN gives it are no matter.

    `passed` is how much of it went over the line, or was given to the line to send.
    """

    def __init__(self, size: int, *, clock_s: Callable[[], float], grace_s: float, name: str) -> None:
        self._size = size
        self._clock_s = clock_s
        self._grace_s = grace_s
        self._name = name
        self._start_s = clock_s()
        self.passed = 0

    def begin(self) -> None:
        self._start_s = self._clock_s()

    def check(self, done: int) -> None:
        """So many bytes have passed. Raises CloudUnavailable: too few, and there are more."""
        self.passed = done
        if done < self._size and self._clock_s() - self._start_s > self._grace_s + done / RATE_MIN:
            raise CloudUnavailable(f"{self._name} passes fewer than {RATE_MIN // 1024} KiB/s; it is tried again later")


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent, from its beginning each time it is asked for."""

    view: memoryview
    pace: Pace

    def __len__(self) -> int:
        return len(self.view)

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, len(self.view), PIECE_SIZE):
            self.pace.check(start)
            piece = self.view[start : start + PIECE_SIZE]
            self.pace.passed = start + len(piece)
            yield piece


class Readable(Protocol):
    """urllib3's HTTPResponse, as far as it is needed."""

    def read(self, amt: int, *, decode_content: bool) -> bytes:
        """Fewer bytes only at the end that was announced; an earlier end raises."""
        ...


def read_exactly(raw: Readable, size: int, pace: Pace) -> bytes:
    """`size` bytes. Raises DamagedData: it ends before, as its headers said. CloudUnavailable: too slowly."""
    pieces: list[bytes] = []
    done = 0
    while done < size and (piece := raw.read(min(READ_SIZE, size - done), decode_content=False)):
        pieces.append(piece)
        done += len(piece)
        pace.check(done)
    if done != size:
        raise DamagedData(f"an answer of {size} bytes ended after {done}")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
