"""The verb that reads contents, and the way of a chunk from a pack into the cache.

No byte leaves before its tag was verified (I12): the journal and the codec see to that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.content import codec
from rustfsfs.content.aead import Buffer
from rustfsfs.content.ranges import Extent, clip
from rustfsfs.errors import (
    DamagedData,
    IsDirectory,
    ObjectMissing,
    PackMissing,
    RustfsfsError,
    StoreError,
    StoreUnavailable,
)
from rustfsfs.meta import chunks, extents, inodes, objects
from rustfsfs.meta.inodes import Attributes
from rustfsfs.store.base import PackStore
from rustfsfs.tiers.ahead import WINDOW_MAX, Range, plan_ahead
from rustfsfs.units import KIB, MIB
from rustfsfs.volume import coldreading, warming
from rustfsfs.volume.attributes import touch
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.recording import record
from rustfsfs.volume.tier import remember
from rustfsfs.volume.volume import Volume, log

INFLATED_AT_ONCE_MAX = 512 * KIB  # plain bytes decompressed on the loop: about 0.5 ms
INFLATED_AT_ONCE = 2  # extents of one read at most, for their chunks to be decompressed on the loop
NOTED_MIN = 64 * KIB  # bytes; the kernel asks for as much at least from whoever reads in order
RAW_STRETCH = 32 * MIB  # of a file: where nothing is compressed, so far on it is not looked again
READERS_KNOWN = 256  # files whose reader is remembered
EXTENTS_AT_ONCE = 300  # about 5 ms of a file written in crumbs; then others have their turn


class Located(NamedTuple):
    """A chunk and where it lay when it was looked up. Later it may move, or be nobody's: its bytes are pinned."""

    number: int
    row: chunks.Chunk | None  # None: there is none
    places: list[ops.Place]
    local: list[ops.Place]  # those of them whose pack lies on a disk,
    in_bucket: list[ops.Place]  # and those whose pack the bucket has


async def read(volume: Volume, inode: int, offset: int, size: int) -> Buffer:
    """At most `size` bytes at `offset`: fewer only at the end of the file. Holes read as zeros.

    Raises DamagedData, StoreError (EIO for this range; other ranges stay readable), NoSuchInode, IsDirectory.
    """
    row = inodes.get(volume.metadata, inode)
    if not row.is_file:
        raise IsDirectory("not a regular file")
    touch(volume, row)
    end = min(offset + size, row.size_bytes)
    if end <= offset:
        return b""
    if end - offset >= NOTED_MIN:
        note_reader(volume, row, offset, end)
    whole = extents.covering(volume.metadata, row.fork, offset, end)
    if whole is not None:
        part = clip(whole, offset, end)
        data = at_once(volume, part)
        return data if data is not None else (await fetch(volume, [part]))[0]
    parts: list[Buffer] = []
    at = offset
    while True:
        found = extents.first_overlapping(volume.metadata, row.fork, at, end, EXTENTS_AT_ONCE)
        is_all = len(found) < EXTENTS_AT_ONCE
        upto = end if is_all else min(found[-1].end, end)
        parts += await _read_parts(volume, [clip(extent, at, upto) for extent in found], at, upto)
        if upto == end:
            return b"".join(parts)
        at = upto
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        row = inodes.get(volume.metadata, inode)  # it may have changed: each part is as it was when it was read


async def _read_parts(volume: Volume, wanted: Sequence[Extent], start: int, end: int) -> list[Buffer]:
    """The bytes of [start, end), in as many buffers as it takes; `wanted` are all its extents."""
    inflated_max = INFLATED_AT_ONCE_MAX if len(wanted) <= INFLATED_AT_ONCE else 0
    looked = [at_once(volume, part, inflated_max=inflated_max) for part in wanted]
    missing = [part for part, data in zip(wanted, looked, strict=True) if data is None]
    fetched = iter(await fetch(volume, missing) if missing else ())
    parts: list[Buffer] = []
    for part, data in zip(wanted, looked, strict=True):
        if part.offset > start:
            parts.append(bytes(part.offset - start))
        parts.append(next(fetched) if data is None else data)
        start = part.end
    if end > start:
        parts.append(bytes(end - start))
    return parts


