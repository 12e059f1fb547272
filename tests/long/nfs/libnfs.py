"""A client of NFSv3 in user space: what is needed of Debian's libnfs 4.0, through ctypes.

The synchronous calls let go of the GIL, so each thread may have a client. A client belongs to one thread. When the
server is gone, calls wait until it is back and send their requests again, as a hard mount does.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARY = "libnfs.so.13"
UID = 1000  # root is squashed


class Attributes(ctypes.Structure):
    """struct nfs_stat_64"""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks"),
            *("atime", "mtime", "ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used"),
        )
    ]


class _Entry(ctypes.Structure):
    """The beginning of struct nfsdirent."""


_Entry._fields_ = [("next", ctypes.POINTER(_Entry)), ("name", ctypes.c_char_p), ("inode", ctypes.c_uint64)]


def _library() -> ctypes.CDLL:
    found = ctypes.CDLL(LIBRARY)
    found.nfs_init_context.restype = ctypes.c_void_p
    found.nfs_parse_url_dir.restype = ctypes.c_void_p
    found.nfs_get_error.restype = ctypes.c_char_p
    found.nfs_readdir.restype = ctypes.POINTER(_Entry)
    return found


class Client:
    """Paths are from the export's root. Every method raises OSError with the server's answer."""

    def __init__(self, export: str, *, nfs_port: int, mount_port: int) -> None:
        self._nfs = _library()
        self._context = ctypes.c_void_p(self._nfs.nfs_init_context())
        url = f"nfs://127.0.0.1{export}?version=3&nfsport={nfs_port}&mountport={mount_port}&uid={UID}&gid={UID}"
        parsed = self._nfs.nfs_parse_url_dir(self._context, f"{url}&autoreconnect=-1".encode())
        assert parsed, self._said()
        self._nfs.nfs_destroy_url(ctypes.c_void_p(parsed))
        self._call("nfs_set_dircache", 0)
        self._done(self._call("nfs_mount", b"127.0.0.1", export.encode()), "mount")

    def _call(self, name: str, *arguments: object) -> int:
        result: int = getattr(self._nfs, name)(self._context, *arguments)
        return result

    def _said(self) -> str:
        return str(self._nfs.nfs_get_error(self._context))

    def _done(self, result: int, what: str) -> int:
        if result < 0:
            raise OSError(-result, f"{what}: {self._said()}")
        return result

    def _named(self, call: str, *names: str) -> None:
        self._done(self._call(call, *(name.encode() for name in names)), f"{call} {names}")

    # --- names ---------------------------------------------------------------------------------------------------

    def mkdir(self, path: str) -> None:
        self._named("nfs_mkdir", path)

    def rmdir(self, path: str) -> None:
        self._named("nfs_rmdir", path)

    def unlink(self, path: str) -> None:
        self._named("nfs_unlink", path)

    def rename(self, path: str, new: str) -> None:
        self._named("nfs_rename", path, new)

    def link(self, path: str, new: str) -> None:
        self._named("nfs_link", path, new)

    def symlink(self, target: str, path: str) -> None:
        self._named("nfs_symlink", target, path)

    def readlink(self, path: str) -> str:
        buffer = ctypes.create_string_buffer(4096)
        self._done(self._call("nfs_readlink", path.encode(), buffer, len(buffer)), f"readlink {path}")
        return buffer.value.decode()

    def names(self, path: str) -> list[str]:
        """As the server lists them, `.` and `..` left out."""
        listing = ctypes.c_void_p()
        self._done(self._call("nfs_opendir", path.encode(), ctypes.byref(listing)), f"opendir {path}")
        found = []
        while entry := self._nfs.nfs_readdir(self._context, listing):
            found.append(entry.contents.name.decode())
        self._nfs.nfs_closedir(self._context, listing)
        return [name for name in found if name not in (".", "..")]

    # --- attributes ----------------------------------------------------------------------------------------------

    def stat(self, path: str) -> Attributes:
        """Symbolic links are not followed."""
        found = Attributes()
        self._done(self._call("nfs_lstat64", path.encode(), ctypes.byref(found)), f"stat {path}")
        return found

    def truncate(self, path: str, size_bytes: int) -> None:
        self._done(self._call("nfs_truncate", path.encode(), ctypes.c_uint64(size_bytes)), f"truncate {path}")

    def chmod(self, path: str, mode: int) -> None:
        self._done(self._call("nfs_chmod", path.encode(), mode), f"chmod {path}")

    # --- contents ------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int = os.O_RDWR | os.O_CREAT) -> "File":
        handle = ctypes.c_void_p()
        self._done(self._call("nfs_open2", path.encode(), flags, 0o644, ctypes.byref(handle)), f"open {path}")
        return File(self, handle)

    @contextmanager
    def opened(self, path: str, flags: int = os.O_RDWR | os.O_CREAT) -> "Iterator[File]":
        file = self.open(path, flags)
        try:
            yield file
        finally:
            file.close()

    def put(self, path: str, data: bytes) -> None:
        """A file with these contents, committed."""
        with self.opened(path) as file:
            file.write(0, data)
            file.commit()

    def get(self, path: str) -> bytes:
        with self.opened(path, os.O_RDONLY) as file:
            return file.read(0, self.stat(path).size)

    def close(self) -> None:
        self._nfs.nfs_destroy_context(self._context)


class File:
    """An open file: the client keeps its handle, the server keeps nothing (NFSv3)."""

    def __init__(self, client: Client, handle: ctypes.c_void_p) -> None:
        self._client = client
        self._handle = handle

    def write(self, offset: int, data: bytes) -> None:
        """Acknowledged, not committed (UNSTABLE), unless it was opened with O_SYNC."""
        skip = 0
        while skip < len(data):
            rest = data[skip:]
            where = (ctypes.c_uint64(offset + skip), ctypes.c_uint64(len(rest)))
            skip += self._client._done(self._client._call("nfs_pwrite", self._handle, *where, rest), "write")

    def read(self, offset: int, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            buffer = ctypes.create_string_buffer(size - len(found))
            where = (ctypes.c_uint64(offset + len(found)), ctypes.c_uint64(len(buffer)))
            count = self._client._done(self._client._call("nfs_pread", self._handle, *where, buffer), "read")
            if not count:
                break
            found += buffer.raw[:count]
        return bytes(found)

    def commit(self) -> None:
        """COMMIT: what was written is on the disk on return."""
        self._client._done(self._client._call("nfs_fsync", self._handle), "commit")

    def size(self) -> int:
        found = Attributes()
        self._client._done(self._client._call("nfs_fstat64", self._handle, ctypes.byref(found)), "fstat")
        return int(found.size)

    def close(self) -> None:
        self._client._call("nfs_close", self._handle)
