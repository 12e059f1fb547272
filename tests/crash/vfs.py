"""SQLite's own files on the recording double: a VFS that tells a CrashFiles of every write, sync and name.

SQLite reads and writes real files in a scratch directory (WAL needs shared memory, which only a real VFS has); what a
power cut leaves of them, the double decides, as for all other files. Nothing is really synced.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from tests.crash.disk import CrashFiles

NAME = "crash"
SEALED = f"multipleciphers-{NAME}"  # the cipher's own layer above it
SQLITE_FILES = ("metadata.db", "metadata.db-wal")


class CrashVfs(apsw.VFS):
    """`disk` is told of everything that happens to files opened while it is set."""

    def __init__(self) -> None:
        super().__init__(NAME, "")
        self.disk = CrashFiles()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("", None, flags)
        path = name if isinstance(name, str) else name.filename()
        return CrashVfsFile(self.disk, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, False)
        _told(self.disk.unlink, filename)
        if syncdir:
            _told(self.disk.sync_dir, os.path.dirname(filename))


class CrashVfsFile(apsw.VFSFile):
    """One open file. A new one's name is synced with its first sync, as SQLite's unix VFS does for WAL and journal."""

    def __init__(self, disk: CrashFiles, path: str, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._path = path
        self._fd = disk.open(path, write=True) if disk.exists(path) else disk.create(path)
        self._is_main = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        self._is_name_synced = self._is_main

    def xWrite(self, data: bytes, offset: int) -> None:
        if _told(self._disk.pwrite, self._fd, data, offset) != len(data):
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        _told(self._disk.truncate, self._fd, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        _told(self._disk.sync, self._fd)
        if not self._is_name_synced:
            self._is_name_synced = True
            _told(self._disk.sync_dir, os.path.dirname(self._path))

    def xClose(self) -> None:
        super().xClose()
        self._disk.close(self._fd)


def _told(work: Callable[..., Any], *args: object) -> Any:
    try:
        return work(*args)
    except OSError as exc:
        raise (apsw.FullError if exc.errno == errno.ENOSPC else apsw.IOError)(str(exc)) from exc


VFS = CrashVfs()


def put_files(disk: CrashFiles, folder: Path) -> None:
    """SQLite's files in the scratch directory, as the disk holds them."""
    folder.mkdir(exist_ok=True)
    for name in [*SQLITE_FILES, "metadata.db-shm"]:
        (folder / name).unlink(missing_ok=True)
    for name in SQLITE_FILES:
        path = str(folder / name)
        if disk.exists(path):
            fd = disk.open(path)
            (folder / name).write_bytes(disk.pread(fd, disk.size(path), 0))
            disk.close(fd)
