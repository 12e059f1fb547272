"""Attributes as pyfuse3 wants them."""

from collections.abc import Collection

import pyfuse3

from rustfsfs.meta.inodes import Attributes
from rustfsfs.units import MIB
from rustfsfs.volume.attributes import FileSystemSpace
from rustfsfs.volume.caller import Caller

TIMEOUT_S = 86400  # nothing changes but through this mount, and the kernel sees all of that
BLOCK_SIZE = 512  # bytes; what st_blocks counts in, stat(2)
BEST_SIZE = MIB  # st_blksize: what programs should read and write at once
NAME_SIZE_MAX = 255


def entry(row: Attributes) -> pyfuse3.EntryAttributes:
    result = pyfuse3.EntryAttributes()
    result.st_ino = row.inode
    result.st_mode = row.mode
    result.st_nlink = row.nlink
    result.st_uid = row.uid
    result.st_gid = row.gid
    result.st_rdev = row.rdev
    result.st_size = row.size_bytes
    result.st_blksize = BEST_SIZE
    result.st_blocks = -(-row.mapped_bytes // BLOCK_SIZE)
    result.st_atime_ns = row.atime_ns
    result.st_mtime_ns = row.mtime_ns
    result.st_ctime_ns = row.ctime_ns
    result.attr_timeout = 0 if row.stale_tail else TIMEOUT_S  # Trim will yet change st_blocks
    result.entry_timeout = TIMEOUT_S
    return result


def caller(ctx: pyfuse3.RequestContext) -> Caller:
    """Who asks. `get_sup_groups` reads /proc; a process that is gone is in no other group."""
    return Caller(uid=ctx.uid, gid=ctx.gid, other_groups=lambda: _groups_of(ctx.pid))


def _groups_of(pid: int) -> Collection[int]:
    try:
        return pyfuse3.get_sup_groups(pid)
    except (OSError, ValueError):
        return ()


def absent() -> pyfuse3.EntryAttributes:
    """A name that is not there, for the kernel to remember: one request instead of three for the next asker."""
    result = pyfuse3.EntryAttributes()
    result.st_ino = 0
    result.entry_timeout = TIMEOUT_S
    return result


def space(found: FileSystemSpace) -> pyfuse3.StatvfsData:
    result = pyfuse3.StatvfsData()
    result.f_bsize = found.block_bytes
    result.f_frsize = found.block_bytes
    result.f_blocks = found.total_blocks
    result.f_bfree = found.free_blocks
    result.f_bavail = found.available_blocks
    result.f_files = found.total_inodes
    result.f_ffree = found.free_inodes
    result.f_favail = found.free_inodes
    result.f_namemax = NAME_SIZE_MAX
    return result
