"""Asking what may never answer: a dead disk, a hung mount, a server that nobody reaches."""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """`stuck` is what did not answer. A thread that waits for it is left behind: it ends with the process."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.stuck: list[str] = []

    def ask(self, about: str, work: Callable[[], T], otherwise: T) -> T:
        """What `work` returns, or raises; `otherwise` if that takes too long."""
        found: list[T] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                found.append(work())
            except BaseException as exc:
                raised.append(exc)

        thread = Thread(target=run, name=about, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if raised:
            raise raised[0]
        if not found:
            self.stuck.append(about)
            return otherwise
        return found[0]
