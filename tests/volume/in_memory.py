"""A volume whose journal and packs lie in memory, for tests of verbs without a mount."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rustfsfs.config import Config
from rustfsfs.volume import formatting
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from tests.crash.disk import CrashFiles
from tests.crash.test_volume_crash import Key, world_on


@asynccontextmanager
async def new_volume(tmp_path: Path) -> AsyncIterator[Volume]:
    """A new one, open, with chunks of 64 KiB. Its database lies in `tmp_path`."""
    files, path = CrashFiles(), tmp_path / "v"
    path.mkdir()
    formatting.format_volume(
        world_on(files, 1),
        str(path),
        disks=[],
        secret=Key(),
        recovery_key=b"r" * 32,
        chunk_avg_bytes=65536,
        compression_level=1,
        copies=1,
        config_text="",
    )
    how = Opening(path=str(path), secret=Key(), config=Config())
    async with opened_volume(world_on(files, 2), how) as volume:
        yield volume
