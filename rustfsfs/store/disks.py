"""Packs on a local disk: DISK/packs/HH/NNNNNNNNNNNNNNNN.pack, HH the low byte of the number."""

import errno
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rustfsfs.content import codec
from rustfsfs.content.keys import Keys
from rustfsfs.errors import DamagedData, NoSpace, PackMissing, RustfsfsError, StoreUnavailable
from rustfsfs.store import layout
from rustfsfs.store.headers import read_disk_header
from rustfsfs.store.layout import DirectoryEntry
from rustfsfs.units import KIB, DiskNo, PackNo
from rustfsfs.world import Files, Space, World, opened

FOLDER, SUFFIX = "packs", ".pack"
UNFINISHED = ".new"  # of a pack that comes back from the bucket
OPEN_FILES_MAX = 256
SMALL = 32 * KIB  # a frame of at most so many bytes is a small file's, and lies beside its neighbours in the tree,
NEIGHBOURHOOD = 256 * KIB  # of which so much is read with it


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """OSError becomes ours: missing, full, or out of order."""
    try:
        yield
    except FileNotFoundError as exc:
        raise PackMissing(f"{what} is missing") from exc
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no room for {what}") from exc
        raise StoreUnavailable(f"{what} cannot be used ({exc.strerror})") from exc


