"""fsck: every invariant that can be checked, changing nothing; each finding is one line with the file's path."""

from collections.abc import Callable, Iterator, Mapping

from rustfsfs.content import codec
from rustfsfs.content.keys import Keys
from rustfsfs.errors import DamagedData, DamagedMetadata, StoreError
from rustfsfs.journal.journal import Journal
from rustfsfs.meta import checks, chunks
from rustfsfs.meta.chunks import Pack
from rustfsfs.meta.database import Metadata
from rustfsfs.ops import Place
from rustfsfs.store.base import PackStore
from rustfsfs.units import PackNo
from rustfsfs.volume import coldchecking, paths

Progress = Callable[[int, int, str], None]
HOT_PER_STEP = 1000


def check_all(
    metadata: Metadata,
    disks: Mapping[int, PackStore],
    journal: Journal,
    keys: Keys,
    uuid: bytes,
    *,
    data: bool,
    step: Progress,
    way: coldchecking.Way | None = None,
) -> list[str]:
    """All that fsck looks for, with `data` every stored byte. Where the metadata cannot be read, that is a finding.

    way   to what only the bucket has; None: that is not looked at
    """
    parts = [check_metadata(metadata), check_packs(metadata, disks, step)]
    if data:
        parts.append(check_data(metadata, disks, journal, keys, uuid, step))
    if data and way is not None and metadata.is_tiered:
        parts.append(coldchecking.check_cold(metadata, way, keys, uuid, step))
    return [line for part in parts for line in until_damage(part)]


def until_damage(findings: Iterator[str]) -> Iterator[str]:
    """As far as the metadata can be read; that it cannot is the last finding."""
    try:
        yield from findings
    except DamagedMetadata as exc:
        yield str(exc)


def check_pages(metadata: Metadata) -> Iterator[str]:
    """Findings in the pages of the database."""
    yield from (finding.text for finding in checks.check_pages(metadata))


def check_metadata(metadata: Metadata, *, marked: bool = True) -> Iterator[str]:
    """Findings in the tables, and in what they say of each other; `marked` as for `checks.check`."""
    for finding in checks.check(metadata, marked=marked):
        where: list[str] = []
        if finding.inode is not None:
            where = paths.paths_of(metadata, finding.inode)
        elif finding.fork is not None:
            where = paths.paths_of_fork(metadata, finding.fork)
        yield finding.text + (f": {', '.join(where)}" if where else "")


def check_packs(metadata: Metadata, disks: Mapping[int, PackStore], step: Progress) -> Iterator[str]:
    """Is every pack a row names there, and long enough for its frames?

    step   as for `check_data`
    """
    rows = chunks.packs(metadata)
    for done, row in enumerate(rows):
        disk = disks.get(row.disk)
        if row.is_cold:
            continue
        if disk is None:
            if row.live_bytes:
                yield f"pack {row.pack} cannot be checked: disk {row.disk} is missing"
            continue
        why = _trouble_of_pack(metadata, row, disk)
        if why is not None:
            step(done, len(rows), "checking packs")
            why = _trouble_of_pack(metadata, row, disk)  # unless it was dropped meanwhile
        if why is not None:
            yield from _blame(metadata, row, why)


def _trouble_of_pack(metadata: Metadata, row: Pack, disk: PackStore) -> str | None:
    end = metadata.rows(
        "SELECT max(offset + stored_bytes) FROM places WHERE disk = ? AND pack = ?", (row.disk, row.pack)
    )
    if end[0][0] is None:
        return None
    try:
        size_bytes = disk.pack_size(PackNo(row.pack))
    except StoreError as exc:
        return str(exc)
    return f"it ends at {size_bytes}, its frames at {end[0][0]}" if size_bytes < end[0][0] else None


def _blame(metadata: Metadata, row: Pack, why: str) -> Iterator[str]:
    """One line for each file that needs the pack."""
    named: dict[str, None] = {}
    for chunk, _place in chunks.live_in(metadata, row.pack, row.disk):
        named.update(dict.fromkeys(paths.paths_of_chunk(metadata, chunk.chunk)))
    for path in named or {"no file": None}:
        yield f"pack {row.pack} on disk {row.disk}: {why}: {path}"


