"""Verbs on files in use: an inode without a name goes when its last handle is closed and the front end forgot it.

A handle is its inode number, so that any front end can make one. Inodes are in use without any handle too: as a working
directory, through O_PATH, below a bind mount, or between two steps of a path lookup. Only forgetting ends that.
"""

from rustfsfs.meta import inodes
from rustfsfs.meta.inodes import Attributes
from rustfsfs.volume.volume import Volume


def opened(volume: Volume, inode: int) -> Attributes:
    """One handle more; returns what was opened. Raises NoSuchInode."""
    row = inodes.get(volume.metadata, inode)
    counts = volume.handles.counts
    counts[inode] = counts.get(inode, 0) + 1
    return row


def closed(volume: Volume, inode: int) -> None:
    """One handle less."""
    counts = volume.handles.counts
    left = counts.pop(inode, 0) - 1
    if left > 0:
        counts[inode] = left
    else:
        _free_if_unused(volume, inode)


def last_name_removed(volume: Volume, inode: int) -> None:
    """The inode is an orphan now; the front end may still know it."""
    volume.handles.nameless[inode] = volume.handles.lookups.count(inode) > 0
    volume.handles.touched.pop(inode, None)
    _free_if_unused(volume, inode)


def given(volume: Volume, row: Attributes) -> Attributes:
    """The front end knows the inode once more; returns the row."""
    volume.handles.lookups.add(row.inode)
    return row


def forgotten(volume: Volume, inode: int, count: int) -> None:
    """The front end forgets so many of the times it was given the inode. Never raises.

    What it was given meanwhile counts on: such a message may come late.
    """
    if not volume.handles.lookups.forget(inode, count) and inode in volume.handles.nameless:
        volume.handles.nameless[inode] = False
        _free_if_unused(volume, inode)


def _free_if_unused(volume: Volume, inode: int) -> None:
    """The last handle may be closed before the inode is forgotten, or after."""
    handles = volume.handles
    if handles.nameless.get(inode) is False and inode not in handles.counts:
        del handles.nameless[inode]
        handles.free.append(inode)
        volume.wishes.reap.set()
