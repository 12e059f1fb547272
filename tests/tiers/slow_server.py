"""How long GETs take at a server with a round trip, a limit per connection and one for all; no bytes, no waiting."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

MB = 1e6


@dataclass
class SlowServer:
    """Requests are taken in order by `connections`; each waits `latency_s`, then shares what the server gives."""

    connections: int
    latency_s: float = 0.030
    connection_rate: float = 50 * MB  # bytes/s
    total_rate: float = 200 * MB
    now_s: float = 0.0
    waiting: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    running: list[list[float]] = field(default_factory=list)  # [begins at, bytes left]
    done: list[Callable[[], None]] = field(default_factory=list)  # of those running
    requests: int = 0

    def get(self, size_bytes: int, when_done: Callable[[], None]) -> None:
        self.waiting.append((size_bytes, when_done))
        self._start()

    def _start(self) -> None:
        while self.waiting and len(self.running) < self.connections:
            size_bytes, when_done = self.waiting.pop(0)
            self.running.append([self.now_s + self.latency_s, float(size_bytes)])
            self.done.append(when_done)
            self.requests += 1

    def until(self, is_enough: Callable[[], bool]) -> None:
        """Let time pass until that is so."""
        while not is_enough():
            assert self.running, "nothing is on its way"
            self._step()

    def sleep(self, pause_s: float) -> None:
        end_s = self.now_s + pause_s
        while self.now_s < end_s and self.running:
            self._step(end_s - self.now_s)
        self.now_s = end_s

    def _step(self, pause_s_max: float = math.inf) -> None:
        """To the next moment at which a reply begins or ends."""
        flowing = [one for one in self.running if one[0] <= self.now_s]
        rate = min(self.connection_rate, self.total_rate / len(flowing)) if flowing else 0.0
        moments = [one[0] - self.now_s for one in self.running if one[0] > self.now_s]
        moments += [one[1] / rate for one in flowing]
        pause_s = min(*moments, pause_s_max)
        self.now_s += pause_s
        for one in flowing:
            one[1] -= rate * pause_s
        ended = [index for index, one in enumerate(self.running) if one[1] < 0.5]
        callbacks = [self.done[index] for index in ended]
        self.running = [one for index, one in enumerate(self.running) if index not in ended]
        self.done = [one for index, one in enumerate(self.done) if index not in ended]
        for callback in callbacks:
            callback()
        self._start()
