"""A volume in a real directory, for tests that need neither a mount nor another process."""

import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from rustfsfs.config import Config
from rustfsfs.content.slots import SlotKind
from rustfsfs.units import ROOT, WRITE_SIZE_MAX
from rustfsfs.volume import names, writing
from rustfsfs.volume.formatting import format_volume
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


@dataclass(frozen=True)
class Key:
    kind: SlotKind = SlotKind.KEY_FILE
    value: bytes = bytes(range(32))


def format_in(path: Path, *disks: Path, copies: int = 1) -> Path:
    """A new volume at `path`; returns it."""
    format_volume(
        real_world(),
        str(path),
        disks=[str(disk) for disk in disks],
        secret=Key(),
        recovery_key=b"r" * 32,
        chunk_avg_bytes=65536,
        compression_level=1,
        copies=copies,
        config_text="",
    )
    return path


def change(path: Path, work: Callable[[Volume], Awaitable[object]]) -> None:
    """Open the volume for writing, do some work, and close it in good order."""

    async def main() -> None:
        how = Opening(path=str(path), secret=Key(), config=Config())
        async with opened_volume(real_world(), how) as volume:
            await work(volume)

    trio.run(main)
    (path / "ballast").unlink(missing_ok=True)  # 1 % of the disk that runs the tests


async def write_file(volume: Volume, name: bytes, data: bytes, *, parent: int = ROOT, offset: int = 0) -> int:
    """A new file with `data` at `offset`; its inode."""
    inode = names.create(volume, parent, name, mode=FILE, uid=0, gid=0).inode
    for skip in range(0, len(data), WRITE_SIZE_MAX):
        await writing.write(volume, inode, offset + skip, data[skip : skip + WRITE_SIZE_MAX])
    return inode
