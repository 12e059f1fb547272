"""fsck: every invariant that can be checked, changing nothing; each finding is one line with the file's path."""

from collections.abc import Callable, Iterator, Mapping

from rustfsfs.content import codec
from rustfsfs.content.keys import Keys
from rustfsfs.errors import DamagedData, StoreError
from rustfsfs.journal.journal import Journal
from rustfsfs.meta import checks, chunks
from rustfsfs.meta.chunks import Pack
from rustfsfs.meta.database import Metadata
from rustfsfs.store.base import PackStore
from rustfsfs.units import PackNo
from rustfsfs.volume import paths

Progress = Callable[[int, int, str], None]
HOT_PER_STEP = 1000


def check_metadata(metadata: Metadata) -> Iterator[str]:
    """Findings in the tables, and in what they say of each other."""
    for finding in checks.check(metadata):
        where: list[str] = []
        if finding.inode is not None:
            where = paths.paths_of(metadata, finding.inode)
        elif finding.fork is not None:
            where = paths.paths_of_fork(metadata, finding.fork)
        yield finding.text + (f": {', '.join(where)}" if where else "")


def check_packs(metadata: Metadata, disks: Mapping[int, PackStore]) -> Iterator[str]:
    """Is every pack a row names there, and long enough for its frames?"""
    for row in chunks.packs(metadata):
        disk = disks.get(row.disk)
        if disk is None:
            if row.live_bytes:
                yield f"pack {row.pack} cannot be checked: disk {row.disk} is missing"
            continue
        end = metadata.rows(
            "SELECT coalesce(max(offset + stored_bytes), 0) FROM places WHERE disk = ? AND pack = ?",
            (row.disk, row.pack),
        )[0][0]
        try:
            size_bytes = disk.pack_size(PackNo(row.pack))
        except StoreError as exc:
            yield from _blame(metadata, row, str(exc))
            continue
        if size_bytes < end:
            yield from _blame(metadata, row, f"it ends at {size_bytes}, its frames at {end}")


def _blame(metadata: Metadata, row: Pack, why: str) -> Iterator[str]:
    """One line for each file that needs the pack."""
    named: dict[str, None] = {}
    for chunk, _place in chunks.live_in(metadata, row.pack, row.disk):
        named.update(dict.fromkeys(paths.paths_of_chunk(metadata, chunk.chunk)))
    for path in named or {"no file": None}:
        yield f"pack {row.pack} on disk {row.disk}: {why}: {path}"


def check_data(
    metadata: Metadata, disks: Mapping[int, PackStore], journal: Journal, keys: Keys, uuid: bytes, progress: Progress
) -> Iterator[str]:
    """Read and verify every frame, every copy, and every hot piece."""
    rows = chunks.packs(metadata)
    for done, row in enumerate(rows):
        progress(done, len(rows), "verifying packs")
        disk = disks.get(row.disk)
        if disk is None:
            continue
        for chunk, place in chunks.live_in(metadata, row.pack, row.disk):
            try:
                frame = disk.read(PackNo(place.pack), place.offset, place.stored_bytes)
                codec.open_frame(frame, chunk_id=chunk.chunk_id, plain_bytes=chunk.plain_bytes, keys=keys, uuid=uuid)
            except (DamagedData, StoreError) as exc:
                for path in paths.paths_of_chunk(metadata, chunk.chunk) or ["no file"]:
                    yield f"pack {row.pack} on disk {row.disk}, chunk {chunk.chunk}: {exc}: {path}"
    progress(len(rows), len(rows), "verifying packs")
    yield from _check_hot(metadata, journal)


def _check_hot(metadata: Metadata, journal: Journal) -> Iterator[str]:
    after = (0, -1)
    while True:
        found = metadata.rows(
            "SELECT fork, offset, length, segment, base, skip, total FROM extents WHERE (fork, offset) > (?, ?)"
            " AND segment > 0 ORDER BY fork, offset LIMIT ?",
            (*after, HOT_PER_STEP),
        )
        for fork, offset, length, segment, base, skip, total in found:
            try:
                journal.read(segment, base, total, skip, length)
            except (DamagedData, StoreError) as exc:
                for path in paths.paths_of_fork(metadata, fork) or [f"fork {fork}"]:
                    yield f"hot data at {offset}: {exc}: {path}"
        if len(found) < HOT_PER_STEP:
            return
        after = found[-1][0], found[-1][1]