def cached(volume: Volume, part: Extent) -> Buffer | None:
    """The bytes of an extent if no disk has to be waited for and nothing decoded, else None."""
    if part.segment:
        return volume.journal.read_cached(part.segment, part.base, part.total, part.skip, part.length)
    number = _only_part(part)
    if number is not None and (key := (part.base, number)) in volume.cache:
        return _clipped(volume.cache.get(key), part.skip % codec.PART_SIZE, part.length)
    return _clipped(volume.cache.get(part.base), part.skip, part.length)


def _clipped(plain: bytes | None, skip: int, length: int) -> Buffer | None:
    return None if plain is None else memoryview(plain)[skip : skip + length]


def _only_part(extent: Extent) -> int | None:
    """Which part of its chunk an extent lies in, if in one only."""
    first, last = extent.skip // codec.PART_SIZE, (extent.skip + extent.length - 1) // codec.PART_SIZE
    return first if first == last else None


def at_once(volume: Volume, part: Extent, *, inflated_max: int = INFLATED_AT_ONCE_MAX) -> Buffer | None:
    """The bytes of an extent if no disk has to be waited for, and not much decompressed, else None."""
    data = cached(volume, part)
    return open_at_once(volume, part, inflated_max=inflated_max) if data is None and not part.segment else data


def open_at_once(volume: Volume, wanted: Extent, *, inflated_max: int = INFLATED_AT_ONCE_MAX) -> Buffer | None:
    """The bytes of an extent of a chunk whose frame is in the OS's cache; None if a worker has to see to it.

    A hop to a worker and back takes longer than opening a usual frame. What goes wrong here is for the worker to meet.
    What was decoded is kept, unless all of it is handed out: that the kernel keeps.
    """
    if volume.flights.is_under_way(wanted.base):
        return None
    row, places = (found := locate(volume, wanted.base)).row, found.local
    if row is None or not places or places[0].disk not in volume.disks:
        return None
    place = places[0]
    number = None if _is_raw(found) or row.plain_bytes <= codec.PART_SIZE else _only_part(wanted)
    if not _is_raw(found) and (row.plain_bytes if number is None else codec.PART_SIZE) > inflated_max:
        return None
    frame = volume.disks[place.disk].read_cached(place.pack, place.offset, place.stored_bytes)
    try:
        plain = None if frame is None else opened(volume, row, frame, number)
    except DamagedData:
        return None
    if plain is None:
        return None
    note_heat(volume, place)
    if len(plain) == row.plain_bytes:  # it was not compressed in parts
        number = None
    if wanted.length < len(plain):
        volume.cache.put(wanted.base if number is None else (wanted.base, number), plain, len(plain))
    return _clipped(plain, wanted.skip - (number or 0) * codec.PART_SIZE, wanted.length)


async def fetch(volume: Volume, parts: Sequence[Extent]) -> list[Buffer]:
    """Read extents in worker threads, at the same time, for a request of an application.

    Called in the turn in which `parts` were looked up: their segments and packs are pinned from here on.
    """
    with ungrouped(), pinned(volume, parts) as located, _place_to_wait(volume, located):
        if len(parts) == 1:  # a nursery and its task take 20 us and more
            return [await _fetch(volume, parts[0], located)]
        found: list[Buffer] = [b""] * len(parts)

        async def fetch_one(index: int, part: Extent) -> None:
            found[index] = await _fetch(volume, part, located)

        async with trio.open_nursery() as nursery:
            for index, part in enumerate(parts):
                nursery.start_soon(fetch_one, index, part)
        return found


def _place_to_wait(volume: Volume, located: Mapping[int, Located]) -> AbstractContextManager[None]:
    """One for each request that needs the network."""
    return volume.tier.place_to_wait() if _cold(located.values()) else nullcontext()