def check_data(
    metadata: Metadata, disks: Mapping[int, PackStore], journal: Journal, keys: Keys, uuid: bytes, step: Progress
) -> Iterator[str]:
    """Read and verify every frame, every copy, and every hot piece, as far as it lies on disks.

    step   called between any two packs, for progress. On a mounted volume it lets the connection see a newer COMMIT,
           and what is found there is looked at again: it may have been dropped since.
    """
    rows = chunks.packs(metadata)
    for done, row in enumerate(rows):
        step(done, len(rows), "verifying packs")
        disk = disks.get(row.disk)
        if disk is None or row.is_cold:
            continue
        bad = [(chunk, place, why) for chunk, place, why in _bad_frames(metadata, row, disk, keys, uuid)]
        why_ends = _trouble_of_ends(metadata, row, disk)
        if bad or why_ends is not None:
            step(done, len(rows), "verifying packs")
        if why_ends is not None and chunks.find_pack(metadata, row.pack, row.disk) is not None:
            yield f"pack {row.pack} on disk {row.disk}: {why_ends}: its frames are readable all the same"
        for chunk, place, why in bad:
            if place in chunks.places(metadata, chunk):
                for path in paths.paths_of_chunk(metadata, chunk) or ["no file"]:
                    yield f"pack {row.pack} on disk {row.disk}, chunk {chunk}: {why}: {path}"
    step(len(rows), len(rows), "verifying packs")
    yield from check_hot(metadata, journal, step)


def _trouble_of_ends(metadata: Metadata, row: Pack, disk: PackStore) -> str | None:
    """Is a pack's header its own, and does a closed one's directory name all that lives in it?

    Both are needed when the database is lost.
    """
    try:
        disk.check_header(PackNo(row.pack))
    except (DamagedData, StoreError) as exc:
        return f"its header: {exc}"
    if not row.is_closed:
        return None
    try:
        named = {(entry.offset, entry.chunk_id) for entry in disk.read_directory(PackNo(row.pack))}
    except (DamagedData, StoreError) as exc:
        return f"its directory: {exc}"
    live = {(place.offset, bytes(chunk.chunk_id)) for chunk, place in chunks.live_in(metadata, row.pack, row.disk)}
    return None if live <= named else "its directory lacks frames that live in it"


def _bad_frames(
    metadata: Metadata, row: Pack, disk: PackStore, keys: Keys, uuid: bytes
) -> Iterator[tuple[int, Place, str]]:
    """(chunk, place, what is wrong) of the live frames of a pack that do not open."""
    for chunk, place in chunks.live_in(metadata, row.pack, row.disk):
        try:
            frame = disk.read(PackNo(place.pack), place.offset, place.stored_bytes)
            codec.open_frame(frame, chunk_id=chunk.chunk_id, plain_bytes=chunk.plain_bytes, keys=keys, uuid=uuid)
        except (DamagedData, StoreError) as exc:
            yield chunk.chunk, place, str(exc)


_HOT = "SELECT fork, offset, length, segment, base, skip, total FROM extents"


def check_hot(metadata: Metadata, journal: Journal, step: Progress) -> Iterator[str]:
    """Read and verify every hot piece. `step` as for `check_data`."""
    after, done = (0, -1), 0
    while True:
        step(done, max(done, 1), "verifying hot data")
        sql = f"{_HOT} WHERE (fork, offset) > (?, ?) AND segment > 0 ORDER BY fork, offset LIMIT ?"
        found = metadata.rows(sql, (*after, HOT_PER_STEP))
        bad = [(row, why) for row in found if (why := _trouble_of_hot(journal, row)) is not None]
        if bad:
            step(done, max(done, 1), "verifying hot data")
        for row, why in bad:
            fork, offset = row[:2]
            if metadata.rows(f"{_HOT} WHERE fork = ? AND offset = ?", (fork, offset)) == [row]:
                for path in paths.paths_of_fork(metadata, fork) or [f"fork {fork}"]:
                    yield f"hot data at {offset}: {why}: {path}"
        done += len(found)
        if len(found) < HOT_PER_STEP:
            return
        after = found[-1][0], found[-1][1]


def _trouble_of_hot(journal: Journal, row: tuple[int, ...]) -> str | None:
    _fork, _offset, length, segment, base, skip, total = row
    try:
        journal.read(segment, base, total, skip, length)
    except (DamagedData, StoreError) as exc:
        return str(exc)
    return None
