"""A small volume with something of everything, its older self, and where each stored object lies."""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import trio

from rustfsfs.config import Config
from rustfsfs.content.slots import AREA_SIZE, SLOT_SIZE
from rustfsfs.journal import layout
from rustfsfs.meta import chunks, disks
from rustfsfs.meta.database import PAGE_SIZE
from rustfsfs.meta.pages import BLOCK_SIZE
from rustfsfs.store.headers import DISK_HEADER, DISK_HEADER_COPY, VOLUME_HEADER
from rustfsfs.store.layout import HEADER_SIZE, TRAILER_SIZE, decode_trailer
from rustfsfs.units import PIECE_SIZE, PackNo
from rustfsfs.volume import collecting, commands, keys, names, snapshots, writing
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.pagesums import sums_path
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.volume.on_disk import Key, format_in, write_file

SEALED = {f"s{number}": random.Random(number).randbytes(120_000 + 30_000 * number) for number in range(5)}
HOT = {f"h{number}": random.Random(100 + number).randbytes(40_000 + 70_000 * number) for number in range(2)}
KINDS = ("frame", "directory", "pack header", "hot", "page", "page sums", "snapshot", "slot", "header", "disk header")


@dataclass(frozen=True)
class Stored:
    """One stored object: `size_bytes` at `offset` of a file; `files` are those whose contents need it alone."""

    kind: str
    path: Path
    offset: int
    size_bytes: int
    files: frozenset[str] = frozenset()


@dataclass
class Rottable:
    """A volume in `base`, for the length of a test; `older` is a copy of its directories from an hour before."""

    base: Path
    copies: int
    objects: list[Stored] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.base / "now" / "v"

    @property
    def disk_paths(self) -> list[Path]:
        return [self.base / "now" / "d1", self.base / "now" / "d2"] if self.copies == 2 else [self.path]

    def older(self, path: Path) -> Path:
        return self.base / "older" / path.relative_to(self.base / "now")

    def make(self) -> None:
        """Fill it, keep a copy, change some of it, and note where all lies."""
        (self.base / "now").mkdir()
        format_in(self.path, *(self.disk_paths if self.copies == 2 else []), copies=self.copies)
        trio.run(self._change, _fill)
        self.clean()
        shutil.copytree(self.base / "now", self.base / "older")
        trio.run(self._change, _go_on)
        self.clean()
        keys.add_slot(real_world(), str(self.path), opened_with=Key(), new=Key(value=b"another key" * 4))
        trio.run(self._look)
        self.clean()
        shutil.copytree(self.base / "now", self.base / "template")

    def restore(self) -> None:
        shutil.rmtree(self.base / "now")
        shutil.copytree(self.base / "template", self.base / "now")

    def clean(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)

    async def _change(self, work: object) -> None:
        async with opened_volume(real_world(), Opening(path=str(self.path), secret=Key(), config=Config())) as volume:
            await work(volume)  # type: ignore[operator]

    async def _look(self) -> None:
        how = Opening(path=str(self.path), secret=Key(), config=Config(), read_only=True)
        async with opened_volume(real_world(), how) as volume:
            self.contents = SEALED | HOT | {"s1": SEALED["s1"][:50_000] + b"changed" + SEALED["s1"][50_007:]}
            self.objects = [
                *_packs(volume, self.copies),
                *_hot(volume),
                *_pages(volume),
                *_snapshots(volume),
                *_headers(volume),
            ]


async def _fill(volume: Volume) -> None:
    for name, data in SEALED.items():
        await write_file(volume, name.encode(), data)
    await commands.seal(volume, {}, collecting.no_progress)
    for name, data in HOT.items():
        await write_file(volume, name.encode(), data)
    for number in range(600):  # several pages of names
        await write_file(volume, b"name%d" % number, b"")
    await snapshots.take(volume)


