"""Writes, overwrites, renames and unlinks without any fsync, and keeps what was acknowledged: it is the oracle."""

import errno
import os
import random
import threading
from pathlib import Path

SIZES = [10, 4096, 70_000, 300_000]


class Writer:
    """`pending`: names that the operation under way may have changed or not."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.files: dict[str, bytes] = {}
        self.pending: set[str] = set()
        self.count = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Until the mount is gone, or it is told to stop."""
        try:
            while not self.stop.is_set():
                self.step()
        except OSError:
            return

    def step(self) -> None:
        draw, name = self.random.random(), f"f{self.count}"
        old = self.random.choice(list(self.files)) if self.files else ""
        if draw < 0.5 or len(self.files) < 3:
            self.pending = {name}
            self._write(name, 0, self.random.randbytes(self.random.choice(SIZES)), create=True)
        elif draw < 0.65:
            self.pending = {old}
            size = len(self.files[old])
            self._write(old, self.random.randrange(size + 1), self.random.randbytes(self.random.choice(SIZES)))
        elif draw < 0.7:
            self.pending = {old}
            size = self.random.randrange(len(self.files[old]) + 1)
            os.truncate(self.folder / old, size)
            self.files[old] = self.files[old][:size]
        elif draw < 0.85:
            target = self.random.choice([name, *self.files])
            self.pending = {old, target}
            os.rename(self.folder / old, self.folder / target)
            self.files[target] = self.files.pop(old)
        else:
            self.pending = {old}
            os.unlink(self.folder / old)
            del self.files[old]
        self.pending = set()
        self.count += 1

    def _write(self, name: str, offset: int, data: bytes, *, create: bool = False) -> None:
        with open(self.folder / name, "xb" if create else "r+b", buffering=0) as file:
            file.seek(offset)
            if file.write(data) < len(data):  # the kernel sends it page by page, and the daemon died between
                raise OSError(errno.EIO, "written in part")
        before = self.files.get(name, b"")
        self.files[name] = before[:offset] + data + before[offset + len(data) :]

    def trouble(self) -> str | None:
        """What is not as it was acknowledged, or None."""
        found = set(os.listdir(self.folder)) - self.pending
        wanted = set(self.files) - self.pending
        if found != wanted:
            return f"missing {sorted(wanted - found)[:5]}, too many {sorted(found - wanted)[:5]}"
        for name in found:
            if (self.folder / name).read_bytes() != self.files[name]:
                return f"{name} differs"
        return None
