"""What a copy of the metadata says of packs, against where they are: on a disk, in the bucket, or nowhere.

Only the copy is changed, before anybody mounts it. Packs that the bucket came to have after the copy was made are found
by their names, and by directories that open with the volume's key.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from rustfsfs import ops
from rustfsfs.content.keys import Keys
from rustfsfs.errors import DamagedData, ObjectFrozen, ObjectMissing, StoreError
from rustfsfs.meta import chunks, objects
from rustfsfs.meta.database import Metadata
from rustfsfs.store import layout
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import Bucket, ObjectFacts
from rustfsfs.store.cold import PACKS, pack_key, parse_pack_key
from rustfsfs.store.layout import TRAILER_SIZE, DirectoryEntry
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume.collecting import Progress


@dataclass(slots=True)
class Whereabouts:
    """Of the packs that something needs."""

    local: int = 0
    cold: int = 0  # in the bucket only, from now on
    found: list[PackKey] = field(default_factory=list)  # of those, what the copy did not know to be there
    nowhere: set[PackKey] = field(default_factory=set)
    newer: dict[PackKey, ObjectFacts] = field(default_factory=dict)  # in the bucket, and the copy does not name them
    lost: list[chunks.Chunk] = field(default_factory=list)
    healed: int = 0  # chunks that lie in a newer pack
    others: int = 0  # packs on disks that have only the numbers of those that the copy names


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A volume's bucket, and what opens what it holds."""

    bucket: Bucket
    keys: Keys
    uuid: bytes


def reconcile(
    metadata: Metadata,
    stores: Mapping[int, PackStore],
    source: Source,
    progress: Progress,
    *,
    unsure: Set[int] = frozenset(),
) -> Whereabouts:
    """In a transaction of the caller's. Blocking. Raises CloudUnavailable, CloudRefused.

    unsure   disks whose packs may be others than those that the metadata means: their directories are looked at

    Keeps: no pack number is given out that the bucket has an object of, or a disk a file.
    """
    progress(0, 1, "listing packs")
    there = packs_in(source.bucket)
    running, found = metadata.running, Whereabouts()
    local = {(int(pack), disk) for disk, store in stores.items() for pack in store.packs()}
    running.next_pack = max([running.next_pack, *(pack + 1 for pack, _disk in (*there, *local))])
    rows = chunks.packs(metadata)
    others = {
        (row.pack, row.disk)
        for row in rows
        if row.disk in unsure and (row.pack, row.disk) in local and not _holds(metadata, stores[row.disk], row)
    }
    local, found.others = local - others, len(others)
    for done, row in enumerate(rows):
        key, facts = (row.pack, row.disk), there.pop((row.pack, row.disk), None)
        if not row.live_bytes and not row.is_cold:
            continue
        if key in local and not row.is_cold:
            found.local += 1
            continue
        progress(done, len(rows), "looking for packs")
        if facts is not None and _is_it(metadata, facts, key, source, found):
            objects.demote(metadata, [key])
            found.cold += 1
        elif key in local:
            objects.recall(metadata, [key])
            found.local += 1
        elif row.live_bytes:
            found.nowhere.add(key)
    doomed = {(pack, disk) for pack, disk, _size in objects.doomed(metadata, -1)}
    found.newer = {key: facts for key, facts in there.items() if key not in doomed}
    if found.nowhere:
        found.lost = objects.lost_chunks(metadata, found.nowhere)
    if found.lost and found.newer:
        _heal(metadata, found, source, progress)
    return found


def packs_in(bucket: Bucket) -> dict[PackKey, ObjectFacts]:
    """All packs there, by one LIST."""
    return {key: facts for facts in bucket.list(PACKS) if (key := parse_pack_key(facts.key)) is not None}


def _holds(metadata: Metadata, store: PackStore, row: chunks.Pack) -> bool:
    """Has a pack on a disk each chunk where the copy says that it lies?"""
    wanted = metadata.rows(
        "SELECT p.offset, p.stored_bytes, c.chunk_id FROM places p JOIN chunks c USING (chunk)"
        " WHERE p.pack = ? AND p.disk = ?",
        (row.pack, row.disk),
    )
    try:
        entries = store.read_directory(row.pack) if row.is_closed else store.scan_frames(row.pack)
    except (DamagedData, StoreError):
        return False
    there = {(entry.offset, entry.stored_bytes, entry.chunk_id) for entry in entries}
    return all((offset, stored_bytes, bytes(chunk_id)) in there for offset, stored_bytes, chunk_id in wanted)


