"""One operation of the model test: drawn by a seed, done the same way on any directory, and its outcome as a value.

An outcome is what an application sees: a result, or an errno by name. Paths are relative to the tree's root.
"""

import ctypes
import errno
import mmap
import os
import random
import stat
import struct
from collections.abc import Callable
from typing import Any

NAMES = [b"a", b"b", b"c", b"d", b"e"]
FOLDERS = [b"", b"D1", b"D2", b"D1/S"]
USERS = [(0, 0), (1000, 1000), (1001, 1000), (1002, 1002)]
SIZES = [0, 1, 100, 4095, 4096, 70_000, 300_000, 1_100_000]
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2
_libc = ctypes.CDLL(None, use_errno=True)
Outcome = tuple[Any, ...]


def renameat2(old: bytes, new: bytes, flags: int) -> None:
    if _libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def path_of(draw: random.Random) -> bytes:
    folder, name = draw.choice(FOLDERS), draw.choice([*NAMES, b"D1", b"D2", b"S"])
    return os.path.join(folder, name) if folder else name


class Draw:
    """Draws operations as plain tuples (name, arguments): they can be printed, dropped and done again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def operation(self) -> tuple[Any, ...]:
        draw = self.random
        name = draw.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
        return name, draw.choice(USERS) if draw.random() < 0.3 else (0, 0), *ARGUMENTS[name](draw)


def _data(draw: random.Random) -> tuple[int, int]:
    return draw.randrange(1000), draw.choice(SIZES)


def data_of(seed: int, size: int) -> bytes:
    """Noise, text or zeros, by the seed."""
    if seed % 5 == 0:
        return bytes(size)
    if seed % 5 == 1:
        return (b"line %d of a text that compresses\n" % seed * (size // 30 + 1))[:size]
    return random.Random(seed).randbytes(size)


def create(path: bytes, flags: int, mode: int, seed: int, size: int) -> Outcome:
    fd = os.open(path, flags | os.O_NONBLOCK, mode)  # a FIFO must not make us wait
    try:
        return ("wrote", os.write(fd, data_of(seed, size)) if size and flags & os.O_ACCMODE else 0)
    finally:
        os.close(fd)


def write_at(path: bytes, offset: int, seed: int, size: int) -> Outcome:
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return ("wrote", os.pwrite(fd, data_of(seed, size), offset))
    finally:
        os.close(fd)


def read_at(path: bytes, offset: int, size: int) -> Outcome:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return ("read", os.pread(fd, size, offset))
    finally:
        os.close(fd)


def map_and_write(path: bytes, at: int) -> Outcome:
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        size = os.fstat(fd).st_size
        if not size:
            return ("empty",)
        with mmap.mmap(fd, size) as view:
            view[at % size] = 0x5A
            view.flush()
            return ("mapped", view[at % size])
    finally:
        os.close(fd)


def unlink_open(path: bytes, seed: int) -> Outcome:
    """The file lives on behind its descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.unlink(path)
        os.pwrite(fd, data_of(seed, 5000), 100)
        found = os.fstat(fd)
        return ("orphan", found.st_nlink, found.st_size, os.pread(fd, 6000, 0))
    finally:
        os.close(fd)


def node(path: bytes, kind: int, mode: int) -> Outcome:
    os.mknod(path, kind | mode, os.makedev(1, 3) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0)
    return ("made",)


def done(work: Callable[..., Any]) -> Callable[..., Outcome]:
    def run(*arguments: Any) -> Outcome:
        work(*arguments)
        return ("done",)

    return run


