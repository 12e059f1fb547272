"""Verbs on extended attributes, ACLs among them."""

import stat

from rustfsfs import ops
from rustfsfs.errors import InvalidArgument, NameTooLong, NoSuchXattr, NotPermitted, NotSupported, TooBig
from rustfsfs.meta import inodes
from rustfsfs.units import XATTR_NAME_SIZE_MAX, XATTR_VALUE_SIZE_MAX
from rustfsfs.volume import acl
from rustfsfs.volume.caller import ROOT_CALLER, Caller
from rustfsfs.volume.recording import ensure_writable, now, record
from rustfsfs.volume.volume import Volume

LIST_SIZE_MAX = 64 * 1024  # bytes of all names, each with its end; XATTR_LIST_MAX
MANY = LIST_SIZE_MAX // (XATTR_NAME_SIZE_MAX + 1)  # so many names fit whatever their lengths: none needs a count

OURS = b"user.rustfsfs."
NAMESPACES = (b"user.", b"trusted.", b"security.")  # xattr(7); of system. the ACLs only


def ensure_known(name: bytes) -> None:
    """Raises NotSupported for a namespace that Linux does not have, InvalidArgument for a namespace and no name."""
    if not name.startswith(NAMESPACES) and name not in (acl.ACCESS_XATTR, acl.DEFAULT_XATTR):
        raise NotSupported("attributes are named user., trusted., security. or are ACLs")
    if name in NAMESPACES:
        raise InvalidArgument("an attribute's name goes on behind its namespace")


def _ensure_not_ours(name: bytes) -> None:
    """Raises NotPermitted: what tierattrs answers nobody sets."""
    if name.startswith(OURS):
        raise NotPermitted("user.rustfsfs. attributes say where data lies, and cannot be set")


def get(volume: Volume, inode: int, name: bytes) -> bytes:
    """Raises NoSuchXattr, NotSupported, NoSuchInode. Every write(2) asks once: no second statement without xattrs."""
    ensure_known(name)
    if inodes.get(volume.metadata, inode).xattr_count:
        value = inodes.get_xattr(volume.metadata, inode, name)
        if value is not None:
            return value
    raise NoSuchXattr("no such attribute")


def names(volume: Volume, inode: int, *, privileged: bool = True) -> list[bytes]:
    """trusted. names are for privileged processes only, xattr(7)."""
    if not inodes.get(volume.metadata, inode).xattr_count:
        return []
    found = inodes.xattr_names(volume.metadata, inode)
    return found if privileged else [name for name in found if not name.startswith(b"trusted.")]


def set_(volume: Volume, inode: int, name: bytes, value: bytes, *, caller: Caller = ROOT_CALLER) -> None:
    """Raises TooBig, NameTooLong, InvalidArgument (an ACL that is none), NotSupported (a default ACL on a file)."""
    ensure_writable(volume)
    ensure_known(name)
    _ensure_not_ours(name)
    if len(name) > XATTR_NAME_SIZE_MAX:
        raise NameTooLong("an attribute's name has at most 255 bytes")
    if len(value) > XATTR_VALUE_SIZE_MAX:
        raise TooBig("an attribute's value has at most 64 KiB")
    row = inodes.get(volume.metadata, inode)
    mode = None
    if name in (acl.ACCESS_XATTR, acl.DEFAULT_XATTR):
        entries = acl.checked(value)
        if stat.S_ISLNK(row.mode) or (name == acl.DEFAULT_XATTR and not row.is_directory):
            raise NotSupported("this kind of file takes no such ACL")
        if not entries:
            _remove_if_there(volume, inode, name)
            return
        if name == acl.ACCESS_XATTR:
            mode = (row.mode & ~0o777) | acl.mode_of(entries)
            if not caller.is_in(row.gid):
                mode &= ~stat.S_ISGID  # as chmod(2) by a stranger to the group; the kernel leaves it to us
            if acl.is_only_mode(entries):  # it says no more than the permission bits, so the bits are kept instead
                record(volume, ops.RemoveXattr(inode=inode, name=name, now_ns=now(volume), mode=mode))
                return
    if row.xattr_count >= MANY:
        taken = inodes.xattr_names_size(volume.metadata, inode, without=name)
        if taken + len(name) + 1 > LIST_SIZE_MAX:
            raise TooBig("the names of all attributes of a file take at most 64 KiB")
    record(volume, ops.SetXattr(inode=inode, name=name, value=value, now_ns=now(volume), mode=mode))


def _remove_if_there(volume: Volume, inode: int, name: bytes) -> None:
    if inodes.get_xattr(volume.metadata, inode, name) is not None:
        record(volume, ops.RemoveXattr(inode=inode, name=name, now_ns=now(volume)))


def remove(volume: Volume, inode: int, name: bytes) -> None:
    """Raises NoSuchXattr; removing an ACL that is not there is fine, as in the kernel."""
    ensure_writable(volume)
    ensure_known(name)
    _ensure_not_ours(name)
    if name in (acl.ACCESS_XATTR, acl.DEFAULT_XATTR):
        _remove_if_there(volume, inode, name)
        return
    get(volume, inode, name)
    record(volume, ops.RemoveXattr(inode=inode, name=name, now_ns=now(volume)))
