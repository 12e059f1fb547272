"""The lock file: one process at a time has a volume open; the lock says which, and where it is mounted.

On a file system that is read-only nobody can change the volume: there readers share the lock, and nothing is written.
"""

import errno
import fcntl
import json
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rustfsfs.errors import InUse, MachineTrouble
from rustfsfs.volume import mountinfo

NAME = "lock"
TRIES, PAUSE_S = 20, 0.01


@dataclass
class Lock:
    """While it is held. `trouble`, if set, is left in the file for whoever waits for the end: `umount`."""

    trouble: str | None = None


@contextmanager
def locked(path: str, *, mount_point: str | None, read_only: bool = False) -> Iterator[Lock]:
    """Hold the lock of the volume at `path`. Raises InUse naming the process, MachineTrouble (it cannot be written).

    The kernel lets go when the process ends, however it ends; the file stays.
    """
    lock = Lock()
    if read_only and os.statvfs(path).f_flag & os.ST_RDONLY:
        with _shared(path):
            yield lock
        return
    fd = _open(path)
    try:
        _take(fd, fcntl.LOCK_EX, path)
        _say(fd, {"pid": os.getpid(), "mount_point": mount_point})
        try:
            yield lock
        finally:
            _say(fd, {"trouble": lock.trouble} if lock.trouble else {})  # so that no dead process is ever named
    finally:
        os.close(fd)


def _say(fd: int, what: dict[str, object]) -> None:
    """On a disk that is full, or read-only by now, there may be no way to; the lock holds all the same."""
    with suppress(OSError):
        os.ftruncate(fd, 0)
        if what:
            os.pwrite(fd, json.dumps(what).encode(), 0)


def last_trouble(path: str) -> str | None:
    """Why the process that held the lock last did not end in good order, if it could say."""
    found = holder(path).get("trouble")
    return found if isinstance(found, str) else None


def _open(path: str) -> int:
    file = f"{path}/{NAME}"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno == errno.EROFS:
            raise MachineTrouble(f"{path} is on a read-only file system, and this would change it") from exc
        raise MachineTrouble(f"{file} cannot be written ({exc.strerror}); check the disk and who you are") from exc


def _take(fd: int, how: int, path: str) -> None:
    """Who only asks (`is_locked`) holds the lock for a moment and writes nothing: that one is waited for."""
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return
        except BlockingIOError as exc:
            found = holder(path)
            if found.get("pid") or not left:
                raise InUse(_who(path, found)) from exc
            select.select([], [], [], PAUSE_S)


@contextmanager
def _shared(path: str) -> Iterator[None]:
    try:
        fd = os.open(f"{path}/{NAME}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # never opened before its file system became read-only
        yield
        return
    try:
        _take(fd, fcntl.LOCK_SH, path)
        yield
    finally:
        os.close(fd)


class DiskLocks:
    """The disks' directories, held: two volumes, one perhaps a copy of the other, never write to the same packs."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}  # path -> descriptor

    def take(self, path: str, *, is_shared: bool = False) -> None:
        """Raises InUse. A disk that is no real directory (a test's double) has no lock.

        is_shared   nobody can write there
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            raise InUse(f"the disk {path} is in use by another volume; is this volume a copy of that one?") from exc
        self._held[path] = fd

    def release(self, path: str) -> None:
        """Fine if it is not held."""
        fd = self._held.pop(path, None)
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> "DiskLocks":
        return self

    def __exit__(self, *_exc: object) -> None:
        for path in list(self._held):
            self.release(path)


def is_locked(path: str) -> bool:
    """Does a living process have the volume open, and may change it?"""
    try:
        fd = os.open(f"{path}/{NAME}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(path: str) -> dict[str, object]:
    """What the holder wrote: {"pid", "mount_point"}; empty when nobody did."""
    try:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return _known_to_kernel(f"{path}/{NAME}")
        with open(f"{path}/{NAME}", "rb") as file:
            found = json.loads(file.read() or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _known_to_kernel(file: str) -> dict[str, object]:
    """What a file that could not be written says may be of a process long gone: /proc/locks knows (proc(5))."""
    found = os.stat(file)
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with open("/proc/locks", encoding="ascii") as lines:
        for line in lines:
            fields = line.split()
            if wanted in fields:
                return {"pid": int(fields[fields.index(wanted) - 1])}
    return {}


def _who(path: str, found: dict[str, object]) -> str:
    point, process = found.get("mount_point"), f"process {found.get('pid', 'unknown')}"
    if not point:
        return f"{path} is in use by {process}; wait until that has ended"
    if any(mount.point == point and mount.source == path for mount in mountinfo.mounts()):
        return f"{path} is already mounted on {point} by {process}; unmount it there first"
    return (
        f"{path} is in use by {process}, which mounts it on {point} just now, or ends there: after a lazy unmount when"
        " the last program lets go of it"
    )
