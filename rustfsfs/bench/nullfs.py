"""A file system that does nothing: attributes in dicts, data passed straight to plain files. The limit of the binding.

What a handler can save is saved here: no journal, no database, no encryption, nothing survives its end. So its speed
is what pyfuse3, trio and the kernel leave to any file system in Python, and rustfsfs is measured as a ratio to it. It
is tuned as a mount of rustfsfs is: the same timeouts, pages kept across opens, absent names remembered, read-ahead and
number of tasks; permissions are the kernel's work; getxattr answers ENODATA. The loop is pyfuse3's own, on purpose.

    python -m rustfsfs.bench.nullfs DIRECTORY MOUNTPOINT     serves in the foreground until it is unmounted

DIRECTORY, an empty one, receives a plain file for each file, named by its inode number. They lie in one directory: this
is one ext4 file per file, as a passthrough has.
"""

import errno
import itertools
import os
import resource
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyfuse3
import trio
from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    InodeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

from rustfsfs.errors import RustfsfsError
from rustfsfs.fuse import session
from rustfsfs.fuse.attrs import BEST_SIZE, BLOCK_SIZE, TIMEOUT_S, absent
from rustfsfs.service import mounts
from rustfsfs.units import NAME_SIZE_MAX, ROOT

FSTYPE = "fuse.rustfsfs-null"
FILE_MODE = 0o600  # of the plain files below


