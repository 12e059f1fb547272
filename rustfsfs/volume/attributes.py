"""Verbs on attributes, and the space of the whole file system."""

import stat
from typing import NamedTuple

from rustfsfs import ops
from rustfsfs.errors import StoreUnavailable
from rustfsfs.meta import inodes
from rustfsfs.meta.inodes import Attributes
from rustfsfs.tiers.place import usable_bytes
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import acl
from rustfsfs.volume.diskspace import spaces, without_failing
from rustfsfs.volume.recording import ensure_writable, now, record
from rustfsfs.volume.volume import Volume

RELATIME_NS = 24 * 3600 * SECOND_NS  # relatime, mount(8): also when the last access is a day old
BLOCK_SIZE = 4096  # bytes; what statfs counts in
TIME_NS_MAX = (1 << 63) - 1 - (1 << 32)  # in the year 2262; a ctime goes on from there by 1 ns


class FileSystemSpace(NamedTuple):
    block_bytes: int
    total_blocks: int
    free_blocks: int
    available_blocks: int
    total_inodes: int
    free_inodes: int


def get(volume: Volume, inode: int) -> Attributes:
    """Raises NoSuchInode."""
    return with_atime(volume, inodes.get(volume.metadata, inode))


def with_atime(volume: Volume, row: Attributes) -> Attributes:
    """A row with the access time that is still in RAM only."""
    touched_ns = volume.handles.touched.get(row.inode)
    return row if touched_ns is None else row._replace(atime_ns=max(touched_ns, row.atime_ns))


def change(
    volume: Volume,
    inode: int,
    *,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
    atime_ns: int | None = None,
    mtime_ns: int | None = None,
) -> Attributes:
    """chmod, chown, utimensat. `mode` has permission bits only. Who may is the kernel's work. Raises NoSuchInode.

    Times beyond what 64 bits of nanoseconds hold (years 1678 to 2262) become the last they do.
    """
    ensure_writable(volume)
    row = inodes.get(volume.metadata, inode)
    access = None
    if mode is not None:
        mode = stat.S_IFMT(row.mode) | (mode & 0o7777)
        access = _acl_after_chmod(volume, row, mode)
    record(
        volume,
        ops.SetAttributes(
            inode=inode,
            mode=mode,
            uid=uid,
            gid=gid,
            atime_ns=_storable(atime_ns),
            mtime_ns=_storable(mtime_ns),
            ctime_ns=now(volume),
            acl=access,
        ),
    )
    if atime_ns is not None:
        volume.handles.touched.pop(inode, None)
    return get(volume, inode)


def _storable(time_ns: int | None) -> int | None:
    return None if time_ns is None else max(-(1 << 63), min(time_ns, TIME_NS_MAX))


def _acl_after_chmod(volume: Volume, row: Attributes, mode: int) -> bytes | None:
    """chmod changes the mask of an ACL, not its owning group (acl(5), "correspondence")."""
    if not row.xattr_count:
        return None
    stored = inodes.get_xattr(volume.metadata, row.inode, acl.ACCESS_XATTR)
    return None if stored is None else acl.encode(acl.after_chmod(acl.parse(stored), mode & 0o777))


def touch(volume: Volume, row: Attributes) -> None:
    """Note a read, as relatime does: only when atime is not newer than mtime and ctime, or a day old.

    In RAM until the next epoch; never fails anything.
    """
    if volume.noatime or volume.health.read_only_reason is not None:
        return
    at_ns = volume.world.now_ns()
    last_ns = volume.handles.touched.get(row.inode, row.atime_ns)
    if last_ns <= row.mtime_ns or last_ns <= row.ctime_ns or at_ns - last_ns >= RELATIME_NS:
        volume.handles.touched[row.inode] = at_ns


def touch_by(volume: Volume, inode: int) -> None:
    """As `touch`. Raises NoSuchInode."""
    touch(volume, inodes.get(volume.metadata, inode))


def space(volume: Volume) -> FileSystemSpace:
    """What statfs shows: the disks that answer, less what is reserved and what hot data will still take.

    With a bucket, what lies there adds to the size, and what lies there too counts as free. Raises StoreUnavailable.
    """
    found = spaces(volume)
    if not found:
        raise StoreUnavailable("no disk of the volume answers")
    free_bytes = [space.free_bytes for space in without_failing(volume, found)]
    copies = min(volume.header.copies, len(found), len(free_bytes))  # as admission reckons
    total = usable_bytes([space.total_bytes for space in found.values()], copies=copies)
    free = usable_bytes(free_bytes, copies=copies)
    free = max(0, free - volume.metadata.running.hot_bytes)
    running = volume.metadata.running
    if volume.tier.door is not None:
        total += running.cold_bytes
        free = min(total, free + max(0, running.object_bytes - running.cold_bytes))
    return FileSystemSpace(
        block_bytes=BLOCK_SIZE,
        total_blocks=total // BLOCK_SIZE,
        free_blocks=free // BLOCK_SIZE,
        available_blocks=free // BLOCK_SIZE,
        total_inodes=running.files + running.directories + free // BLOCK_SIZE,
        free_inodes=free // BLOCK_SIZE,
    )
