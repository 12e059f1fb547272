"""Copying a tree out of a volume to a directory, past what cannot be read: every good byte of every file comes along.

The target is walked with one directory descriptor at a time, so neither depth nor the length of paths has a limit.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from rustfsfs.content.ranges import Extent, clip
from rustfsfs.errors import DamagedData, MachineTrouble, StoreError, UsageError
from rustfsfs.meta import extents, inodes
from rustfsfs.meta.inodes import Attributes
from rustfsfs.units import MIB
from rustfsfs.volume import listing, reading
from rustfsfs.volume.collecting import Progress
from rustfsfs.volume.volume import Volume

READ_SIZE = 4 * MIB
PAGE = 1000  # names looked up at once
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no later file would fare better
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Range(NamedTuple):
    start: int
    end: int


async def export_tree(volume: Volume, row: Attributes, source: str, target: str, *, progress: Progress) -> list[str]:
    """Copy `row`, which is at `source` in the volume, into the directory `target`; the volume's root becomes `target`.

    Returns what could not be read or made, a line each. Raises UsageError (`target` is no directory), MachineTrouble
    (it cannot be used, or is full).
    """
    base = _target_directory(target)
    parts = [part for part in source.split("/") if part not in ("", ".")]
    exporter = _Exporter(volume, base, "/" + "/".join(parts[:-1]), progress)
    try:
        if parts:
            await exporter.copy(row, parts[-1])
        else:
            await exporter.copy_root(row)
    except OSError as exc:
        raise MachineTrouble(f"{target} takes no more ({exc.strerror}); what was copied so far is there") from exc
    finally:
        exporter.close()
    return exporter.trouble


def _target_directory(path: str) -> int:
    try:
        os.makedirs(path, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError) as exc:
        raise UsageError(f"{path} is not a directory, or below something that is none") from exc
    except OSError as exc:
        raise MachineTrouble(f"the directory {path} cannot be used ({exc.strerror})") from exc


@dataclass(slots=True)
class _Folder:
    """A directory that is being copied."""

    row: Attributes
    name: str
    children: Iterator[tuple[str, Attributes]]


class _Exporter:
    """Writes a tree; hard links stay hard links. `base` is the target's descriptor, and ours to close."""

    def __init__(self, volume: Volume, base: int, above: str, progress: Progress) -> None:
        self.trouble: list[str] = []
        self._volume, self._progress = volume, progress
        self._above = above.rstrip("/")  # path in the volume of what `base` stands for
        self._base = base
        self._here = os.dup(base)
        self._stack: list[_Folder] = []
        self._made: dict[int, list[str]] = {}  # inode with several names -> where it is below `base`
        self._done = 0

    def close(self) -> None:
        os.close(self._here)
        os.close(self._base)

    async def copy_root(self, row: Attributes) -> None:
        self._stack.append(_Folder(row, "", self._children(row)))
        await self._walk()

    async def copy(self, row: Attributes, name: str) -> None:
        await self._put(row, name)
        await self._walk()

    async def _walk(self) -> None:
        while self._stack:
            child = next(self._stack[-1].children, None)
            if child is None:
                self._leave()
            else:
                await self._put(child[1], child[0])

    def _children(self, row: Attributes) -> Iterator[tuple[str, Attributes]]:
        cookie = listing.DOT_DOT_COOKIE
        while page := listing.page(self._volume, row.inode, cookie, PAGE):
            yield from ((os.fsdecode(name), child) for name, _cookie, child in page)
            cookie = page[-1][1]

    async def _put(self, row: Attributes, name: str) -> None:
        """Make one inode in the present directory; a directory becomes the present one."""
        running = self._volume.metadata.running
        self._done += 1
        self._progress(self._done, running.files + running.directories, "exporting")
        at = f"/proc/self/fd/{self._here}/{name}"
        try:
            if row.inode in self._made:
                self._link(self._made[row.inode], at)
                return
            if row.is_directory:
                self._enter(row, name, at)
                return
            await self._make(row, name, at)
            if row.nlink > 1:
                self._made[row.inode] = [*self._names(), name]
            self._copy_attributes(row, name, at)
        except FileExistsError:
            self._say(name, "is there already in the target, and was left as it is")
        except OSError as exc:
            if exc.errno in FATAL:
                raise
            self._say(name, f"cannot be made in the target ({exc.strerror})")

    def _names(self) -> list[str]:
        return [folder.name for folder in self._stack if folder.name]

    def _say(self, name: str, text: str) -> None:
        self.trouble.append(f"{'/'.join([self._above, *self._names(), *([name] if name else [])]) or '/'}: {text}")

    def _enter(self, row: Attributes, name: str, at: str) -> None:
        try:
            os.mkdir(at, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(at).st_mode):
                raise
        inner = os.open(at, FOLDER_FLAGS)
        os.close(self._here)
        self._here = inner
        self._stack.append(_Folder(row, name, self._children(row)))

    def _leave(self) -> None:
        """Attributes last: writing into a directory changes its times, and its mode may forbid it."""
        above = os.open("..", FOLDER_FLAGS, dir_fd=self._here) if self._stack[-1].name else os.dup(self._base)
        folder = self._stack[-1]
        try:
            self._copy_attributes(folder.row, "", f"/proc/self/fd/{self._here}/.")
        finally:
            self._stack.pop()
            os.close(self._here)
            self._here = above

    def _link(self, first: list[str], at: str) -> None:
        """A hard link to what is at `first`, names below the base."""
        folder = os.dup(self._base)
        try:
            for name in first[:-1]:
                inner = os.open(name, FOLDER_FLAGS, dir_fd=folder)
                os.close(folder)
                folder = inner
            os.link(f"/proc/self/fd/{folder}/{first[-1]}", at, follow_symlinks=False)
        finally:
            os.close(folder)

    async def _make(self, row: Attributes, name: str, at: str) -> None:
        if row.is_file:
            fd = os.open(at, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                for bad in await copy_contents(self._volume, row, fd):
                    self._say(name, f"bytes {bad.start} to {bad.end - 1} cannot be read, and are zeros in the copy")
            finally:
                os.close(fd)
        elif stat.S_ISLNK(row.mode):
            os.symlink(inodes.target(self._volume.metadata, row.inode) or b"", os.fsencode(at))
        else:
            os.mknod(at, row.mode, row.rdev)

    def _copy_attributes(self, row: Attributes, name: str, at: str) -> None:
        """Owner, mode, xattrs, times: each as far as the target and our rights allow."""
        for what, step in self._attribute_steps(row, at):
            try:
                step()
            except OSError as exc:
                if exc.errno in FATAL:
                    raise
                self._say(name, f"its {what} cannot be kept ({exc.strerror})")

    def _attribute_steps(self, row: Attributes, at: str) -> Iterator[tuple[str, Callable[[], None]]]:
        """In an order in which none undoes another: chown clears set-user-ID bits, and all change times."""
        if os.geteuid() == 0:
            yield "owner", partial(os.chown, at, row.uid, row.gid, follow_symlinks=False)
        if not stat.S_ISLNK(row.mode):
            yield "mode", partial(os.chmod, at, stat.S_IMODE(row.mode))
            for xattr in inodes.xattr_names(self._volume.metadata, row.inode):
                value = inodes.get_xattr(self._volume.metadata, row.inode, xattr) or b""
                yield f"attribute {os.fsdecode(xattr)}", partial(os.setxattr, at, xattr, value)
        yield "times", partial(os.utime, at, ns=(row.atime_ns, row.mtime_ns), follow_symlinks=False)


async def copy_contents(volume: Volume, row: Attributes, fd: int) -> list[Range]:
    """Write a file's bytes at their offsets, leaving its holes; returns the ranges that cannot be read: holes too.

    Raises OSError.
    """
    bad: list[Range] = []
    for run in data_runs(volume, row):
        bad += await _copy_run(volume, row, fd, run)
    os.ftruncate(fd, row.size_bytes)
    return joined(bad)


def data_runs(volume: Volume, row: Attributes) -> Iterator[list[Extent]]:
    """Extents without a hole between them, in order, at most READ_SIZE together."""
    at = 0
    while at < row.size_bytes:
        end = min(at + READ_SIZE, row.size_bytes)
        found = [clip(extent, at, end) for extent in extents.overlapping(volume.metadata, row.fork, at, end)]
        if not found:
            sql = "SELECT min(offset) FROM extents WHERE fork = ? AND offset >= ?"
            following = volume.metadata.rows(sql, (row.fork, end))[0][0]
            if following is None:
                return
            at = following
            continue
        run = [found[0]]
        for extent in found[1:]:
            if extent.offset != run[-1].end:
                yield run
                run = []
            run.append(extent)
        yield run
        at = end


async def _copy_run(volume: Volume, row: Attributes, fd: int, run: list[Extent]) -> list[Range]:
    """One read if all is well, else one for each extent, so that only what is damaged is missing."""
    start, end = run[0].offset, run[-1].end
    try:
        data = await reading.read(volume, row.inode, start, end - start)
    except (DamagedData, StoreError):
        if len(run) == 1:
            return [Range(start, end)]
        return [bad for extent in run for bad in await _copy_run(volume, row, fd, [extent])]
    _write(fd, memoryview(data), start)
    return []


def _write(fd: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(fd, data, offset)
        data, offset = data[done:], offset + done


def joined(ranges: list[Range]) -> list[Range]:
    """Sorted ranges, neighbours made one."""
    found: list[Range] = []
    for item in ranges:
        if found and found[-1].end == item.start:
            found[-1] = Range(found[-1].start, item.end)
        else:
            found.append(item)
    return found
