"""A device number for a mount that is the same at every mount: NFS-Ganesha makes it a part of each handle.

File systems without a device of their own are 0:N to the kernel, which takes the lowest N that is free: what else is
mounted decides, and after a restart all handles of Ganesha's clients might be stale. Nobody can ask for an N. So for
the moment of mounting all lower ones are taken, by file systems in memory that nobody sees. (The kernel's NFS server
does without: there the volume's uuid is in the handle.)
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

NUMBER_MIN, NUMBERS = (
    1024,
    1024,
)  # above what a host uses; 3 960 took 0.21 s and 0.21 s to close, and as many descriptors
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432  # system calls, the same on all architectures; linux 5.2
FSCONFIG_CMD_CREATE = 6

_libc = ctypes.CDLL(None, use_errno=True)


def number_of(uuid: bytes) -> int:
    """The minor number that a volume's mount is to have."""
    return NUMBER_MIN + int.from_bytes(uuid, "big") % NUMBERS


@contextmanager
def next_is(number: int) -> Iterator[None]:
    """Inside, the next mount gets this number, unless it is in use, or somebody else mounts at the same moment.

    Where the kernel or its permissions do not let us, inside is as outside: whoever needs it looks afterwards.
    """
    held: list[int] = []
    try:
        try:
            while not held or _minor(held[-1]) < number:
                held.append(_unseen())
            os.close(held.pop())  # it is the one, or the first above it
        except OSError:
            _close(held)  # mounting needs descriptors too
        yield
    finally:
        _close(held)


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def _unseen() -> int:
    """A descriptor of a file system that is mounted nowhere; it ends with it."""
    context = _call(FSOPEN, b"ramfs", 0)
    try:
        _call(FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)
        return _call(FSMOUNT, context, 0, 0)
    finally:
        os.close(context)


def _call(*arguments: object) -> int:
    result = int(_libc.syscall(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _minor(fd: int) -> int:
    return os.minor(os.fstat(fd).st_dev)