async def _fetch(volume: Volume, part: Extent, located: Mapping[int, Located]) -> Buffer:
    """The bytes of an extent that the caller has pinned."""
    if part.segment:
        return await trio.to_thread.run_sync(
            volume.journal.read, part.segment, part.base, part.total, part.skip, part.length, limiter=volume.readers
        )
    plain = await coldreading.patiently(volume, lambda: chunk(volume, located[part.base]))
    return memoryview(plain)[part.skip : part.skip + part.length]


def locate(volume: Volume, number: int) -> Located:
    places = chunks.places(volume.metadata, number)
    return Located(number, chunks.find(volume.metadata, number), places, *objects.whereabouts(volume.metadata, places))


def note_heat(volume: Volume, place: ops.Place) -> None:
    """A pack was read: what is cold is for policy to say, so it has to know what is not."""
    if volume.metadata.is_tiered:
        volume.tier.reads_s[(place.pack, place.disk)] = volume.world.now_ns() // 10**9


@contextmanager
def pinned(volume: Volume, parts: Sequence[Extent]) -> Iterator[dict[int, Located]]:
    """Neither a segment nor a pack that `parts` need is deleted inside the block; where their chunks lie, by number."""
    located = {part.base: locate(volume, part.base) for part in parts if not part.segment}
    packs = {(place.pack, place.disk) for found in located.values() for place in found.places}
    with pinned_packs(volume, packs), volume.journal.pinned({part.segment for part in parts if part.segment}):
        yield located


@contextmanager
def pinned_packs(volume: Volume, packs: Set[tuple[int, int]]) -> Iterator[None]:
    """None of the (pack, disk) is deleted inside the block."""
    held = volume.pins.packs
    for key in packs:
        held[key] = held.get(key, 0) + 1
    try:
        yield
    finally:
        for key in packs:
            held[key] -= 1
            if not held[key]:
                del held[key]


async def chunk(volume: Volume, found: Located) -> bytes:
    """The plain bytes of a chunk, through the cache; one read for all who ask at once.

    The caller holds the packs pinned. Raises DamagedData (every copy is damaged), StoreError.
    """
    plain = volume.cache.get(found.number) if found.number in volume.cache else None  # `cached` counts misses
    if plain is None:
        plain = await volume.flights.join(found.number, lambda: _load(volume, found))
    return plain


async def _load(volume: Volume, found: Located) -> bytes:
    number, row = found.number, found.row
    if row is None or not found.places:
        raise DamagedData(f"chunk {number} is named by a file but is in no pack")
    if here := present(volume, found.local):
        plain = await _load_here(volume, row, found, here)
    elif found.in_bucket:
        plain = await _load_cold(volume, row, found)
    else:
        raise StoreUnavailable(f"the disk of chunk {number} is missing")
    volume.cache.put(number, plain, len(plain))
    return plain


async def _load_cold(volume: Volume, row: chunks.Chunk, found: Located) -> bytes:
    """From the bucket. What cannot be had there is told by path, and is good again once it can."""
    try:
        plain = await coldreading.load(volume, row, found.in_bucket)
    except (DamagedData, ObjectMissing) as exc:
        await _report_damage(volume, found, exc)
        raise
    if not row.good:
        await volume.gate.opened()
        if volume.health.read_only_reason is None and chunks.places(volume.metadata, found.number) == found.places:
            with suppress(RustfsfsError):  # logged; no room to note it is no reason to fail who reads
                record(volume, ops.MarkChunks(chunks=[found.number], good=True))
                volume.health.damaged_chunks.pop(found.number, None)
    return plain


