"""A process of its own for one tree: does operations there as any user, and describes the tree.

It stands outside pytest so that a stuck mount sticks only here, and so that users can be changed for good.
"""

import errno
import hashlib
import os
import pickle
import select
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.model.operations import Outcome, carry_out

TIMEOUT_S = 60


class Actor:
    """Runs `python -m tests.model.actor ROOT` and asks it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.model.actor", str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], TIMEOUT_S)[0]:
            self._process.kill()
            raise AssertionError(f"no answer in {TIMEOUT_S} s to {request}")
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(TIMEOUT_S)


def act(operation: tuple[Any, ...]) -> Outcome:
    """As root here; as another user for the length of the operation (seteuid also drops the capabilities)."""
    uid, gid = operation[1]
    if (uid, gid) == (0, 0):
        return carry_out(operation)
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return carry_out(operation)
    finally:
        os.seteuid(0)
        os.setegid(0)


def describe(root: bytes) -> dict[bytes, tuple[Any, ...]]:
    """Everything that can be compared, by path. Hard links: the paths that share an inode."""
    found: dict[bytes, tuple[Any, ...]] = {}
    shared: dict[int, list[bytes]] = {}
    for folder, folders, files in os.walk(root):
        for name in [b".", *folders, *files]:
            path = os.path.normpath(os.path.join(folder, name))
            here = os.path.relpath(path, root)
            shared.setdefault(os.lstat(path).st_ino, []).append(here)
            found[here] = _describe(path)
    for paths in shared.values():
        for path in paths:
            found[path] = (*found[path], tuple(sorted(set(paths))))
    return found


def _describe(path: bytes) -> tuple[Any, ...]:
    row = os.lstat(path)
    kind, mode = stat.S_IFMT(row.st_mode), row.st_mode
    if kind == stat.S_IFREG and not mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID  # a known difference, see test_against_ext4
    size = row.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else None
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            contents: Any = hashlib.sha256(file.read()).hexdigest()
    else:
        contents = os.readlink(path) if kind == stat.S_IFLNK else None
    try:
        xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in _names(path)}
    except OSError as exc:
        xattrs = {"error": errno.errorcode[exc.errno or 0].encode()}
    return (oct(mode), row.st_nlink, row.st_uid, row.st_gid, size, row.st_rdev, contents, sorted(xattrs.items()))


def _names(path: bytes) -> list[str]:
    return os.listxattr(path, follow_symlinks=False)


def main(root: str) -> None:
    os.umask(0o022)
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        os.chdir(root)
        reply = describe(os.fsencode(root)) if request == "describe" else act(request)
        os.chdir("/")
        pickle.dump(reply, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