async def _go_on(volume: Volume) -> None:
    """Every kind of object comes to differ from its older self."""
    inode = names.lookup(volume, 1, b"s1").inode
    await writing.write(volume, inode, 50_000, b"changed")
    await commands.seal(volume, {}, collecting.no_progress)
    for name, data in HOT.items():  # sealed by now: hot again
        await writing.write(volume, names.lookup(volume, 1, name.encode()).inode, 0, data)
    for number in range(0, 600, 7):
        names.unlink(volume, 1, b"name%d" % number)
    await snapshots.take(volume)


def _packs(volume: Volume, copies: int) -> list[Stored]:
    found = []
    for row in chunks.packs(volume.metadata):
        store = volume.disks[row.disk]
        path = Path(store.pack_path(row.pack))  # type: ignore[attr-defined]
        for chunk, place in chunks.live_in(volume.metadata, row.pack, row.disk):
            files = _files_of(volume, chunk.chunk) if copies == 1 else frozenset[str]()
            found.append(Stored("frame", path, place.offset, place.stored_bytes, files))
        size_bytes = store.pack_size(PackNo(row.pack))
        trailer = store.read(row.pack, size_bytes - TRAILER_SIZE, TRAILER_SIZE)
        offset, length = decode_trailer(trailer)
        found.append(Stored("directory", path, offset, length + TRAILER_SIZE))
        found.append(Stored("pack header", path, 0, HEADER_SIZE))
    return found


def _files_of(volume: Volume, chunk: int) -> frozenset[str]:
    rows = volume.metadata.rows(
        "SELECT DISTINCT e.name FROM extents x JOIN inodes i USING (fork) JOIN entries e USING (inode)"
        " WHERE x.segment = 0 AND x.base = ?",
        (chunk,),
    )
    return frozenset(name.decode() for (name,) in rows)


def _hot(volume: Volume) -> list[Stored]:
    found = []
    rows = volume.metadata.rows(
        "SELECT e.name, x.segment, x.base, x.skip, x.length, x.total FROM extents x JOIN inodes i USING (fork)"
        " JOIN entries e USING (inode) WHERE x.segment > 0"
    )
    for name, segment, base, skip, length, total in rows:
        path = Path(volume.journal._segments[segment][0].path)
        first, last = skip // PIECE_SIZE, (skip + length - 1) // PIECE_SIZE
        for piece in range(first, last + 1):
            size_bytes = layout.piece_size(total, piece) + layout.PIECE_OVERHEAD
            found.append(
                Stored("hot", path, base + piece * layout.SEALED_PIECE_SIZE, size_bytes, frozenset({name.decode()}))
            )
    return found


def _pages(volume: Volume) -> list[Stored]:
    path = Path(volume.metadata.path)
    rows = volume.metadata.rows("SELECT pageno FROM dbstat ORDER BY pageno")
    sums = Path(sums_path(volume.metadata.path))
    found = [Stored("page", path, (number - 1) * PAGE_SIZE, PAGE_SIZE) for (number,) in rows]
    found += [Stored("page sums", sums, at, BLOCK_SIZE) for at in range(0, sums.stat().st_size, BLOCK_SIZE)]
    return found


def _snapshots(volume: Volume) -> list[Stored]:
    found = []
    for store in volume.disks.values():
        for snapshot in disks.snapshots(volume.metadata):
            path = Path(store.path, snapshots.FOLDER, snapshots.file_name(snapshot.epoch))
            for offset in range(0, path.stat().st_size, 5 * PAGE_SIZE):
                found.append(Stored("snapshot", path, offset, PAGE_SIZE))
    return found


def _headers(volume: Volume) -> list[Stored]:
    found = []
    folders = {volume.path, *(store.path for store in volume.disks.values())}
    for folder in sorted(folders):
        path = Path(folder, VOLUME_HEADER)
        found.append(Stored("header", path, 0, AREA_SIZE))
        found += [Stored("slot", path, AREA_SIZE + number * SLOT_SIZE, SLOT_SIZE) for number in range(3)]
    for store in volume.disks.values():
        for name in (DISK_HEADER, DISK_HEADER_COPY):
            path = Path(store.path, name)
            found.append(Stored("disk header", path, 0, path.stat().st_size))
    return found