async def _load_here(
    volume: Volume, row: chunks.Chunk, found: Located, here: Sequence[tuple[PackStore, ops.Place]]
) -> bytes:
    """From a disk; what is damaged there the bucket may have. And a pack may have been demoted just now."""
    try:
        plain = await trio.to_thread.run_sync(read_frame, volume, row, here, limiter=volume.readers)
    except (DamagedData, StoreError) as exc:
        await volume.gate.opened()
        now_there = locate(volume, found.number)
        demoted = now_there.places == found.places and now_there.local != found.local
        try:
            if not now_there.in_bucket:
                raise
            return await coldreading.load(volume, row, now_there.in_bucket)
        except (DamagedData, PackMissing, ObjectMissing):
            stores = [store for store, _place in here]
            if (
                isinstance(exc, DamagedData | PackMissing)
                and not demoted
                and await trio.to_thread.run_sync(_answers, stores, limiter=volume.readers)
            ):
                await _report_damage(volume, found, exc)
            raise
    note_heat(volume, here[0][1])
    return plain


def present(volume: Volume, places: Sequence[ops.Place]) -> list[tuple[PackStore, ops.Place]]:
    """Those places whose disk is there."""
    return [(volume.disks[place.disk], place) for place in places if place.disk in volume.disks]


def _answers(stores: Sequence[PackStore]) -> bool:
    """All of them: of a disk that went away nothing is known. Blocking."""
    return all(store.answers() for store in stores)


def read_frame(volume: Volume, found: chunks.Chunk, places: Sequence[tuple[PackStore, ops.Place]]) -> bytes:
    """Read, verify and open a chunk's frame from the first place that gives it. Blocking."""
    trouble: Exception | None = None
    for disk, place in places:
        try:
            return verified(volume, found, disk, place)[1]
        except (DamagedData, StoreError) as exc:
            log.warning("chunk %d, disk %d, pack %d: %s", found.chunk, place.disk, place.pack, exc)
            trouble = exc
    assert trouble is not None
    raise trouble


def verified(volume: Volume, found: chunks.Chunk, disk: PackStore, place: ops.Place) -> tuple[bytes, bytes]:
    """(frame, plain bytes) of a chunk at one place. Blocking. Raises DamagedData, StoreError."""
    try:
        frame = disk.read(place.pack, place.offset, place.stored_bytes)
    except StoreError:
        volume.health.suspects.add(place.disk)
        raise
    plain = codec.open_frame(
        frame, chunk_id=found.chunk_id, plain_bytes=found.plain_bytes, keys=volume.keys, uuid=volume.header.uuid
    )
    return frame, plain


def opened(volume: Volume, found: chunks.Chunk, frame: Buffer, part: int | None) -> bytes:
    """The plain bytes of a chunk's frame, or of one part of it, without a look at its header. Raises DamagedData."""
    return codec.open_part(
        frame,
        part,
        chunk_id=found.chunk_id,
        plain_bytes=found.plain_bytes,
        keys=volume.keys,
        uuid=volume.header.uuid,
    )


