"""A volume whose journal and packs lie in memory, for tests of verbs without a mount."""

import random
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rustfsfs.config import Config
from rustfsfs.units import ROOT
from rustfsfs.volume import collecting, commands, formatting, names, writing
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from rustfsfs.world import World
from tests.crash.disk import CrashFiles, PowerLoss
from tests.crash.story import FILE, Key, world_on

NOISE = random.Random(1)


class Holding(CrashFiles):
    """Whoever creates or syncs a file whose path holds `word` waits until `go`; `reached` says that somebody does."""

    def __init__(self) -> None:
        super().__init__()
        self.word = ""
        self.reached = threading.Event()
        self.go = threading.Event()
        self._paths: dict[int, str] = {}

    def _hold(self, path: str) -> None:
        if self.word and self.word in path:
            self.reached.set()
            assert self.go.wait(20)

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        self._hold(path)
        fd = super().create(path, allocate_bytes=allocate_bytes)
        self._paths[fd] = path
        return fd

    def sync(self, fd: int) -> None:
        self._hold(self._paths.get(fd, ""))
        super().sync(fd)


@dataclass
class InMemory:
    """A formatted volume: `opened` as often as wished."""

    folder: Path
    files: CrashFiles = field(default_factory=CrashFiles)
    disk_count: int = 0  # besides VOLUME, which is a disk only when there is no other
    copies: int = 1
    lives: int = 1

    def __post_init__(self) -> None:
        self.path = self.folder / "v"
        self.path.mkdir()
        formatting.format_volume(
            world_on(self.files, 1),
            str(self.path),
            disks=[str(disk) for disk in self.disks],
            secret=Key(),
            recovery_key=b"r" * 32,
            chunk_avg_bytes=65536,
            compression_level=1,
            copies=self.copies,
            config_text="",
        )

    @property
    def disks(self) -> list[Path]:
        found = [self.folder / f"d{number}" for number in range(1, self.disk_count + 1)]
        for disk in found:
            disk.mkdir(exist_ok=True)
        return found

    def opened(self, **how: Any) -> AbstractAsyncContextManager[Volume]:
        self.lives += 1
        how.setdefault("config", Config())
        opening = Opening(path=str(self.path), secret=Key(), **how)
        return opened_volume(self.world(), opening)

    def world(self) -> World:
        """Of the life that begins."""
        return world_on(self.files, self.lives)

    @asynccontextmanager
    async def killed(self, **how: Any) -> AsyncIterator[Volume]:
        """As `opened`, and at the end the process is killed: nothing more happens, and nothing is lost."""
        try:
            async with self.opened(**how) as volume:
                yield volume
                volume.health.read_only_reason = "the process was killed"
                self.files.die_at = self.files.actions
        except* PowerLoss:
            pass
        self.files.die_at = None


@asynccontextmanager
async def new_volume(tmp_path: Path, files: CrashFiles | None = None) -> AsyncIterator[Volume]:
    """A new one, open, with chunks of 64 KiB. Its database lies in `tmp_path`."""
    async with InMemory(tmp_path, files or CrashFiles()).opened() as volume:
        yield volume


def new_file(volume: Volume, name: bytes) -> int:
    return names.create(volume, ROOT, name, mode=FILE, uid=0, gid=0).inode


async def put(volume: Volume, inode: int, size: int = 200_000) -> bytes:
    """New noise, sealed."""
    data = NOISE.randbytes(size)
    await writing.write(volume, inode, 0, data)
    await seal(volume)
    return data


async def seal(volume: Volume) -> None:
    await volume.gate.opened()
    await commands.seal(volume, {}, collecting.no_progress)
