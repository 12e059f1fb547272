"""nfs=strict: what a reply says was made, changed or removed is durable before it; many who wait share a sync."""

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyfuse3
import pytest
import trio

from rustfsfs.fuse.ops import Operations
from rustfsfs.units import ROOT
from rustfsfs.volume import names
from tests.crash.disk import CrashFiles
from tests.volume.in_memory import InMemory, new_file, new_volume

CTX = pyfuse3.RequestContext()
FOLDER = stat.S_IFDIR | 0o755
FILE = stat.S_IFREG | 0o644
Act = Callable[[Operations, int], Awaitable[Any]]  # the inode is that of the file `f`


def attributes(**values: int) -> pyfuse3.EntryAttributes:
    found = pyfuse3.EntryAttributes()
    for name, value in values.items():
        setattr(found, name, value)
    return found


class Fields:
    """As pyfuse3.SetattrFields, which only it can fill."""

    def __init__(self, *changed: str) -> None:
        for name in ("mode", "uid", "gid", "size", "atime", "mtime", "ctime"):
            setattr(self, f"update_{name}", name in changed)


def change(what: str, **values: int) -> Act:
    fields: Any = Fields(what)
    return lambda operations, inode: operations.setattr(inode, attributes(**values), fields, None, CTX)


CHANGES: dict[str, Act] = {
    "mknod": lambda operations, inode: operations.mknod(ROOT, b"new", stat.S_IFIFO | 0o600, 0, CTX),
    "mkdir": lambda operations, inode: operations.mkdir(ROOT, b"new", FOLDER, CTX),
    "symlink": lambda operations, inode: operations.symlink(ROOT, b"new", b"target", CTX),
    "create": lambda operations, inode: operations.create(ROOT, b"new", FILE, os.O_RDWR, CTX),
    "link": lambda operations, inode: operations.link(inode, ROOT, b"new", CTX),
    "unlink": lambda operations, inode: operations.unlink(ROOT, b"f", CTX),
    "rmdir": lambda operations, inode: operations.rmdir(ROOT, b"folder", CTX),
    "rename": lambda operations, inode: operations.rename(ROOT, b"f", ROOT, b"g", 0, CTX),
    "truncate": change("size", st_size=3),
    "chmod": change("mode", st_mode=FILE | 0o111),
    "chown": change("uid", st_uid=7),
    "utimes": change("mtime", st_mtime_ns=10**9),
    "setxattr": lambda operations, inode: operations.setxattr(inode, b"user.new", b"value", CTX),
    "removexattr": lambda operations, inode: operations.removexattr(inode, b"user.old", CTX),
    "open with O_TRUNC": lambda operations, inode: operations.open(inode, os.O_WRONLY | os.O_TRUNC, CTX),
    "fsync": lambda operations, inode: written_and_synced(operations, inode),
}


async def written_and_synced(operations: Operations, inode: int) -> None:
    """COMMIT, and a write that is to be stable: both come as FSYNC."""
    await operations.write(inode, 0, b"data")
    await operations.fsync(inode, True)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_durable_before_its_reply(tmp_path: Path, name: str) -> None:
    async with new_volume(tmp_path) as volume:
        operations = Operations(volume, strict=True)
        inode = new_file(volume, b"f")
        names.create(volume, ROOT, b"folder", mode=FOLDER, uid=0, gid=0)
        await operations.setxattr(inode, b"user.old", b"value", CTX)
        before = volume.journal.appended_seq
        await CHANGES[name](operations, inode)
        assert volume.journal.durable_seq == volume.journal.appended_seq > before


async def test_otherwise_only_what_is_synced(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        await Operations(volume).mkdir(ROOT, b"new", FOLDER, CTX)
        assert volume.journal.durable_seq < volume.journal.appended_seq


async def test_a_change_that_cannot_be_made_durable_is_not_acknowledged(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.killed() as volume:
        home.files.failing["sync"] = [errno.EIO] * 50
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await Operations(volume, strict=True).mkdir(ROOT, b"new", FOLDER, CTX)
        assert caught.value.errno == errno.EIO
        assert volume.health.read_only_reason is not None
        home.files.failing.clear()


class Counting(CrashFiles):
    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0

    def sync(self, fd: int) -> None:
        self.syncs += 1
        super().sync(fd)


async def test_all_who_wait_share_a_sync(tmp_path: Path) -> None:
    """The first one's sync is under way when the others come; the second sync is for all of those."""
    files = Counting()
    async with new_volume(tmp_path, files) as volume:
        operations = Operations(volume, strict=True)
        await operations.mkdir(ROOT, b"first", FOLDER, CTX)
        volume.barriers._average_s = 1.0  # a slow disk
        files.syncs = 0
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(operations.mkdir, ROOT, b"%d" % number, FOLDER, CTX)
        assert files.syncs <= 3
        assert volume.journal.durable_seq == volume.journal.appended_seq
