"""Disks whose file system is unmounted, hangs or takes no writes any more, as the crash tests' double has them."""

import errno
import os
import threading

from rustfsfs.world import Space
from tests.crash.disk import CrashFiles

BARE = "/beneath"  # what lies there is what was made in the mount points of disks that are gone


class Going(CrashFiles):
    """Everything below `gone` leads to the empty directory beneath it; what is open already still works (umount -l).

    mute     who asks for its space hears that there is no such directory
    silent   who asks for its space waits until `go`
    fixed    nothing below it can be written: the kernel made its file system read-only
    hanging  who writes to a file below it, or reads past the page cache, waits until `go`
    """

    def __init__(self) -> None:
        super().__init__()
        self.gone = self.mute = self.silent = self.fixed = self.hanging = "-"
        self.go = threading.Event()
        self.refused = 0  # writes below `fixed`
        self._paths: dict[int, str] = {}
        super().mkdir(BARE)

    @property
    def written_beneath(self) -> list[str]:
        return [path for path in [*self._names, *self._folders] if path.startswith(f"{BARE}/")]

    def _at(self, path: str) -> str:
        if path == self.gone or path.startswith(f"{self.gone}/"):
            return BARE + path[len(self.gone) :]
        return path

    def _wait(self, path: str) -> None:
        if path.startswith(f"{self.hanging}/"):
            assert self.go.wait(20)

    def _check(self, path: str) -> None:
        if path.startswith(f"{self.fixed}/"):
            self.refused += 1
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def create(self, path: str, *, allocate_bytes: int = 0) -> int:
        self._check(path)
        fd = super().create(self._at(path), allocate_bytes=allocate_bytes)
        self._paths[fd] = path
        return fd

    def open(self, path: str, *, write: bool = False) -> int:
        fd = super().open(self._at(path), write=write)
        self._paths[fd] = path
        return fd

    def forget_pages(self, fd: int) -> None:
        self._wait(self._paths.get(fd, ""))
        super().forget_pages(fd)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        self._check(self._paths.get(fd, ""))
        self._wait(self._paths.get(fd, ""))
        return super().pwrite(fd, data, offset)

    def sync_dir(self, path: str) -> None:
        super().sync_dir(self._at(path))

    def size(self, path: str) -> int:
        return super().size(self._at(path))

    def exists(self, path: str) -> bool:
        return super().exists(self._at(path))

    def names(self, path: str) -> list[str]:
        return super().names(self._at(path))

    def mkdir(self, path: str) -> None:
        super().mkdir(self._at(path))

    def rename(self, old: str, new: str) -> None:
        super().rename(self._at(old), self._at(new))

    def unlink(self, path: str) -> None:
        super().unlink(self._at(path))

    def space(self, path: str) -> Space:
        if path == self.silent:
            assert self.go.wait(20)
        if path == self.mute:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return super().space(self._at(path))