def acl(entries: list[tuple[int, int, int]]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFFFFFF


def set_acl(path: bytes, name: str, owner: int, user: int, mask: int, other: int) -> Outcome:
    mask |= 1  # with set-group-ID but without group execute the kernel itself differs, see test_against_ext4
    value = acl([(1, owner, NO_ID), (2, user, 1001), (4, 5, NO_ID), (16, mask, NO_ID), (32, other, NO_ID)])
    os.setxattr(path, name, value)
    return ("set",)


def touch(path: bytes, atime_ns: int, mtime_ns: int) -> Outcome:
    os.utime(path, ns=(atime_ns, mtime_ns))
    found = os.stat(path)
    return ("times", found.st_atime_ns, found.st_mtime_ns)


OPERATIONS: dict[str, Callable[..., Outcome]] = {
    "create": create,
    "write": write_at,
    "read": read_at,
    "mmap": map_and_write,
    "unlink open": unlink_open,
    "truncate": done(os.truncate),
    "rename": done(os.rename),
    "rename flags": done(renameat2),
    "link": done(lambda old, new: os.link(old, new, follow_symlinks=False)),
    "symlink": done(os.symlink),
    "readlink": lambda path: ("leads to", os.readlink(path)),
    "unlink": done(os.unlink),
    "mkdir": done(os.mkdir),
    "rmdir": done(os.rmdir),
    "mknod": node,
    "chmod": done(os.chmod),
    "chown": done(lambda path, uid, gid: os.chown(path, uid, gid, follow_symlinks=False)),
    "utime": touch,
    "setxattr": done(os.setxattr),
    "getxattr": lambda path, name: ("is", os.getxattr(path, name)),
    "removexattr": done(os.removexattr),
    "acl": set_acl,
    "access": lambda path, mode: ("access", os.access(path, mode, effective_ids=True)),
}
WEIGHTS = {
    "create": 14, "write": 14, "read": 6, "mmap": 3, "unlink open": 3, "truncate": 8, "rename": 8, "rename flags": 4,
    "link": 5, "symlink": 3, "readlink": 1, "unlink": 6, "mkdir": 6, "rmdir": 4, "mknod": 2, "chmod": 6, "chown": 4,
    "utime": 2, "setxattr": 5, "getxattr": 2, "removexattr": 2, "acl": 4, "access": 3,
}  # fmt: skip
FLAGS = [
    os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_WRONLY | os.O_APPEND,
    os.O_RDONLY,
    os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC,
    os.O_RDONLY | os.O_DIRECTORY,
    os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW,
]
MODES = [0o644, 0o600, 0o666, 0o777, 0o755, 0o4755, 0o2755, 0o1777, 0o2775, 0o000, 0o640]
XATTRS = ["user.one", "user.two", "trusted.three", "user." + "n" * 249, "user." + "n" * 251, "bad"]
OFFSETS = [0, 1, 4096, 65_536, 200_000, 1_000_000, 3_000_000]
KINDS = [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFREG]


def _one(draw: random.Random) -> tuple[bytes]:
    return (path_of(draw),)


ARGUMENTS: dict[str, Callable[[random.Random], tuple[Any, ...]]] = {
    "create": lambda d: (path_of(d), d.choice(FLAGS), d.choice(MODES), *_data(d)),
    "write": lambda d: (path_of(d), d.choice(OFFSETS) + d.randrange(3), *_data(d)),
    "read": lambda d: (path_of(d), d.choice(OFFSETS), d.choice(SIZES)),
    "mmap": lambda d: (path_of(d), d.randrange(1 << 22)),
    "unlink open": lambda d: (path_of(d), d.randrange(1000)),
    "truncate": lambda d: (path_of(d), d.choice([0, 1, 5000, 65_536, 250_001, 2_000_000, -1, (1 << 63) - 1])),
    "rename": lambda d: (path_of(d), path_of(d)),
    "rename flags": lambda d: (path_of(d), path_of(d), d.choice([NOREPLACE, EXCHANGE, EXCHANGE, 3])),
    "link": lambda d: (path_of(d), path_of(d)),
    "symlink": lambda d: (d.choice([b"a", b"D1/a", b"missing", b"./x", b"t" * 4095, b""]), path_of(d)),
    "readlink": _one,
    "unlink": _one,
    "mkdir": lambda d: (d.choice([path_of(d), b"n" * 255, b"n" * 256]), d.choice(MODES)),
    "rmdir": lambda d: (d.choice([path_of(d), b"n" * 255, b"D1/.", b"D1/.."]),),
    "mknod": lambda d: (path_of(d), d.choice(KINDS), d.choice(MODES)),
    "chmod": lambda d: (path_of(d), d.choice(MODES)),
    "chown": lambda d: (path_of(d), d.choice([0, 1000, 1001, -1]), d.choice([0, 1000, 1002, -1])),
    "utime": lambda d: (path_of(d), d.randrange(1, 2**60), d.randrange(1, 2**60)),
    "setxattr": lambda d: (path_of(d), d.choice(XATTRS), b"v" * d.choice([0, 1, 100, 300]), d.choice([0, 0, 1, 2])),
    "getxattr": lambda d: (path_of(d), d.choice(XATTRS)),
    "removexattr": lambda d: (path_of(d), d.choice(XATTRS)),
    "acl": lambda d: (
        path_of(d),
        d.choice(["system.posix_acl_access", "system.posix_acl_default"]),
        *(d.randrange(8) for _ in range(4)),
    ),
    "access": lambda d: (path_of(d), d.choice([os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK])),
}


def carry_out(operation: tuple[Any, ...]) -> Outcome:
    """Do it in the current directory, as who it says; the outcome, never an exception."""
    name, _user, *arguments = operation
    try:
        return OPERATIONS[name](*arguments)
    except OSError as exc:
        return ("failed", errno.errorcode.get(exc.errno or 0, str(exc.errno)))
    except (ValueError, OverflowError) as exc:
        return ("refused by Python", type(exc).__name__)
