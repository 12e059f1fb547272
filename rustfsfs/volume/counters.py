"""What requests add up to since the mount: plain numbers, changed in place by the front end. Read by `figures`."""

import errno
from dataclasses import dataclass, field

import trio

from rustfsfs.histogram import Histogram

OPERATIONS = (
    *("lookup", "mknod", "mkdir", "symlink", "create", "link", "unlink", "rmdir", "rename", "readlink"),
    *("getattr", "setattr", "statfs", "getxattr", "setxattr", "listxattr", "removexattr"),
    *("open", "read", "write", "release", "fsync", "opendir", "readdir", "releasedir", "fsyncdir"),
)  # the kinds; what has no answer (forget), or is asked once (flush), is none


TROUBLE = frozenset({errno.EIO, errno.ENOSPC, errno.EROFS, errno.EAGAIN})  # others are everyday: ENODATA, EEXIST, ...


def _operations() -> dict[str, Histogram]:
    return {name: Histogram() for name in OPERATIONS}


@dataclass(slots=True)
class Counters:
    """The trio thread's. An operation is counted when its answer is known, before the kernel hears it."""

    operations: dict[str, Histogram] = field(default_factory=_operations)  # from its arrival here to its answer
    errors: dict[tuple[str, int], int] = field(default_factory=dict)  # (operation, errno) -> how often that was it
    read_bytes: int = 0  # handed to the kernel, whose page cache answers much by itself
    written_bytes: int = 0
    pauses: Histogram = field(default_factory=Histogram)  # the gate was shut for a COMMIT
    asking: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))  # who asks disks for space

    def failed(self, operation: str, number: int) -> None:
        key = operation, number
        self.errors[key] = self.errors.get(key, 0) + 1

    @property
    def troubles(self) -> int:
        """How many operations failed for a reason that may be ours."""
        return sum(count for (_name, number), count in self.errors.items() if number in TROUBLE)
