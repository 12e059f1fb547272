"""The mount and its server restart under clients that keep files open; half of the daemons die of SIGKILL.

While both are down, and until both are up again, a client may hear of errors and asks again. Otherwise every error is
one, ESTALE first of all. A client keeps what was acknowledged to it; after each restart all of that has to be there,
through the handles it had before: more than NFS promises, which is what was committed, but a kill takes nothing.
"""

import random
import subprocess
import threading
import time
from collections.abc import Callable

from tests.long.nfs.libnfs import File
from tests.long.nfs.place import Place

CLIENTS, FILES, FILE_BYTES = 3, 4, 300_000
ANSWER_S_MAX = 120.0


class Service:
    """Whether the export serves, for the clients: an error counts if it served from the call to the answer."""

    def __init__(self) -> None:
        self.is_up = threading.Event()
        self.restarts = 0
        self.is_up.set()

    def ask(self, act: Callable[[], object], *, done_if: Callable[[OSError], bool] = lambda exc: False) -> None:
        """Until it is done. `done_if`: the second attempt says that the first, which nobody answered, had done it."""
        tries = 0
        while True:
            self.is_up.wait()
            before = self.restarts
            try:
                act()
                return
            except OSError as exc:
                tries += 1
                if tries > 1 and done_if(exc):
                    return
                was_up = self.is_up.is_set() and self.restarts == before
                assert not was_up, f"an error while everything was up, after {before} restarts: {exc}"


class Worker(threading.Thread):
    """One client, its open files, and what they should hold. Names come and go beside them."""

    def __init__(self, place: Place, service: Service, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._client, self._service = place.client(), service
        self._draw = random.Random(seed)
        self._folder = f"/w{number}"
        self._client.mkdir(self._folder)
        self._files: list[File] = []
        self._wanted: list[bytearray] = []
        for index in range(FILES):
            self._files.append(self._client.open(f"{self._folder}/open{index}"))
            self._wanted.append(bytearray())
        self._names: list[str] = []
        self._made = 0
        self.counts = {"writes": 0, "commits": 0, "names": 0, "checks": 0}
        self.trouble: str | None = None
        self.pause, self.paused, self.ended = threading.Event(), threading.Event(), False

    def run(self) -> None:
        try:
            while not self.ended:
                if self.pause.is_set():
                    self.paused.set()
                    time.sleep(0.002)
                    continue
                self.paused.clear()
                self._step()
        except BaseException as exc:
            self.trouble = f"{self._folder}: {exc!r}"
            self.paused.set()

    def _step(self) -> None:
        draw = self._draw.random()
        index = self._draw.randrange(FILES)
        if draw < 0.55:
            self._write(index)
        elif draw < 0.7:
            self._service.ask(self._files[index].commit)
            self.counts["commits"] += 1
        elif draw < 0.85 or len(self._names) < 3:
            self._make()
        else:
            self._change_name()

    def _write(self, index: int) -> None:
        offset = self._draw.randrange(FILE_BYTES)
        data = self._draw.randbytes(self._draw.choice([10, 4096, 50_000]))
        self._service.ask(lambda: self._files[index].write(offset, data))
        held = self._wanted[index]
        if len(held) < offset + len(data):
            held.extend(bytes(offset + len(data) - len(held)))
        held[offset : offset + len(data)] = data
        self.counts["writes"] += 1

    def _make(self) -> None:
        name = f"n{self._made}"
        self._made += 1
        self._service.ask(lambda: self._client.open(f"{self._folder}/{name}").close())
        self._names.append(name)
        self.counts["names"] += 1

    def _change_name(self) -> None:
        name = self._names.pop(self._draw.randrange(len(self._names)))
        path = f"{self._folder}/{name}"

        def is_gone(exc: OSError) -> bool:
            return isinstance(exc, FileNotFoundError)

        if self._draw.random() < 0.5:
            self._service.ask(lambda: self._client.unlink(path), done_if=is_gone)
        else:
            self._service.ask(lambda: self._client.rename(path, f"{path}r"), done_if=is_gone)
            self._names.append(f"{name}r")
        self.counts["names"] += 1

    def check(self) -> None:
        """While it pauses, and everything is up: all that was acknowledged, through the handles it has."""
        for index, (file, held) in enumerate(zip(self._files, self._wanted, strict=True)):
            assert file.size() == len(held), f"{self._folder}/open{index}: {file.size()} bytes, not {len(held)}"
            found = file.read(0, len(held) + 1)
            assert found == held, f"{self._folder}/open{index} differs from byte {first_difference(found, held)} on"
        wanted = {f"open{index}" for index in range(FILES)} | set(self._names)
        found_names = set(self._client.names(self._folder))
        assert found_names == wanted, f"{self._folder}: {sorted(found_names ^ wanted)[:5]}"
        self.counts["checks"] += FILES

    def end(self) -> None:
        self.ended = True
        self.pause.clear()
        self.join(ANSWER_S_MAX)
        for file in self._files:
            file.close()
        self._client.close()


def first_difference(one: bytes, other: bytes | bytearray) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def cover(place: Place, seed: int, count: int) -> dict[str, int]:
    """So many restarts, every other one a SIGKILL; what was covered."""
    draw, service = random.Random(seed), Service()
    workers = [Worker(place, service, number, seed * 100 + number) for number in range(CLIENTS)]
    for worker in workers:
        worker.start()
    covered = {"restarts": 0, "kills": 0}
    for number in range(count):
        time.sleep(0.3 + draw.random())
        restart(place, service, kill=number % 2 == 1, other=number % 3 == 2)
        covered["restarts"] += 1
        covered["kills"] += number % 2
        pause(workers)
        for worker in workers:
            try:
                worker.check()
            except OSError as exc:
                raise AssertionError(f"after {number + 1} restarts, everything up: {exc}") from exc
        for worker in workers:
            worker.pause.clear()
    for worker in workers:
        worker.end()
        assert worker.trouble is None, worker.trouble
        for name, amount in worker.counts.items():
            covered[name] = covered.get(name, 0) + amount
    return covered


def pause(workers: list[Worker]) -> None:
    for worker in workers:
        worker.paused.clear()
        worker.pause.set()
    for worker in workers:
        assert worker.paused.wait(ANSWER_S_MAX), "a client got no answer, although everything is up"
        assert worker.trouble is None, worker.trouble


def restart(place: Place, service: Service, *, kill: bool, other: bool) -> None:
    """In the order that the units have: the server goes first and comes last; a killed daemon goes before it."""
    service.is_up.clear()
    if kill:
        place.mounted.kill()
        place.stop_serving()
    else:
        place.stop_serving()
        place.mounted.umount()
    if other:
        mount_another(place)
    place.mount()
    place.serve()
    service.restarts += 1
    service.is_up.set()


def mount_another(place: Place) -> None:
    """Somebody else mounts something meanwhile: the lowest device number is another's now."""
    folder = place.scratch / f"other{time.monotonic_ns()}"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "other", str(folder)], check=True)
