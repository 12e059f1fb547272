"""Verbs on names: find, make, link, remove, rename. None of them waits; each is one record at most.

Modes and stickiness are the kernel's work (default_permissions). Checks come first, so `apply` never fails.
"""

import stat

from rustfsfs import ops
from rustfsfs.errors import (
    EntryExists,
    InvalidArgument,
    IsDirectory,
    NameTooLong,
    NoSuchEntry,
    NotDirectory,
    NotEmpty,
    NotPermitted,
    TooManyLinks,
)
from rustfsfs.meta import entries, inodes
from rustfsfs.meta.inodes import Attributes
from rustfsfs.units import LINK_COUNT_MAX, NAME_SIZE_MAX, ROOT, SYMLINK_SIZE_MAX
from rustfsfs.volume import acl, handles
from rustfsfs.volume.attributes import get, touch_by, with_atime
from rustfsfs.volume.recording import ensure_writable, now, record
from rustfsfs.volume.volume import Volume


def lookup(volume: Volume, parent: int, name: bytes) -> Attributes:
    """What a name stands for; `.` and `..` too, for inodes never looked up before (NFS). Raises NoSuchEntry."""
    if name == b".":
        return get(volume, parent)
    if name == b"..":
        return get(volume, directory(volume, parent).parent)
    found = entries.find_attributes(volume.metadata, parent, name)
    if found is None:
        if len(name) > NAME_SIZE_MAX:
            raise NameTooLong("a name has at most 255 bytes")
        raise NoSuchEntry("no such name")
    return with_atime(volume, found)


def readlink(volume: Volume, inode: int) -> bytes:
    """Raises NoSuchInode, InvalidArgument."""
    found = inodes.target(volume.metadata, inode)
    if found is None:
        raise InvalidArgument("not a symbolic link")
    touch_by(volume, inode)
    return found


def create(
    volume: Volume, parent: int, name: bytes, *, mode: int, uid: int, gid: int, rdev: int = 0, target: bytes = b""
) -> Attributes:
    """A new inode of any kind. `mode` has the umask applied (the kernel does it).

    A set-group-ID directory hands its group on, and to directories the bit; a default ACL is inherited.
    Raises EntryExists, NoSuchInode, NotDirectory, NameTooLong, InvalidArgument, NoSpace.
    """
    ensure_writable(volume)
    above = directory(volume, parent)
    ensure_absent(volume, above, name)
    if len(target) > SYMLINK_SIZE_MAX or (stat.S_ISLNK(mode) and not target):
        raise NameTooLong("the target of a symbolic link has 1 to 4095 bytes")
    if above.mode & stat.S_ISGID:
        gid = above.gid
        if stat.S_ISDIR(mode):
            mode |= stat.S_ISGID
    mode, xattrs = _inherited(volume, above, mode)
    inode = _next_inode(volume)
    record(
        volume,
        ops.Create(
            parent=parent,
            name=name,
            inode=inode,
            mode=mode,
            uid=uid,
            gid=gid,
            rdev=rdev,
            target=target,
            now_ns=now(volume),
            xattrs=xattrs,
        ),
    )
    volume.numbers.inode = inode + 1
    return inodes.get(volume.metadata, inode)


