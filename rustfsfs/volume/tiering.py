"""What the mover goes by: all packs and disks as they are now, and when packs were read.

Its steps are `uploading`, `demoting`, `proving` (another class), `recalling`, `deleting`; their order is `rounds`'.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.meta import objects
from rustfsfs.tiers import twice
from rustfsfs.tiers.packs import BucketObject, Busy, Disk, Pack, PackKey, since_s
from rustfsfs.volume import elsewhere, paths, watermarks
from rustfsfs.volume.diskspace import spaces
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume

ROWS_AT_ONCE = 200  # about 1 ms
READS_PER_OP = 1000


class Facts(NamedTuple):
    """What the policies decide by."""

    packs: list[Pack]
    disks: list[Disk]
    now_s: float
    unknown: set[PackKey]  # packs that wait: whether the bucket has their chunks in others is not known yet


def wall_s(volume: Volume) -> float:
    return volume.world.now_ns() / 1e9


async def gather(volume: Volume) -> Facts:
    """All packs and disks as they are now; requests go on meanwhile. A pack seen the first time counts as read now."""
    now_s, found = wall_s(volume), list[Pack]()
    pinned = await packs_of_trees(volume, await _pinned(volume))
    after = (-1, -1)
    while True:
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        rows = objects.rows_behind(volume.metadata, after, ROWS_AT_ONCE)
        if not rows:
            break
        found += [_pack(volume, row, now_s, (row.pack, row.disk) in pinned) for row in rows]
        after = rows[-1].disk, rows[-1].pack
    unknown = set[PackKey]()
    if volume.header.copies > 1:
        found, unknown = await elsewhere.with_others(volume, found)
        lost = set(volume.health.left_alone.packs(Why.LOST, now_s=trio.current_time()))
        found = await trio.to_thread.run_sync(partial(twice.covered, found, lost=lost))
        await volume.gate.opened()
    return Facts(found, _disks(volume), now_s, unknown)


async def _pinned(volume: Volume) -> list[int]:
    await volume.gate.opened()
    return objects.pinned(volume.metadata)


def _pack(volume: Volume, row: objects.PackRow, now_s: float, is_pinned: bool) -> Pack:
    key = row.pack, row.disk
    read_s = _read_s(volume, key, row.read_s, now_s)
    there = None
    if row.object_bytes is not None and row.placement is not None and row.put_s is not None:
        there = BucketObject(row.put_s, Placement(row.placement), row.object_bytes)
    return Pack(
        pack=row.pack,
        disk=row.disk,
        size_bytes=row.size_bytes,
        live_bytes=row.live_bytes,
        closed=row.is_closed,
        is_local=not row.is_cold and row.disk in volume.disks,
        object=there,
        has_holes=False,
        sealed_s=_first_seen_s(volume, key, read_s if row.is_closed else now_s, now_s, is_sent=there is not None),
        last_read_s=read_s,
        is_away=not row.is_cold and row.disk not in volume.disks,
        is_pinned=is_pinned,
        busy=_busy(volume, key, now_s),
    )


def _read_s(volume: Volume, key: PackKey, recorded_s: int | None, now_s: float) -> float:
    noted_s = volume.tier.reads_s.get(key, recorded_s)
    read_s = since_s(noted_s, now_s=now_s)
    if read_s != noted_s:
        volume.tier.reads_s[key] = int(read_s)
    return read_s


def _busy(volume: Volume, key: PackKey, now_s: float) -> Busy | None:
    found = volume.tier.busy.get(key)
    if found is not None and found.at_s > now_s:
        found = volume.tier.busy[key] = found._replace(at_s=since_s(found.at_s, now_s=now_s))
    return found


def _first_seen_s(volume: Volume, key: PackKey, seen_s: float, now_s: float, *, is_sent: bool) -> float:
    """Since when a pack waits for its upload: reading it changes nothing of that."""
    seen_s = since_s(volume.tier.first_seen_s.pop(key, seen_s), now_s=now_s)
    if not is_sent:
        volume.tier.first_seen_s[key] = seen_s
    return seen_s


def _disks(volume: Volume) -> list[Disk]:
    """What is still to be sealed will lie on them, what comes back, and what nobody looks after."""
    found = []
    hot_bytes = volume.metadata.running.hot_bytes * volume.header.copies
    for number, space in spaces(volume).items():
        growing_bytes = sum(size for key, size in volume.tier.recalling.items() if key[1] == number)
        growing_bytes += hot_bytes // len(volume.disks) + watermarks.margin_bytes(space)
        found.append(Disk(number, space.usable_bytes, space.used_bytes, growing_bytes))
    return found


async def packs_of_trees(volume: Volume, inodes: Sequence[int]) -> set[PackKey]:
    """The packs that files need, of those inodes and all below them, as of the last COMMIT."""
    if not inodes:
        return set()
    return set(await trio.to_thread.run_sync(_packs_of_trees, volume, inodes))


def _packs_of_trees(volume: Volume, inodes: Sequence[int]) -> list[PackKey]:
    """Blocking."""
    sql = (
        "WITH RECURSIVE t(inode) AS (SELECT value FROM json_each(?) UNION"
        " SELECT e.inode FROM entries e JOIN t ON e.parent = t.inode)"
        " SELECT DISTINCT p.pack, p.disk FROM t JOIN inodes i USING (inode) JOIN extents e ON e.fork = i.fork"
        " JOIN places p ON p.chunk = e.base WHERE e.segment = 0 AND i.fork > 0"
    )
    with paths.reading_apart(volume) as metadata:
        return [(pack, disk) for pack, disk in metadata.rows(sql, (str(list(inodes)),))]


async def record_reads(volume: Volume) -> None:
    """What was noted in RAM of when packs were read."""
    tier = volume.tier
    while tier.reads_s:
        await volume.gate.opened()
        keys = list(tier.reads_s)[:READS_PER_OP]
        record(volume, ops.PacksRead(reads=[(pack, disk, tier.reads_s[pack, disk]) for pack, disk in keys]))
        for key in keys:
            del tier.reads_s[key]
        await trio.lowlevel.checkpoint()
