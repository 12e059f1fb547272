"""Verbs on open files: counts by inode. A handle is its inode number, so that any front end can make one."""

from rustfsfs import ops
from rustfsfs.meta import inodes
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume


def opened(volume: Volume, inode: int) -> None:
    """One handle more: the inode outlives its last name until `closed`. Raises NoSuchInode."""
    inodes.get(volume.metadata, inode)
    counts = volume.handles.counts
    counts[inode] = counts.get(inode, 0) + 1


def closed(volume: Volume, inode: int) -> None:
    """One handle less. With the last one an inode without a name goes; its extents are reaped later."""
    counts = volume.handles.counts
    left = counts.pop(inode, 0) - 1
    if left > 0:
        counts[inode] = left
        return
    row = inodes.find(volume.metadata, inode)
    if inode in volume.handles.nameless:
        return
    if row is not None and row.nlink == 0 and volume.health.read_only_reason is None:
        record(volume, ops.Release(inode=inode))
        volume.handles.touched.pop(inode, None)
        volume.wishes.reap.set()


def forgotten(volume: Volume, inode: int) -> None:
    """The front end knows an inode no more. Without a name and a handle it goes, by the reaper. Never raises."""
    if inode in volume.handles.nameless:
        volume.handles.nameless.discard(inode)
        volume.wishes.reap.set()