def _inherited(volume: Volume, above: Attributes, mode: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    if not above.xattr_count or stat.S_ISLNK(mode):
        return mode, []
    default = inodes.get_xattr(volume.metadata, above.inode, acl.DEFAULT_XATTR)
    if default is None:
        return mode, []
    permissions, access = acl.inherit(acl.parse(default), mode & 0o7777)
    xattrs = [] if access is None else [(acl.ACCESS_XATTR, acl.encode(access))]
    if stat.S_ISDIR(mode):
        xattrs.append((acl.DEFAULT_XATTR, default))
    return stat.S_IFMT(mode) | permissions, xattrs


def _next_inode(volume: Volume) -> int:
    inode = volume.numbers.inode
    if inode >= volume.metadata.running.inode_limit:
        raise NotPermitted("inode numbers ran out between two epochs")  # 2^20 of them in 10 000 ops: cannot be
    return inode


def link(volume: Volume, inode: int, parent: int, name: bytes) -> Attributes:
    """Another name. Raises EntryExists, IsDirectory, TooManyLinks, NoSuchEntry (its last name is gone already)."""
    ensure_writable(volume)
    above, row = directory(volume, parent), inodes.get(volume.metadata, inode)
    if row.is_directory:
        raise NotPermitted("a directory has one name")
    if row.nlink == 0:
        raise NoSuchEntry("its last name was removed")
    if row.nlink >= LINK_COUNT_MAX:
        raise TooManyLinks("a file has at most 2^31 names")
    ensure_absent(volume, above, name)
    record(volume, ops.Link(inode=inode, parent=parent, name=name, now_ns=now(volume)))
    return get(volume, inode)


def unlink(volume: Volume, parent: int, name: bytes) -> None:
    """Remove a name. Its inode stays until the last link and the last open handle are gone.

    Raises NoSuchEntry, IsDirectory.
    """
    row = lookup(volume, parent, name)
    if row.is_directory:
        raise IsDirectory("a directory is removed with rmdir")
    record(volume, ops.Unlink(parent=parent, name=name, now_ns=now(volume)))
    _name_removed(volume, row)


def rmdir(volume: Volume, parent: int, name: bytes) -> None:
    """Raises NoSuchEntry, NotDirectory, NotEmpty, InvalidArgument (`.`)."""
    if name == b".":
        raise InvalidArgument("a directory cannot be removed by the name '.'")
    row = lookup(volume, parent, name)
    if not row.is_directory:
        raise NotDirectory("not a directory")
    if name == b".." or row.size_bytes:
        raise NotEmpty("the directory is not empty")
    record(volume, ops.Rmdir(parent=parent, name=name, now_ns=now(volume)))
    _name_removed(volume, row)


def rename(
    volume: Volume, parent: int, name: bytes, new_parent: int, new_name: bytes, *, exchange: bool, no_replace: bool
) -> None:
    """rename(2), renameat2(2): replaces a file or an empty directory, atomically.

    Raises NoSuchEntry, EntryExists (no_replace), NotEmpty, IsDirectory, NotDirectory, NameTooLong, InvalidArgument (in
    itself; both flags).
    """
    if exchange and no_replace:
        raise InvalidArgument("a rename cannot both exchange and not replace")
    moved = lookup(volume, parent, name)
    above = directory(volume, new_parent)
    replaced = entries.find_attributes(volume.metadata, new_parent, new_name)
    if replaced is None:
        ensure_absent(volume, above, new_name)
        if exchange:
            raise NoSuchEntry("there is nothing to exchange with")
    elif no_replace:
        raise EntryExists("the new name exists")
    if moved.is_directory:
        _ensure_not_inside(volume, above, moved.inode)
    if exchange and replaced is not None and replaced.is_directory:
        _ensure_not_inside(volume, directory(volume, parent), replaced.inode)
    if replaced is not None and not exchange:
        if moved.inode == replaced.inode:
            return  # two names of one file: POSIX says that nothing happens
        _ensure_replaceable(moved, replaced)
    record(
        volume,
        ops.Rename(
            parent=parent,
            name=name,
            new_parent=new_parent,
            new_name=new_name,
            exchange=exchange,
            now_ns=now(volume),
        ),
    )
    if replaced is not None and not exchange:
        _name_removed(volume, replaced)


def _ensure_replaceable(moved: Attributes, replaced: Attributes) -> None:
    if replaced.is_directory and not moved.is_directory:
        raise IsDirectory("a file cannot replace a directory")
    if moved.is_directory and not replaced.is_directory:
        raise NotDirectory("a directory cannot replace a file")
    if replaced.is_directory and replaced.size_bytes:
        raise NotEmpty("the directory to replace is not empty")


def _ensure_not_inside(volume: Volume, above: Attributes, moved: int) -> None:
    """The kernel checks this too, but the inodes it knows by handle only (NFS) it cannot."""
    while above.inode != ROOT:
        if above.inode == moved:
            raise InvalidArgument("a directory cannot be moved into itself")
        above = inodes.get(volume.metadata, above.parent)
    if moved == ROOT:
        raise InvalidArgument("the root cannot be moved")


def directory(volume: Volume, inode: int) -> Attributes:
    """Raises NoSuchInode, NotDirectory."""
    row = inodes.get(volume.metadata, inode)
    if not row.is_directory:
        raise NotDirectory("not a directory")
    return row


def ensure_absent(volume: Volume, above: Attributes, name: bytes) -> None:
    """A name may be made in a directory that still has a name itself. Raises EntryExists, NameTooLong, NoSuchEntry."""
    if len(name) > NAME_SIZE_MAX:
        raise NameTooLong("a name has at most 255 bytes")
    if name in (b"", b".", b".."):
        raise EntryExists("'.' and '..' are always there")
    if above.nlink == 0:
        raise NoSuchEntry("the directory was removed")
    if entries.find(volume.metadata, above.inode, name) is not None:
        raise EntryExists("the name exists")


def _name_removed(volume: Volume, row: Attributes) -> None:
    """`row` is as it was before. What RAM keeps of an inode whose last name went."""
    if row.nlink <= 1 or row.is_directory:
        handles.last_name_removed(volume, row.inode)
        volume.activity.last_write_s.pop(row.fork, None)