def note_reader(volume: Volume, row: Attributes, start: int, end: int) -> None:
    """A file was read from `start` to `end`. Who reads in order is read ahead for, by `tasks.readahead`."""
    readers = volume.ahead.readers
    reader = readers.pop(row.inode, None)
    if row.inode in volume.tier.readers:
        readers[row.inode], wanted = coldreading.plan_window(volume, reader, start, end, size=row.size_bytes)
    else:
        window_max = min(WINDOW_MAX, volume.config.cache.ram_bytes // 8)
        readers[row.inode], wanted = plan_ahead(reader, start, end, size=row.size_bytes, window_max=window_max)
    if len(readers) > READERS_KNOWN:
        readers.popitem(last=False)
    if wanted is not None:
        volume.ahead.wanted.append((row.inode, wanted))
        volume.wishes.ahead.set()


async def load_ahead(volume: Volume, inode: int, start: int, end: int, workers: trio.CapacityLimiter) -> None:
    """Compressed chunks of a file range into the cache, by one worker. What cannot be had is left to who asks for it.

    One that is stored raw is opened in less time than it takes to pass it between threads.
    """
    if volume.warmth.is_cold:
        await warming.warm(volume, "read", (inode, start))
    await volume.gate.opened()
    with suppress(RustfsfsError):
        row = inodes.find(volume.metadata, inode)
        found = extents.first_overlapping(volume.metadata, row.fork, start, end, EXTENTS_AT_ONCE) if row else []
        parts = {part.base: part for part in found if not part.segment and _is_wanted(volume, part.base)}
        if parts:
            with pinned(volume, list(parts.values())) as located:
                if _cold(located.values()):
                    volume.tier.readers[inode] = None  # it is fetched for from now on, far ahead, and not by a worker
                    remember(volume.tier.readers)
                    volume.ahead.wanted.append((inode, Range(start, end)))
                    volume.wishes.ahead.set()
                    return
                packed = [one for one in located.values() if not _is_raw(one)]
                if not packed and (reader := volume.ahead.readers.get(inode)) is not None:
                    volume.ahead.readers[inode] = reader._replace(ahead=max(reader.ahead, end + RAW_STRETCH))
                    return
                await volume.flights.lead([one.number for one in packed], lambda: _load_all(volume, packed, workers))


def _cold(located: Iterable[Located]) -> list[ops.Place]:
    """Where the frames are that only the bucket has."""
    return [one.in_bucket[0] for one in located if one.in_bucket and not one.local]


async def fetch_far_ahead(volume: Volume, inode: int, start: int, end: int) -> None:
    """What is cold of a file range to the cache disk, a window of many MiB at once: all connections have work then."""
    places: list[ops.Place] = []
    at = start
    while at < end:
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        try:
            row = inodes.find(volume.metadata, inode)
            found = extents.first_overlapping(volume.metadata, row.fork, at, end, EXTENTS_AT_ONCE) if row else []
            places += _cold({part.base: locate(volume, part.base) for part in found if not part.segment}.values())
        except RustfsfsError:
            break  # it is for who reads there to meet
        at = found[-1].end if len(found) == EXTENTS_AT_ONCE else end
    if places:
        await coldreading.fetch_ahead(volume, places)
    else:
        volume.tier.readers.pop(inode, None)


def _is_raw(found: Located) -> bool:
    """Is there nothing to decompress? So say the sizes."""
    return found.row is not None and bool(found.places) and found.places[0].stored_bytes >= found.row.plain_bytes


def _is_wanted(volume: Volume, chunk: int) -> bool:
    return not volume.flights.is_under_way(chunk) and chunk not in volume.cache


async def _load_all(volume: Volume, wanted: Sequence[Located], workers: trio.CapacityLimiter) -> list[bytes | None]:
    sources = [(one.row, present(volume, one.local)) for one in wanted]
    found = await trio.to_thread.run_sync(_read_frames, volume, sources, limiter=workers)
    for one, plain in zip(wanted, found, strict=True):
        if plain is not None:
            volume.cache.put(one.number, plain, len(plain), unasked=True)
    return found


def _read_frames(
    volume: Volume, sources: Sequence[tuple[chunks.Chunk | None, Sequence[tuple[PackStore, ops.Place]]]]
) -> list[bytes | None]:
    """The plain bytes of each chunk, None where they cannot be had. Blocking."""
    found: list[bytes | None] = []
    for row, here in sources:
        try:
            found.append(read_frame(volume, row, here) if row and here else None)
        except (DamagedData, StoreError):
            found.append(None)
    return found


async def _report_damage(volume: Volume, found: Located, exc: DamagedData | StoreError) -> None:
    """Take the chunk out of deduplication until its bytes are seen again (I6), and have its paths logged, once."""
    await volume.gate.opened()
    row = chunks.find(volume.metadata, found.number)
    is_fixed = volume.health.read_only_reason is not None
    if row is None or not row.good or (is_fixed and found.number in volume.health.damaged_chunks):
        return
    if chunks.places(volume.metadata, found.number) != found.places:
        return  # moved, or healed, meanwhile: what lies there now is for the next reader to judge
    volume.health.damaged_chunks[found.number] = str(exc)
    if not is_fixed:
        record(volume, ops.MarkChunks(chunks=[found.number], good=False))
    volume.wishes.damage.set()
