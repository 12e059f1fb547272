"""A disk that fails as it is told: `world.Files`, and a VFS for SQLite's own files, which fail at chosen calls.

Around real files for a daemon (`tests/daemon.py`), around the double of the crash tests for a volume in this process.
"""

import errno
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import apsw

from rustfsfs.world import Files, Space

SHORT = "short"  # the first half of a write is done, and no error is told
SQLITE_ERRORS: dict[str, tuple[int, type[apsw.Error]]] = {  # as SQLite's unix VFS tells them, whatever the errno
    "xRead": (apsw.SQLITE_IOERR_READ, apsw.IOError),
    "xOpen": (apsw.SQLITE_CANTOPEN, apsw.CantOpenError),
    "xWrite": (apsw.SQLITE_IOERR_WRITE, apsw.IOError),
    "xSync": (apsw.SQLITE_IOERR_FSYNC, apsw.IOError),
    "xTruncate": (apsw.SQLITE_IOERR_TRUNCATE, apsw.IOError),
    "xDelete": (apsw.SQLITE_IOERR_DELETE, apsw.IOError),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Calls of `action` on paths that hold `word` fail: `count` of them, after `skip` that go well.

    action   a method of `Files`, or of SQLite's VFS (xWrite and so on)
    how      the name of an errno, or SHORT
    """

    action: str
    word: str = ""
    how: str = "EIO"
    skip: int = 0
    count: int = 1


@dataclass
class Faults:
    """What is to fail, what was called, and what has failed. For any thread."""

    planned: list[Fault] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)  # "action file" -> how often
    failed: list[str] = field(default_factory=list)  # "action path how"
    _seen: Counter[Fault] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, *faults: Fault) -> None:
        """From now on these, and no others."""
        with self._lock:
            self.planned = list(faults)
            self._seen.clear()

    def met(self, action: str, path: str) -> str | None:
        """How this call fails, if it does."""
        with self._lock:
            self.calls[f"{action} {os.path.basename(path)}"] += 1
            for fault in self.planned:
                if fault.action != action or fault.word not in path:
                    continue
                self._seen[fault] += 1
                if fault.skip < self._seen[fault] <= fault.skip + fault.count:
                    self.failed.append(f"{action} {path} {fault.how}")
                    return fault.how
        return None

    def check(self, action: str, path: str) -> None:
        """Raises OSError if this call is to fail."""
        how = self.met(action, path)
        if how is not None:
            raise _os_error(how, path)


def _os_error(how: str, path: str) -> OSError:
    number = int(getattr(errno, how))
    return OSError(number, os.strerror(number), path)


class FaultyFiles:
    """`Files` around others. A failed write or sync does nothing; a create that fails leaves no file."""

    def __init__(self, files: Files, faults: Faults) -> None:
        self._files = files
        self._faults = faults
        self._paths: dict[int, str] = {}

    def _opened(self, fd: int, path: str) -> int:
        self._paths[fd] = path
        return fd

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        self._faults.check("create", path)
        return self._opened(self._files.create(path, allocate_bytes=allocate_bytes), path)

    def open(self, path: str, *, write: bool = False) -> int:
        self._faults.check("open", path)
        return self._opened(self._files.open(path, write=write), path)

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        self._files.close(fd)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        how = self._faults.met("pwrite", self._paths[fd])
        if how == SHORT:
            return self._files.pwrite(fd, memoryview(data)[: len(data) // 2], offset)
        if how is not None:
            raise _os_error(how, self._paths[fd])
        return self._files.pwrite(fd, data, offset)

    def pwrite_much(self, fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int) -> int:
        how = self._faults.met("pwrite", self._paths[fd])
        if how is not None and how != SHORT:
            raise _os_error(how, self._paths[fd])
        if how == SHORT:
            parts = [b"".join(parts)[: sum(map(len, parts)) // 2]]
        return self._files.pwrite_much(fd, parts, offset)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self._faults.check("pread", self._paths[fd])
        return self._files.pread(fd, size, offset)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | memoryview | None:
        return self._files.pread_cached(fd, size, offset)

    def will_need(self, fd: int, offset: int, size_bytes: int) -> None:
        self._files.will_need(fd, offset, size_bytes)

    def missing_pages(self, path: str) -> int:
        return self._files.missing_pages(path)

    def want_pages(self, path: str) -> None:
        self._files.want_pages(path)

    def sync(self, fd: int) -> None:
        self._faults.check("sync", self._paths[fd])
        self._files.sync(fd)

    def sync_dir(self, path: str) -> None:
        self._faults.check("sync_dir", path)
        self._files.sync_dir(path)

    def truncate(self, fd: int, size_bytes: int) -> None:
        self._faults.check("truncate", self._paths[fd])
        self._files.truncate(fd, size_bytes)

    def size(self, path: str) -> int:
        return self._files.size(path)

    def exists(self, path: str) -> bool:
        return self._files.exists(path)

    def names(self, path: str) -> list[str]:
        return self._files.names(path)

    def mkdir(self, path: str) -> None:
        self._faults.check("mkdir", path)
        self._files.mkdir(path)

    def rename(self, old: str, new: str) -> None:
        self._faults.check("rename", new)
        self._files.rename(old, new)

    def unlink(self, path: str) -> None:
        self._faults.check("unlink", path)
        self._files.unlink(path)

    def punch(self, fd: int, offset: int, size_bytes: int) -> None:
        self._files.punch(fd, offset, size_bytes)

    def forget_pages(self, fd: int) -> None:
        self._files.forget_pages(fd)

    def space(self, path: str) -> Space:
        return self._files.space(path)


class FaultyVfs(apsw.VFS):
    """SQLite's files around another VFS. Files without a name are called "temporary"."""

    def __init__(self, name: str, base: str, faults: Faults) -> None:
        super().__init__(name, base)
        self.sealed = f"multipleciphers-{name}"  # the cipher's own layer above it: what a World names
        self._base = base
        self.faults = faults

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = "temporary" if name is None else name if isinstance(name, str) else name.filename()
        self.check("xOpen", path)
        return FaultyVfsFile(self, self._base, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.check("xDelete", filename)
        super().xDelete(filename, syncdir)

    def check(self, action: str, path: str) -> None:
        """Raises what SQLite's own VFS would say."""
        how = self.faults.met(action, path)
        if how is None:
            return
        if action == "xWrite" and how in ("ENOSPC", SHORT):
            raise apsw.FullError(f"{action} {path} {how}")
        code, kind = SQLITE_ERRORS[action]
        exc = kind(f"{action} {path} {how}")
        exc.extendedresult = code  # type: ignore[attr-defined]  # where apsw looks for it
        raise exc


class FaultyVfsFile(apsw.VFSFile):
    def __init__(
        self, vfs: FaultyVfs, base: str, path: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__(base, name if name is not None else "", flags)
        self._vfs = vfs
        self._path = path

    def xRead(self, amount: int, offset: int) -> bytes:
        self._vfs.check("xRead", self._path)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.check("xWrite", self._path)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._vfs.check("xTruncate", self._path)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._vfs.check("xSync", self._path)
        super().xSync(flags)
