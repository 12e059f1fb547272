"""Handlers: one line each, naming their verb. A handle is an inode number."""

import errno
import functools
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

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

from rustfsfs.errors import DamagedMetadata, FileTooLarge, NoSuchEntry, RustfsfsError
from rustfsfs.fuse import attrs
from rustfsfs.fuse.errnos import errno_of
from rustfsfs.meta.inodes import Attributes
from rustfsfs.units import FILE_SIZE_MAX
from rustfsfs.volume import (
    admission,
    attributes,
    durability,
    handles,
    listing,
    names,
    reading,
    tierattrs,
    warming,
    writing,
    xattrs,
)
from rustfsfs.volume.counters import OPERATIONS
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import elapsed_s

FIRST_PAGE, PAGE = 25, 100  # entries asked of SQLite at once: a reply of 4 KiB holds 25 of them, one of 32 KiB 200
DOTS = (b".", b"..")
GROWTH = 1024  # bytes a new name is reckoned to take
O_NOATIME = getattr(os, "O_NOATIME", 0)
T = TypeVar("T")
P = ParamSpec("P")
Handler = Callable[Concatenate["Operations", P], Coroutine[Any, Any, T]]


Admission = Callable[[Volume], Coroutine[Any, Any, None] | None]  # None: it may go on at once


def answering(admitted: Admission, *, changes: bool = False) -> Callable[[Handler[P, T]], Handler[P, T]]:
    """A decorator for handlers: one layer for all that surrounds a request, since each costs every request 1 us.

    Waits for the gate and for admission; our errors leave as FUSEError; anything else is our bug: logged with its
    traceback, EIO. An exception of another kind would end the whole mount. What it took is counted (1 us at the most).
    `changes`: the reply says that something was made, changed or removed, so that `nfs=strict` has it durable first.
    """

    def decorate(handler: Handler[P, T]) -> Handler[P, T]:
        name = handler.__name__
        assert name in OPERATIONS, name

        @functools.wraps(handler)
        async def wrapped(self: "Operations", /, *args: P.args, **kwargs: P.kwargs) -> T:
            volume = self._volume
            volume.activity.requests += 1
            volume.activity.last_request_s = trio.current_time()
            counters, started_s = volume.counters, elapsed_s()
            try:
                if volume.warmth.is_cold:
                    await warming.warm(volume, name, args)
                if volume.gate.shut:
                    await volume.gate.opened()
                if (waiting := admitted(volume)) is not None:
                    await waiting
                    await volume.gate.opened()
                result = await handler(self, *args, **kwargs)
                if changes and self._strict:
                    await durability.barrier(volume)
                return result
            except RustfsfsError as exc:
                if isinstance(exc, DamagedMetadata):
                    volume.health.notice(str(exc))
                counters.failed(name, error := errno_of(exc))
                raise FUSEError(error) from None
            except FUSEError as exc:
                counters.failed(name, exc.errno)
                raise
            except Exception as exc:
                log.exception("%s failed: a bug of rustfsfs", name)
                counters.failed(name, errno.EIO)
                raise FUSEError(errno.EIO) from exc
            finally:
                counters.operations[name].note(elapsed_s() - started_s)

        return wrapped

    return decorate


def _at_once(volume: Volume) -> None:
    return None


def _as_growing(volume: Volume) -> Coroutine[Any, Any, None] | None:
    return admission.admit(volume, GROWTH) if admission.must_wait(volume, GROWTH) else None


def _as_freeing(volume: Volume) -> Coroutine[Any, Any, None] | None:
    return admission.admit_freeing(volume) if admission.freeing_must_wait(volume) else None


replies = answering(_at_once)
grows = answering(
    _as_growing, changes=True
)  # the op makes something new, so it may have to wait for room, or hear ENOSPC
frees = answering(_as_freeing, changes=True)  # the op goes on where `grows` has to wait, but not without end