@dataclass(slots=True)
class Node:
    """One inode. Of `children` and `target` only a directory has the one, and only a symlink the other."""

    inode: int
    mode: int
    uid: int
    gid: int
    nlink: int
    now_ns: int
    rdev: int = 0
    size_bytes: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    lookups: int = 0  # how often the kernel was given it and has not forgotten it
    target: bytes = b""
    children: dict[bytes, "Node"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.atime_ns = self.mtime_ns = self.ctime_ns = self.now_ns

    @property
    def path(self) -> str:
        """Its plain file, from the data directory, which is the working directory."""
        return str(self.inode)


def entry(node: Node) -> EntryAttributes:
    result = EntryAttributes()
    result.st_ino = InodeT(node.inode)
    result.st_mode = node.mode
    result.st_nlink = node.nlink
    result.st_uid = node.uid
    result.st_gid = node.gid
    result.st_rdev = node.rdev
    result.st_size = node.size_bytes
    result.st_blksize = BEST_SIZE
    result.st_blocks = -(-node.size_bytes // BLOCK_SIZE)
    result.st_atime_ns = node.atime_ns
    result.st_mtime_ns = node.mtime_ns
    result.st_ctime_ns = node.ctime_ns
    result.attr_timeout = TIMEOUT_S
    result.entry_timeout = TIMEOUT_S
    return result


class NullOperations(pyfuse3.Operations):
    """A file's handle is the descriptor of its plain file; a directory's is a number that no descriptor has."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self) -> None:
        super().__init__()
        root = Node(ROOT, stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), 2, time.time_ns())
        self._nodes: dict[int, Node] = {ROOT: root}
        self._files: dict[int, Node] = {}  # by handle
        self._listings: dict[int, tuple[Node, list[tuple[bytes, Node]]]] = {}  # by handle: as it was when opened
        self._listing_numbers = itertools.count(1 << 32)
        self._last_inode: int = ROOT

    def _given(self, node: Node) -> EntryAttributes:
        node.lookups += 1
        return entry(node)

    def _add(self, parent: int, name: bytes, mode: int, ctx: RequestContext) -> Node:
        """A new inode under a name that the kernel knows to be absent."""
        folder = self._nodes[parent]
        self._last_inode += 1
        is_folder = stat.S_ISDIR(mode)
        node = Node(self._last_inode, mode, ctx.uid, ctx.gid, 2 if is_folder else 1, time.time_ns())
        if folder.mode & stat.S_ISGID:
            node.gid = folder.gid
            node.mode |= stat.S_ISGID if is_folder else 0
        self._nodes[node.inode] = node
        folder.children[name] = node
        folder.nlink += is_folder
        folder.mtime_ns = folder.ctime_ns = node.now_ns
        return node

    def _drop(self, folder: Node, name: bytes) -> None:
        """Take a name away; with the last one goes the plain file, whose open descriptors go on."""
        node = folder.children.pop(name)
        if stat.S_ISDIR(node.mode):
            node.nlink = 0
            folder.nlink -= 1
        else:
            node.nlink -= 1
        node.ctime_ns = folder.mtime_ns = folder.ctime_ns = time.time_ns()
        if node.nlink == 0:
            if stat.S_ISREG(node.mode):
                os.unlink(node.path)
            self._forget(node, 0)

    def _forget(self, node: Node, lookups: int) -> None:
        node.lookups -= lookups
        if node.lookups <= 0 and node.nlink == 0:
            self._nodes.pop(node.inode, None)

    # --- names ---------------------------------------------------------------------------------------------------

    async def lookup(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> EntryAttributes:
        node = self._nodes[parent_inode].children.get(name)
        return absent() if node is None else self._given(node)

    async def create(
        self, parent_inode: InodeT, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        node = self._add(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx)
        fh = os.open(node.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._files[fh] = node
        return FileInfo(fh=fh, keep_cache=True), self._given(node)

    async def mknod(
        self, parent_inode: InodeT, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        node = self._add(parent_inode, name, mode, ctx)
        node.rdev = rdev
        if stat.S_ISREG(mode):
            os.close(os.open(node.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        return self._given(node)

    async def mkdir(self, parent_inode: InodeT, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        return self._given(self._add(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx))

    async def symlink(self, parent_inode: InodeT, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        node = self._add(parent_inode, name, stat.S_IFLNK | 0o777, ctx)
        node.target, node.size_bytes = target, len(target)
        return self._given(node)

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        node, folder = self._nodes[inode], self._nodes[new_parent_inode]
        folder.children[new_name] = node
        node.nlink += 1
        node.ctime_ns = folder.mtime_ns = folder.ctime_ns = time.time_ns()
        return self._given(node)

    async def unlink(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> None:
        self._drop(self._nodes[parent_inode], name)

    async def rmdir(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> None:
        folder = self._nodes[parent_inode]
        if folder.children[name].children:
            raise FUSEError(errno.ENOTEMPTY)
        self._drop(folder, name)

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: bytes,
        parent_inode_new: InodeT,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old, new = self._nodes[parent_inode_old], self._nodes[parent_inode_new]
        moved, replaced = old.children[name_old], new.children.get(name_new)
        if flags:
            raise FUSEError(errno.EINVAL)  # as an old file system: programs then go another way
        if replaced is not None:
            if replaced.children:
                raise FUSEError(errno.ENOTEMPTY)
            self._drop(new, name_new)
        del old.children[name_old]
        new.children[name_new] = moved
        if stat.S_ISDIR(moved.mode):
            old.nlink -= 1
            new.nlink += 1
        now_ns = time.time_ns()
        moved.ctime_ns = old.mtime_ns = old.ctime_ns = new.mtime_ns = new.ctime_ns = now_ns

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> bytes:
        return self._nodes[inode].target

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, lookups in inode_list:
            if inode in self._nodes:
                self._forget(self._nodes[inode], lookups)

    # --- attributes ----------------------------------------------------------------------------------------------

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        return entry(self._nodes[inode])

    async def setattr(
        self, inode: InodeT, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        node = self._nodes[inode]
        node.ctime_ns = time.time_ns()
        if fields.update_size:
            os.truncate(node.path if fh is None else fh, attr.st_size)
            node.size_bytes, node.mtime_ns = attr.st_size, node.ctime_ns
        if fields.update_mode:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(attr.st_mode)
        if fields.update_uid:
            node.uid = attr.st_uid
        if fields.update_gid:
            node.gid = attr.st_gid
        if fields.update_atime:
            node.atime_ns = attr.st_atime_ns
        if fields.update_mtime:
            node.mtime_ns = attr.st_mtime_ns
        return entry(node)

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        below, result = os.statvfs("."), StatvfsData()
        for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail"):
            setattr(result, name, getattr(below, name))
        result.f_namemax = NAME_SIZE_MAX
        return result

    async def getxattr(self, inode: InodeT, name: bytes, ctx: RequestContext) -> bytes:
        raise FUSEError(pyfuse3.ENOATTR)

    # --- contents ------------------------------------------------------------------------------------------------

    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        node = self._nodes[inode]
        fh = os.open(node.path, os.O_RDWR | os.O_CLOEXEC)
        if flags & os.O_TRUNC:  # libfuse negotiates that this is our work
            os.ftruncate(fh, 0)
            node.size_bytes = 0
            node.mtime_ns = node.ctime_ns = time.time_ns()
        self._files[fh] = node
        return FileInfo(fh=fh, keep_cache=True)

    async def read(self, fh: int, offset: int, size: int) -> bytes:
        return os.pread(fh, size, offset)

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        done = os.pwrite(fh, data, offset)
        node = self._files[fh]
        node.size_bytes = max(node.size_bytes, offset + done)
        node.mtime_ns = node.ctime_ns = time.time_ns()
        return done

    async def flush(self, fh: int) -> None:
        pass

    async def release(self, fh: int) -> None:
        del self._files[fh]
        os.close(fh)

    async def fsync(self, fh: int, datasync: bool) -> None:
        os.fdatasync(fh)  # attributes are in memory for good, so there is nothing else to sync

    # --- directories ---------------------------------------------------------------------------------------------

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> int:
        fh, node = next(self._listing_numbers), self._nodes[inode]
        self._listings[fh] = node, list(node.children.items())
        return fh

    async def readdir(self, fh: int, offset: int, token: ReaddirToken) -> None:
        folder, listing = self._listings[fh]
        for at in range(offset, len(listing)):
            name, node = listing[at]
            if folder.children.get(name) is not node:
                continue  # gone since
            if not pyfuse3.readdir_reply(token, name, entry(node), at + 1):
                return
            node.lookups += 1

    async def releasedir(self, fh: int) -> None:
        del self._listings[fh]

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        pass


def serve(folder: str, point: str) -> None:
    """Mount, and answer until unmounted. Raises RustfsfsError with libfuse's reason."""
    point = os.path.realpath(point)
    os.umask(0)
    os.chdir(folder)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options = {"fsname=null", f"subtype={FSTYPE.removeprefix('fuse.')}", "default_permissions", "nosuid", "nodev"}
    if os.geteuid() == 0:
        options.add("allow_other")
    session.begin(NullOperations(), point, options)
    try:
        trio.run(_answer, point)
    finally:
        session.close(unmount=mounts.at(point) is not None)


async def _answer(point: str) -> None:
    """pyfuse3's own loop, whatever rustfsfs makes of its."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tune, point)
        await pyfuse3.main(min_tasks=session.MIN_TASKS, max_tasks=session.MAX_TASKS)


async def _tune(point: str) -> None:
    """Once a request was answered, as `session.tune` wants it; another process asks."""
    await trio.run_process(["stat", "-f", point], capture_stdout=True, check=False)
    there = mounts.at(point)
    if there is not None:
        session.tune(there.device)


if __name__ == "__main__":
    try:
        serve(*sys.argv[1:])
    except RustfsfsError as exc:
        sys.exit(f"nullfs: {exc}")
