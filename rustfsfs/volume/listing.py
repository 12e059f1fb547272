"""The verb behind readdir: a page of names after a cookie."""

from rustfsfs.meta import entries
from rustfsfs.meta.inodes import Attributes
from rustfsfs.volume.attributes import get, touch, with_atime
from rustfsfs.volume.names import directory
from rustfsfs.volume.volume import Volume

DOT_COOKIE, DOT_DOT_COOKIE = 1, 2  # names proper have greater ones, see meta.apply.FIRST_COOKIE


def page(volume: Volume, inode: int, after_cookie: int, count: int) -> list[tuple[bytes, int, Attributes]]:
    """At most `count` (name, cookie, attributes) past a cookie, 0 for the beginning; empty at the end.

    A name that stays from the first page to the last is listed exactly once, whatever comes and goes meanwhile.
    Raises NoSuchInode, NotDirectory.
    """
    row = directory(volume, inode)
    found: list[tuple[bytes, int, Attributes]] = []
    if after_cookie < DOT_COOKIE:
        touch(volume, row)
        found.append((b".", DOT_COOKIE, with_atime(volume, row)))
    if after_cookie < DOT_DOT_COOKIE:
        found.append((b"..", DOT_DOT_COOKIE, get(volume, row.parent) if row.nlink else row))
    rows = entries.page(volume.metadata, inode, max(after_cookie, DOT_DOT_COOKIE), count - len(found))
    if volume.handles.touched:
        rows = [(name, cookie, with_atime(volume, attributes)) for name, cookie, attributes in rows]
    return found + rows
