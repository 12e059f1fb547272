"""What a mounted volume does when it is asked."""

import random
from pathlib import Path
from typing import Any

import trio

from rustfsfs.volume import collecting, commands, packing, status
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import new_file, new_volume, put
from tests.volume.on_disk import change, format_in, write_file


def test_seal_says_why_when_hot_data_cannot_be_read(tmp_path: Path) -> None:
    said: dict[str, Any] = {}

    async def work(opened: Volume) -> None:
        await write_file(opened, b"good", random.Random(1).randbytes(50_000))
        await write_file(opened, b"bad", random.Random(2).randbytes(50_000))
        segment = next((tmp_path / "v" / "journal").glob(f"{opened.activity.segment:016x}.*"))
        with open(segment, "r+b") as file:
            file.seek(4096 + 50_000 + 30_000)
            file.write(b"spoilt")
        said.update(await commands.seal(opened, {}, collecting.no_progress))

    change(format_in(tmp_path / "v"), work)
    assert said["error"].startswith("/bad: ")
    assert said["sealed_bytes"] == 50_000
    assert said["hot_bytes"] >= 50_000 - 32768


def test_seal_has_no_error_when_all_is_sealed(tmp_path: Path) -> None:
    said: dict[str, Any] = {}

    async def work(opened: Volume) -> None:
        await write_file(opened, b"f", b"x" * 1000)
        said.update(await commands.seal(opened, {}, collecting.no_progress))

    change(format_in(tmp_path / "v"), work)
    assert said == {"sealed_bytes": 1000, "hot_bytes": 0, "error": None}


async def test_status_walks_packs_and_no_gaps_between_their_numbers(tmp_path: Path) -> None:
    """Where metadata was restored numbers go on 2^32 later."""
    async with new_volume(tmp_path) as volume:
        await put(volume, new_file(volume, b"f"))
        await packing.close_full(volume, everything=True)
        volume.numbers.pack += 1 << 40
        await put(volume, new_file(volume, b"g"))
        with trio.fail_after(5):
            shown = await status.status(volume, state="mounted", mount_point=None, pid=1)
        assert sum(disk["stored_bytes"] for disk in shown["disks"]) == volume.metadata.running.stored_bytes
