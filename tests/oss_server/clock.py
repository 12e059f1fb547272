"""Time as the server sees it, owned by the test: real time, and whole hours or days ahead when a test says so."""

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Two readings in seconds since 1970. For any thread.

    now_s()    for objects: Last-Modified, restores, lifecycle. `advance` moves it.
    wall_s()   for signatures and tokens, whose other side is a client with a real clock. `skew_s` is added to it.
    """

    skew_s: float = 0.0
    _ahead_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now_s(self) -> float:
        return time.time() + self._ahead_s

    def wall_s(self) -> float:
        return time.time() + self.skew_s

    def advance(self, seconds: float = 0.0, *, hours: float = 0.0, days: float = 0.0) -> None:
        """Let time pass for the objects. Never backwards."""
        ahead_s = seconds + hours * 3600 + days * 86400
        assert ahead_s >= 0, ahead_s
        with self._lock:
            self._ahead_s += ahead_s
