"""Rows of `disks` and `snapshots`."""

from typing import NamedTuple

import msgspec

from rustfsfs.meta.database import Metadata

OWN = "."  # the path of a disk that is VOLUME itself, wherever that was moved or copied to


class DiskRow(NamedTuple):
    disk: int
    uuid: bytes
    path: str  # absolute, or OWN
    epoch: int  # the newest its header is known to say
    draining: int

    def directory(self, volume: str) -> str:
        """Where the disk of the volume at this path lies."""
        return volume if self.path == OWN else self.path


class Snapshot(NamedTuple):
    epoch: int
    seq: int
    segments: list[int]


def all_(metadata: Metadata) -> list[DiskRow]:
    rows = metadata.rows("SELECT disk, uuid, path, epoch, draining FROM disks ORDER BY disk")
    return [DiskRow(disk, bytes(uuid), path, epoch, draining) for disk, uuid, path, epoch, draining in rows]


def add(metadata: Metadata, disk: int, uuid: bytes, path: str) -> None:
    metadata.run("INSERT INTO disks VALUES (?, ?, ?, 0, 0)", (disk, uuid, path))


def remove(metadata: Metadata, disk: int) -> None:
    metadata.run("DELETE FROM disks WHERE disk = ?", (disk,))


def change(metadata: Metadata, disk: int, *, epoch: int, draining: bool, path: str) -> None:
    metadata.run(
        "UPDATE disks SET epoch = max(epoch, ?), draining = ?, path = ? WHERE disk = ?",
        (epoch, int(draining), path, disk),
    )


def set_back(metadata: Metadata, disk: int, *, epoch: int) -> None:
    """To what the disk's header says, where that is older than its row."""
    metadata.run("UPDATE disks SET epoch = ? WHERE disk = ?", (epoch, disk))


def snapshots(metadata: Metadata) -> list[Snapshot]:
    rows = metadata.rows("SELECT epoch, seq, segments FROM snapshots ORDER BY epoch")
    return [Snapshot(epoch, seq, msgspec.msgpack.decode(bytes(raw), type=list[int])) for epoch, seq, raw in rows]


def hot_segments(metadata: Metadata) -> list[int]:
    """Journal segments that extents name, oldest first."""
    # A loose index scan: one look per segment, however many extents name it. The planner searches by the first of
    # the two lower bounds; `> 0` is there for the partial index only.
    sql = (
        "WITH RECURSIVE s(n) AS (SELECT min(segment) FROM extents INDEXED BY extents_hot WHERE segment > 0 UNION ALL"
        " SELECT (SELECT min(segment) FROM extents INDEXED BY extents_hot WHERE segment > s.n AND segment > 0)"
        " FROM s WHERE s.n IS NOT NULL)"
        " SELECT n FROM s WHERE n IS NOT NULL ORDER BY n"
    )
    return [number for (number,) in metadata.rows(sql)]