class LocalDisk:
    """A `PackStore` in a directory of a local file system."""

    def __init__(self, *, world: World, path: str, number: DiskNo, uuid: bytes, volume_uuid: bytes, keys: Keys) -> None:
        self.path = path
        self.number = number
        self.uuid = uuid
        self._world = world
        self._files = world.files
        self._volume_uuid = volume_uuid
        self._keys = keys
        self._lock = threading.Lock()
        self._open: OrderedDict[int, list[int]] = OrderedDict()  # pack -> [descriptor, readers]

    def pack_path(self, pack: int) -> str:
        return f"{self.path}/{FOLDER}/{pack & 0xFF:02x}/{pack:016x}{SUFFIX}"

    def create_pack(self, pack: PackNo) -> "PackWriter":
        path = self.pack_path(pack)
        folder = path.rpartition("/")[0]
        self._ensure_there()
        with self.writing(path):
            self._files.mkdir(folder)  # the one above is as durable as the disk's header, which came after it
            fd = self._files.create(path)
        header = layout.encode_header(pack, volume_uuid=self._volume_uuid, disk_uuid=self.uuid)
        writer = PackWriter(self, fd, pack, folder)
        try:
            writer.write(header)
        except (NoSpace, StoreUnavailable):
            self._files.close(fd)
            with suppress(OSError):  # the next mount deletes it
                self._files.unlink(path)
            raise
        return writer

    def read(self, pack: PackNo | int, offset: int, size: int) -> bytes:
        with _translated(self.pack_path(pack)), self._descriptor(pack) as fd:
            if size <= SMALL:
                self._files.will_need(fd, offset // NEIGHBOURHOOD * NEIGHBOURHOOD, NEIGHBOURHOOD)
            data = self._files.pread(fd, size, offset)
        if len(data) != size:
            raise DamagedData(f"{self.pack_path(pack)} ends before byte {offset + size}")
        return data

    def read_cached(self, pack: PackNo | int, offset: int, size: int) -> bytes | memoryview | None:
        if not self._lock.acquire(blocking=False):
            return None  # somebody may be opening a file, which may wait for the disk
        try:
            held = self._open.get(pack)
            if held is None:
                return None
            self._open.move_to_end(pack)
            return self._files.pread_cached(held[0], size, offset)
        except OSError:
            return None
        finally:
            self._lock.release()

    @contextmanager
    def _descriptor(self, pack: int) -> Iterator[int]:
        """An open descriptor, kept for the next reader; none is closed while somebody reads from it."""
        with self._lock:
            held = self._open.get(pack)
            if held is None:
                held = self._open[pack] = [self._files.open(self.pack_path(pack)), 0]
            self._open.move_to_end(pack)
            held[1] += 1
            self._shrink()
        try:
            yield held[0]
        finally:
            with self._lock:
                held[1] -= 1
                if not held[1] and self._open.get(pack) is not held:
                    self._files.close(held[0])

    def _shrink(self) -> None:
        if len(self._open) <= OPEN_FILES_MAX:
            return
        for pack, (fd, readers) in self._open.items():
            if not readers:
                self._files.close(fd)
                del self._open[pack]
                return

    def _forget(self, pack: int) -> None:
        with self._lock:
            held = self._open.pop(pack, None)
            if held is not None and not held[1]:
                self._files.close(held[0])

    def delete(self, pack: PackNo | int) -> None:
        self._forget(pack)
        with _translated(self.pack_path(pack)):
            self._files.unlink(self.pack_path(pack))

    def sweep(self) -> None:
        root = f"{self.path}/{FOLDER}"
        with _translated(root):
            for folder in self._files.names(root):
                for name in self._files.names(f"{root}/{folder}"):
                    if name.endswith(UNFINISHED):
                        self._files.unlink(f"{root}/{folder}/{name}")

    def packs(self) -> list[PackNo]:
        root = f"{self.path}/{FOLDER}"
        with _translated(root):
            found = [
                PackNo(int(name.removesuffix(SUFFIX), 16))
                for folder in self._files.names(root)
                for name in self._files.names(f"{root}/{folder}")
                if name.endswith(SUFFIX)
            ]
        return sorted(found)

    def pack_size(self, pack: PackNo | int) -> int:
        with _translated(self.pack_path(pack)):
            return self._files.size(self.pack_path(pack))

    def read_directory(self, pack: PackNo | int) -> list[DirectoryEntry]:
        size = self.pack_size(pack)
        if size < layout.HEADER_SIZE + layout.TRAILER_SIZE:
            raise DamagedData(f"{self.pack_path(pack)} has no directory")
        offset, length = layout.decode_trailer(self.read(pack, size - layout.TRAILER_SIZE, layout.TRAILER_SIZE))
        data = self.read(pack, offset, length)
        return layout.decode_directory(data, pack=pack, offset=offset, key=self._keys.directory, uuid=self._volume_uuid)

    def check_header(self, pack: PackNo | int) -> None:
        if layout.decode_header(self.read(pack, 0, layout.HEADER_SIZE)) != (pack, self._volume_uuid, self.uuid):
            raise DamagedData(f"{self.pack_path(pack)} has the header of another pack")

    def scan_frames(self, pack: PackNo | int) -> list[DirectoryEntry]:
        entries, offset, size = [], layout.HEADER_SIZE, self.pack_size(pack)
        while offset + codec.HEADER_SIZE <= size:
            head = self.read(pack, offset, codec.HEADER_SIZE)
            try:
                found = codec.open_frame_header(head, keys=self._keys, uuid=self._volume_uuid)
            except DamagedData:
                break
            entries.append(DirectoryEntry(offset, found.frame_bytes, found.chunk_id, found.plain_bytes))
            offset += found.frame_bytes
        return entries

    def finish_pack(self, pack: PackNo, end: int, entries: list[DirectoryEntry]) -> None:
        path, end = self.pack_path(pack), max(end, layout.HEADER_SIZE)
        if self.pack_size(pack) < end:
            raise DamagedData(f"{path} ends before its last frame")
        with _translated(path), opened(self._files, path, write=True) as fd:
            self._files.truncate(fd, end)
            self._put(fd, self.directory(entries, pack=pack, offset=end), end, path)
            self._files.sync(fd)

    def adopt_pack(self, pack: PackNo, parts: Sequence[bytes]) -> None:
        path = self.pack_path(pack)
        folder = path.rpartition("/")[0]
        self._forget(pack)
        self._ensure_there()
        with self.writing(path):
            self._files.mkdir(folder)
            self._files.unlink(path + UNFINISHED)
            fd = self._files.create(path + UNFINISHED)
            try:
                done = self._files.pwrite_much(fd, parts, 0)
                self._files.sync(fd)
            finally:
                self._files.close(fd)
            if done != sum(map(len, parts)):
                self._files.unlink(path + UNFINISHED)
                raise NoSpace(f"no room for {path}")
            self._files.rename(path + UNFINISHED, path)
            self._files.sync_dir(folder)
            self._files.sync_dir(f"{self.path}/{FOLDER}")

    def directory(self, entries: list[DirectoryEntry], *, pack: int, offset: int) -> bytes:
        salt = self._world.random_bytes(layout.DIRECTORY_SALT_SIZE)
        return layout.encode_directory(
            entries, pack=pack, offset=offset, key=self._keys.directory, uuid=self._volume_uuid, salt=salt
        )

    def _put(self, fd: int, data: bytes, offset: int, path: str) -> None:
        if self._files.pwrite(fd, data, offset) != len(data):
            raise NoSpace(f"no room for {path}")

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """As `_translated`; a folder that is gone is no missing pack, but a disk that takes none."""
        try:
            with _translated(what):
                yield
        except (PackMissing, StoreUnavailable) as exc:
            raise StoreUnavailable(str(exc), disk=self.number) from exc

    def _ensure_there(self) -> None:
        """Once its file system is unmounted, the disk's path is an empty directory of another one."""
        if not self.answers():
            raise StoreUnavailable(f"the disk {self.path} is not there any more; is it mounted?", disk=self.number)

    def close(self) -> None:
        with self._lock:
            held = list(self._open)
        for pack in held:
            self._forget(pack)

    def answers(self) -> bool:
        try:
            found = read_disk_header(self._files, self.path, keys=self._keys, uuid=self._volume_uuid)
        except (RustfsfsError, OSError):
            return False
        return found.disk_uuid == self.uuid

    def space(self) -> Space:
        with _translated(self.path):
            return self._files.space(self.path)


class PackWriter:
    """A `PackAppender`: one life of one process writes a pack, from its header to its directory."""

    def __init__(self, disk: LocalDisk, fd: int, pack: PackNo, folder: str) -> None:
        self.pack = pack
        self.size_bytes = 0
        self._disk = disk
        self._files: Files = disk._files
        self._fd = fd
        self._folder = folder
        self._entries: list[DirectoryEntry] = []
        self._name_is_durable = False
        self._failed = False

    def write(self, *parts: bytes | memoryview) -> int:
        """At the end; all of it or an error, and after an error no more."""
        path = self._disk.pack_path(self.pack)
        if self._failed:
            raise StoreUnavailable(f"{path} failed before and takes no more", disk=self._disk.number)
        offset = self.size_bytes
        try:
            with self._disk.writing(path):
                done = self._files.pwrite_much(self._fd, parts, offset)
            if done != sum(map(len, parts)):
                raise NoSpace(f"no room for {path}")
        except (NoSpace, StoreUnavailable):
            self._failed = True
            raise
        self.size_bytes = offset + done
        return offset

    def append(self, frames: Sequence[bytes | memoryview]) -> list[int]:
        offset, offsets = self.write(*frames), []
        for frame in frames:
            header = codec.open_frame_header(frame, keys=self._disk._keys, uuid=self._disk._volume_uuid)
            self._entries.append(DirectoryEntry(offset, len(frame), header.chunk_id, header.plain_bytes))
            offsets.append(offset)
            offset += len(frame)
        return offsets

    def sync(self) -> None:
        path = self._disk.pack_path(self.pack)
        if self._failed:
            raise StoreUnavailable(f"{path} failed before and cannot be made durable", disk=self._disk.number)
        try:
            with self._disk.writing(path):
                self._files.sync(self._fd)
                # Read again at once are few of them, and the next pack's pages come for nothing (DESIGN.md §14).
                with suppress(OSError):  # no file system has to know how
                    self._files.forget_pages(self._fd)
                if not self._name_is_durable:
                    self._files.sync_dir(self._folder)
                    self._files.sync_dir(f"{self._disk.path}/{FOLDER}")
                    self._name_is_durable = True
        except (NoSpace, StoreUnavailable):
            self._failed = True
            raise

    def abandon(self, end_bytes: int) -> None:
        """Keep what lies before `end_bytes`; 0: nothing of it. Never raises: what is left over, the next mount cuts."""
        try:
            if end_bytes:
                self._files.truncate(self._fd, end_bytes)
            else:
                self._files.unlink(self._disk.pack_path(self.pack))
        except OSError:
            pass
        finally:
            self._failed = True
            self._files.close(self._fd)

    def close(self) -> int:
        try:
            if not self._failed:
                self.write(self._disk.directory(self._entries, pack=self.pack, offset=self.size_bytes))
                self.sync()
            return self.size_bytes
        finally:
            self._files.close(self._fd)