def _is_it(metadata: Metadata, facts: ObjectFacts, key: PackKey, source: Source, found: Whereabouts) -> bool:
    """Is an object the pack that a row names? One that the copy does not know of has to show its directory."""
    known = objects.find(metadata, *key)
    if known is not None and known.size_bytes == facts.size_bytes:
        return True
    if read_directory(source, facts, key) is None:
        return False
    _add(metadata, source.bucket, facts, key)
    found.found.append(key)
    return True


def _add(metadata: Metadata, bucket: Bucket, facts: ObjectFacts, key: PackKey) -> None:
    """As the ops do that are lost with the journal."""
    chunks.close_pack(metadata, *key)
    objects.add(metadata, uploaded(bucket, facts, key), seq=0)


def uploaded(bucket: Bucket, facts: ObjectFacts, key: PackKey) -> ops.Uploaded:
    """The op that recorded an object. Asks for its CRC-64, which LIST does not tell."""
    crc64 = bucket.head(facts.key).crc64
    return ops.Uploaded(
        pack=key[0],
        disk=key[1],
        size_bytes=facts.size_bytes,
        crc64=(crc64 or 0).to_bytes(8),
        placement=facts.placement.value,
        put_s=int(facts.modified_s),
    )


def read_directory(source: Source, facts: ObjectFacts, key: PackKey) -> Sequence[DirectoryEntry] | None:
    """What a pack's own directory names, two GETs; None if it does not open, or cannot be read now."""
    bucket, name, size_bytes = source.bucket, pack_key(*key), facts.size_bytes
    try:
        if size_bytes < layout.HEADER_SIZE + TRAILER_SIZE:
            return None
        offset, length = layout.decode_trailer(bucket.get(name, size_bytes - TRAILER_SIZE, TRAILER_SIZE))
        if offset + length + TRAILER_SIZE != size_bytes:
            return None
        data = bucket.get(name, offset, length)
        return layout.decode_directory(data, pack=key[0], offset=offset, key=source.keys.directory, uuid=source.uuid)
    except (DamagedData, ObjectMissing, ObjectFrozen):
        return None


def _heal(metadata: Metadata, found: Whereabouts, source: Source, progress: Progress) -> None:
    """Chunks of packs that are nowhere may have been moved to packs that only newer metadata names."""
    missing = {bytes(chunk.chunk_id): chunk for chunk in found.lost}
    for done, (key, facts) in enumerate(sorted(found.newer.items())):
        progress(done, len(found.newer), "looking into newer packs")
        entries = read_directory(source, facts, key) if missing else None
        if not entries or not any(entry.chunk_id in missing for entry in entries):
            continue
        pack, disk = key
        chunks.add_pack(metadata, pack, disk)
        for entry in entries:
            place = ops.Place(disk, pack, entry.offset, entry.stored_bytes)
            chunk = missing.pop(entry.chunk_id, None)
            if chunk is None:
                chunks.add_dead(metadata, place)
            else:
                _move(metadata, chunk.chunk, place, found.nowhere)
        _add(metadata, source.bucket, facts, key)
        objects.demote(metadata, [key])
        del found.newer[key]
    for key in found.nowhere:
        if (row := chunks.find_pack(metadata, *key)) is not None and not row.live_bytes:
            _drop(metadata, key)
    found.healed = len(found.lost) - len(missing)
    found.lost = list(missing.values())


def _move(metadata: Metadata, chunk: int, new: ops.Place, nowhere: Set[PackKey]) -> None:
    for place in chunks.places(metadata, chunk):
        if (place.pack, place.disk) in nowhere:
            chunks.remove_place(metadata, chunk, place)
    chunks.add_places(metadata, [(chunk, new)])


def _drop(metadata: Metadata, key: PackKey) -> None:
    """A pack that is nowhere, and that nothing needs any more."""
    seq = metadata.running.last_seq
    chunks.drop_pack(metadata, *key, seq=seq)
    chunks.forget_doomed(metadata, [key])
    objects.doom(metadata, *key, seq=seq)
