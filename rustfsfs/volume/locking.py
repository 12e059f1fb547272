"""The lock file: one process at a time has a volume open; the lock says which, and where it is mounted."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rustfsfs.errors import InUse, MachineTrouble

NAME = "lock"


@contextmanager
def locked(path: str, *, mount_point: str | None) -> Iterator[None]:
    """Hold the lock of the volume at `path`. Raises InUse naming the process, MachineTrouble (read-only directory).

    The kernel lets go when the process ends, however it ends; the file stays.
    """
    file = f"{path}/{NAME}"
    try:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise MachineTrouble(f"{file} cannot be written ({exc.strerror}); check the disk and who you are") from exc
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise InUse(_who(path, holder(path))) from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "mount_point": mount_point}).encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


@contextmanager
def locked_disk(path: str) -> Iterator[None]:
    """Hold a disk's directory: two volumes, one perhaps a copy of the other, must never write to the same packs.

    Raises InUse. A disk that is no real directory (a test's double) has no lock.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise InUse(f"the disk {path} is in use by another volume; is this volume a copy of that one?") from exc
        yield
    finally:
        os.close(fd)


def is_locked(path: str) -> bool:
    """Does a living process have the volume open?"""
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
        with open(f"{path}/{NAME}", "rb") as file:
            found = json.loads(file.read() or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _who(path: str, found: dict[str, object]) -> str:
    where = f"mounted on {found['mount_point']}" if found.get("mount_point") else "in use"
    return f"{path} is already {where} by process {found.get('pid', 'unknown')}; unmount it there first"
