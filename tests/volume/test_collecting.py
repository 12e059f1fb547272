"""What a retained snapshot names stays (I5), and goes when the snapshot does."""

import random
import stat
from pathlib import Path

from rustfsfs.meta import disks
from rustfsfs.units import ROOT
from rustfsfs.volume import collecting, commands, names, reading, snapshots, writing
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import new_volume

DRAW = random.Random(1)
FILE = stat.S_IFREG | 0o644


async def put(volume: Volume, inode: int) -> bytes:
    """New noise, sealed."""
    data = DRAW.randbytes(200_000)
    await writing.write(volume, inode, 0, data)
    await commands.seal(volume, {}, collecting.no_progress)
    return data


def packs(volume: Volume) -> set[int]:
    return {int(pack) for disk in volume.disks.values() for pack in disk.packs()}


async def test_packs_outlive_their_rows_as_long_as_a_snapshot_names_them(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = names.create(volume, ROOT, b"f", mode=FILE, uid=0, gid=0).inode
        await put(volume, inode)
        await snapshots.take(volume)
        named = packs(volume)
        data = await put(volume, inode)
        for _ in range(3):
            await collecting.collect(volume, live_share=0.9)
            assert named <= packs(volume)
        assert volume.metadata.running.dead_bytes == 0, "the rows are gone; only the files wait"
        await snapshots.take(volume)
        await collecting.collect(volume, live_share=0.9)
        assert named <= packs(volume), "the older of the two snapshots still names them"
        await snapshots.take(volume)
        await collecting.collect(volume, live_share=0.9)
        assert not named & packs(volume)
        assert len(disks.snapshots(volume.metadata)) == snapshots.KEPT
        assert bytes(await reading.read(volume, inode, 0, 1 << 20)) == data
