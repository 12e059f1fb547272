"""Verbs on files in use: an inode without a name goes when its last handle is closed and the front end forgot it.

A handle is its inode number, so that any front end can make one. Inodes are in use without any handle too: as a working
directory, through O_PATH, below a bind mount, or between two steps of a path lookup. Only forgetting ends that.
"""

from rustfsfs.meta import inodes
from rustfsfs.volume.volume import Volume


def opened(volume: Volume, inode: int) -> None:
    """One handle more. Raises NoSuchInode."""
    inodes.get(volume.metadata, inode)
    counts = volume.handles.counts
    counts[inode] = counts.get(inode, 0) + 1


def closed(volume: Volume, inode: int) -> None:
    """One handle less."""
    counts = volume.handles.counts
    left = counts.pop(inode, 0) - 1
    if left > 0:
        counts[inode] = left
    else:
        _free_if_unused(volume, inode)


def last_name_removed(volume: Volume, inode: int) -> None:
    """The inode is an orphan now; the front end still knows it."""
    volume.handles.nameless[inode] = True
    volume.handles.touched.pop(inode, None)


def forgotten(volume: Volume, inode: int) -> None:
    """The front end knows an inode no more. Never raises."""
    if inode in volume.handles.nameless:
        volume.handles.nameless[inode] = False
        _free_if_unused(volume, inode)


def _free_if_unused(volume: Volume, inode: int) -> None:
    """The last handle may be closed before the inode is forgotten, or after."""
    handles = volume.handles
    if handles.nameless.get(inode) is False and inode not in handles.counts:
        del handles.nameless[inode]
        handles.free.append(inode)
        volume.wishes.reap.set()
