"""A mounted volume with files that lie in the bucket only, each in a pack of its own, and that nobody has read yet."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.long.cold.place import ColdVolume, cold_volume, wait_until
from tests.oss_server import OssServer

SIZE = 200_000  # bytes of a file
CONFIG = """
[seal]
quiet = "1s"
[protect]
within = "1s"
[cache]
disk = "64MiB"
[cold]
read_deadline = "3s"
"""  # more of [cold] may follow


class Scene:
    def __init__(self, volume: ColdVolume, oss: OssServer) -> None:
        self.volume, self.oss = volume, oss
        self._unread: list[int] = []
        self._next = 0

    def write(self) -> int:
        """A file; its number."""
        number, self._next = self._next, self._next + 1
        self.path(number).write_bytes(data_of(number))
        return number

    def write_cold(self, count: int) -> None:
        """Files for `unread`."""
        for _ in range(count):
            self._unread.append(self.write())
            self.volume.demote()
        self.volume.forget()

    def unread(self) -> int:
        """A cold file of which nothing is in any cache."""
        return self._unread.pop()

    def path(self, number: int) -> Path:
        return self.volume.point / f"f{number}"

    def read(self, number: int) -> None:
        assert self.path(number).read_bytes() == data_of(number), f"f{number} reads wrong"

    def lives(self) -> None:
        """What is local works, whatever the bucket does."""
        path = self.volume.point / "local"
        path.write_bytes(b"local")
        assert path.read_bytes() == b"local"
        path.unlink()

    def log_since(self, length: int) -> list[str]:
        return self.volume.log[length:].splitlines()

    def attach(self, *more: str | Path) -> None:
        """Anew: requests that were refused are not waited for any longer."""
        self.volume.run("bucket", "attach", self.volume.point, *self.volume.place, *more)

    def wait_for_uploads(self) -> None:
        wait_until(
            lambda: self.volume.tier()["unsent_bytes"] == 0, within_s=30.0, otherwise="not everything is uploaded"
        )


def data_of(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


@contextmanager
def scene(base: Path, oss: OssServer, *, config: str = "", cold: int = 0) -> Iterator[Scene]:
    with cold_volume(base, oss, config=CONFIG + config) as volume:
        made = Scene(volume, oss)
        made.write_cold(cold)
        yield made
