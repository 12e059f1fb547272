"""The network between client and server: latency of a request, bytes per second of a connection and of all together."""

import threading
import time
from dataclasses import dataclass
from math import inf

BURST_S = 0.02  # credit kept after a pause: sleeps end late, and the average shall still be the rate
PIECE_SIZE = 256 * 1024  # bytes
PIECE_SIZE_MIN = 4096  # bytes; of a slow link, so that no wait is long


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The rates hold for each direction by itself."""

    latency_s: float = 0.0
    connection_bytes_s: float = inf
    total_bytes_s: float = inf


class Meter:
    """A link of some rate. For any thread."""

    def __init__(self) -> None:
        self._free_s = 0.0  # when all that was let through has passed
        self._lock = threading.Lock()

    def wait_s(self, size_bytes: int, bytes_s: float) -> float:
        """How long until so many more bytes have passed."""
        if bytes_s == inf:
            return 0.0
        with self._lock:
            now_s = time.monotonic()
            self._free_s = max(self._free_s, now_s - BURST_S) + size_bytes / bytes_s
            return self._free_s - now_s


class Link:
    """One direction of one connection, in what all share."""

    def __init__(self, total: Meter, closing: threading.Event) -> None:
        self._total = total
        self._own = Meter()
        self._closing = closing
        self.network = Network()
        self.exchange_bytes_s = inf  # of a fault, for one exchange

    @property
    def piece_size(self) -> int:
        """At most so many bytes at once."""
        slowest = min(self.network.connection_bytes_s, self.network.total_bytes_s, self.exchange_bytes_s)
        return PIECE_SIZE if slowest == inf else int(min(PIECE_SIZE, max(PIECE_SIZE_MIN, slowest * BURST_S)))

    def wait(self, size_bytes: int) -> None:
        rate = min(self.network.connection_bytes_s, self.exchange_bytes_s)
        wait_s = max(
            self._own.wait_s(size_bytes, rate),
            self._total.wait_s(size_bytes, self.network.total_bytes_s),
        )
        if wait_s > 0:
            self._closing.wait(wait_s)
