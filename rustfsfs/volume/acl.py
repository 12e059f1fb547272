"""POSIX ACLs as the kernel passes them: system.posix_acl_access and _default, version 2 (posix_acl_xattr.h). Pure."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from rustfsfs.errors import InvalidArgument

ACCESS_XATTR, DEFAULT_XATTR = b"system.posix_acl_access", b"system.posix_acl_default"
VERSION = 2
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_HEAD, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
NO_ID = 0xFFFFFFFF


class Entry(NamedTuple):
    tag: int
    permissions: int  # rwx, 0 to 7
    qualifier: int  # uid or gid of USER and GROUP; NO_ID otherwise


Acl = Sequence[Entry]


def parse(data: bytes) -> list[Entry]:
    """Raises InvalidArgument."""
    if len(data) < _HEAD.size or (len(data) - _HEAD.size) % _ENTRY.size or _HEAD.unpack_from(data)[0] != VERSION:
        raise InvalidArgument("not an ACL of version 2")
    return [Entry._make(found) for found in _ENTRY.iter_unpack(data[_HEAD.size :])]


def encode(entries: Acl) -> bytes:
    return _HEAD.pack(VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def checked(data: bytes) -> list[Entry]:
    """A valid ACL, as acl_valid(3) says; empty for one without entries, which removes. Raises InvalidArgument."""
    entries = parse(data)
    if not entries:
        return []
    counts = {tag: sum(entry.tag == tag for entry in entries) for tag in (USER_OBJ, GROUP_OBJ, OTHER, MASK)}
    named = [(entry.tag, entry.qualifier) for entry in entries if entry.tag in (USER, GROUP)]
    valid = (
        counts[USER_OBJ] == counts[GROUP_OBJ] == counts[OTHER] == 1
        and counts[MASK] <= 1
        and (counts[MASK] == 1 or not named)
        and len(set(named)) == len(named)
        and all(entry.tag in (*counts, USER, GROUP) and entry.permissions <= 7 for entry in entries)
        and [entry.tag for entry in entries] == sorted(entry.tag for entry in entries)
    )
    if not valid:
        raise InvalidArgument("an ACL has one owner, one owning group, others, and a mask if it names anyone")
    return entries


def _permissions(entries: Acl, tag: int) -> int:
    return next((entry.permissions for entry in entries if entry.tag == tag), 0)


def _group_class(entries: Acl) -> int:
    """What the group bits of the mode show: the mask if there is one (acl(5))."""
    return _permissions(entries, MASK if any(entry.tag == MASK for entry in entries) else GROUP_OBJ)


def mode_of(entries: Acl) -> int:
    """The nine permission bits that an ACL corresponds to."""
    return _permissions(entries, USER_OBJ) << 6 | _group_class(entries) << 3 | _permissions(entries, OTHER)


def is_only_mode(entries: Acl) -> bool:
    """Does it say no more than permission bits can?"""
    return len(entries) == 3


def after_chmod(entries: Acl, mode: int) -> list[Entry]:
    """chmod sets owner, others, and the mask; the owning group only where there is no mask (posix_acl_chmod)."""
    has_mask = any(entry.tag == MASK for entry in entries)
    group = MASK if has_mask else GROUP_OBJ
    bits = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    return [entry._replace(permissions=bits.get(entry.tag, entry.permissions)) for entry in entries]


def inherit(default: Acl, mode: int) -> tuple[int, list[Entry] | None]:
    """(permission bits, access ACL or None) of a new file in a directory with a default ACL (posix_acl_create).

    `mode`: the bits asked for, 0 to 0o7777. Under FUSE the kernel took the umask off already, which ext4 would not:
    the result is never wider than on ext4, at times narrower.
    """
    has_mask = any(entry.tag == MASK for entry in default)
    group = MASK if has_mask else GROUP_OBJ
    asked = {USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, OTHER: mode & 7}
    entries = [e._replace(permissions=e.permissions & asked.get(e.tag, 7)) for e in default]
    bits = (mode & ~0o777) | mode_of(entries)
    return bits, None if is_only_mode(entries) else entries