class Operations(pyfuse3.Operations):
    """What the kernel asks for. Permissions are its own work (default_permissions)."""

    supports_dot_lookup = True  # NFS
    enable_writeback_cache = False  # else an acknowledged write may be in the kernel only: see DESIGN.md §12
    enable_acl = True

    def __init__(self, volume: Volume, *, noxattr: bool = False, writeback: bool = False, strict: bool = False) -> None:
        """`noxattr`, `writeback`, `nfs=strict`: the mount options, DESIGN.md §12."""
        super().__init__()
        self._volume = volume
        self._noxattr = noxattr
        self._strict = strict
        self.enable_writeback_cache = writeback
        self.enable_acl = not noxattr

    def _given(self, row: Attributes) -> EntryAttributes:
        """An entry in a reply: the kernel knows the inode once more."""
        return attrs.entry(handles.given(self._volume, row))

    # --- names ---------------------------------------------------------------------------------------------------

    @replies
    async def lookup(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._given(names.lookup(self._volume, parent, name))
        except NoSuchEntry:
            return attrs.absent()

    @grows
    async def mknod(self, parent: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        return self._given(names.create(self._volume, parent, name, mode=mode, uid=ctx.uid, gid=ctx.gid, rdev=rdev))

    @grows
    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        return self._given(names.create(self._volume, parent, name, mode=mode, uid=ctx.uid, gid=ctx.gid))

    @grows
    async def symlink(self, parent: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        mode = 0o120777
        row = names.create(self._volume, parent, name, mode=mode, uid=ctx.uid, gid=ctx.gid, target=target)
        return self._given(row)

    @grows
    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        row = names.create(self._volume, parent, name, mode=mode, uid=ctx.uid, gid=ctx.gid)
        handles.opened(self._volume, row.inode)
        return FileInfo(fh=row.inode, keep_cache=True), self._given(row)

    @grows
    async def link(self, inode: int, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        return self._given(names.link(self._volume, inode, parent, name))

    @frees
    async def unlink(self, parent: int, name: bytes, ctx: RequestContext) -> None:
        names.unlink(self._volume, parent, name)

    @frees
    async def rmdir(self, parent: int, name: bytes, ctx: RequestContext) -> None:
        names.rmdir(self._volume, parent, name)

    @frees
    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, ctx: RequestContext
    ) -> None:
        exchange, no_replace = bool(flags & pyfuse3.RENAME_EXCHANGE), bool(flags & pyfuse3.RENAME_NOREPLACE)
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            raise FUSEError(errno.EINVAL)  # RENAME_WHITEOUT: overlayfs asks, to see whether it may lie on us
        names.rename(self._volume, parent, name, new_parent, new_name, exchange=exchange, no_replace=no_replace)

    @replies
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return names.readlink(self._volume, inode)

    # --- attributes ----------------------------------------------------------------------------------------------

    @replies
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return attrs.entry(attributes.get(self._volume, inode))

    @frees
    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        if fields.update_size:
            if attr.st_size > FILE_SIZE_MAX:
                raise FileTooLarge("the file would be too large")
            mode = attr.st_mode if fields.update_mode else None  # truncate(2) takes set-user-ID off, in one op
            await writing.resize(self._volume, inode, attr.st_size, mode=mode)
            if self._volume.gate.shut:
                await self._volume.gate.opened()
        wanted: dict[str, int] = {}
        if fields.update_mode and not fields.update_size:
            wanted["mode"] = attr.st_mode
        if fields.update_uid:
            wanted["uid"] = attr.st_uid
        if fields.update_gid:
            wanted["gid"] = attr.st_gid
        if fields.update_atime:
            wanted["atime_ns"] = attr.st_atime_ns
        if fields.update_mtime:
            wanted["mtime_ns"] = attr.st_mtime_ns
        if wanted:
            return attrs.entry(attributes.change(self._volume, inode, **wanted))
        return attrs.entry(attributes.get(self._volume, inode))

    @replies
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return attrs.space(attributes.space(self._volume))

    @replies
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if self._noxattr:
            raise FUSEError(errno.ENOSYS)  # the kernel never asks again
        if name.startswith(tierattrs.PREFIX):
            return await tierattrs.get(self._volume, inode, name)
        return xattrs.get(self._volume, inode, name)

    @grows
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        if self._noxattr:
            raise FUSEError(errno.ENOSYS)
        xattrs.set_(self._volume, inode, name, value, caller=attrs.caller(ctx))

    @replies
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        if self._noxattr:
            raise FUSEError(errno.ENOSYS)
        return xattrs.names(self._volume, inode, privileged=ctx.uid == 0)

    @frees
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        if self._noxattr:
            raise FUSEError(errno.ENOSYS)
        xattrs.remove(self._volume, inode, name)

    # --- contents ------------------------------------------------------------------------------------------------

    @replies
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & os.O_TRUNC and await writing.empty_at_open(self._volume, inode, attrs.caller(ctx)):
            pyfuse3.invalidate_inode(InodeT(inode), attr_only=True)  # its mode changed, and open's reply cannot say so
        if flags & os.O_TRUNC and self._strict:
            await durability.barrier(self._volume)
        row = handles.opened(self._volume, inode)
        if flags & os.O_ACCMODE != os.O_WRONLY and not flags & O_NOATIME:
            attributes.touch(self._volume, row)
        return FileInfo(fh=inode, keep_cache=True)

    @replies  # pyfuse3 takes any buffer, its annotation only bytes
    async def read(  # type: ignore[override]
        self, fh: int, offset: int, size: int
    ) -> bytes | bytearray | memoryview:
        data = await reading.read(self._volume, fh, offset, size)
        self._volume.counters.read_bytes += len(data)
        return data

    @replies
    async def write(self, fh: int, offset: int, data: bytes) -> int:
        size = await writing.write(self._volume, fh, offset, data)
        self._volume.counters.written_bytes += size
        return size

    async def flush(self, fh: int) -> None:
        """close(2), asked once: the kernel takes the answer for "nothing to do" and sends no FLUSH again.

        A request less for each close. Every write was in the journal before it was answered, so close has nothing to
        do; what fails is reported by write and by fsync. Pages changed through a mapping the kernel writes before.
        """
        raise FUSEError(errno.ENOSYS)  # linux fs/fuse/file.c, fuse_flush: no_flush, and close returns 0

    @replies
    async def release(self, fh: int) -> None:
        handles.closed(self._volume, fh)

    @replies
    async def fsync(self, fh: int, datasync: bool) -> None:
        await durability.barrier(self._volume)

    # --- directories ---------------------------------------------------------------------------------------------

    @replies
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        handles.opened(self._volume, inode)
        return inode

    @replies
    async def readdir(self, fh: int, offset: int, token: ReaddirToken) -> None:
        count = FIRST_PAGE
        while found := listing.page(self._volume, fh, offset, count):
            for name, offset, row in found:
                if not pyfuse3.readdir_reply(token, name, attrs.entry(row), offset):
                    return
                if name not in DOTS:  # the kernel does not count those
                    handles.given(self._volume, row)
            count = PAGE

    @replies
    async def releasedir(self, fh: int) -> None:
        handles.closed(self._volume, fh)

    @replies
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await durability.barrier(self._volume)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, lookups in inode_list:
            handles.forgotten(self._volume, inode, lookups)
