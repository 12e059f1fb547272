"""Live frames change their place: read from any copy that opens, stored anew, recorded (I5, I12).

Order: frames durable in another pack → Move op, so that a row never names bytes that are not there. Who moves holds
`volume.collect_lock`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    DamagedData,
    NoSpace,
    ObjectFrozen,
    ObjectMissing,
    StoreError,
    without_frames,
)
from rustfsfs.meta import chunks, disks, objects
from rustfsfs.meta.chunks import Chunk
from rustfsfs.volume import coldreading, packing, reading
from rustfsfs.volume.recording import now, record
from rustfsfs.volume.volume import Volume, log


class Source:
    """A live frame of a pack, and where else the same chunk lies. What is in the bucket only is on no disk."""

    def __init__(self, volume: Volume, chunk: Chunk, place: ops.Place) -> None:
        self.chunk = chunk
        self.place = place
        others = [other for other in chunks.places(volume.metadata, chunk.chunk) if other != place]
        lies = objects.whereabouts(volume.metadata, [place, *others])
        self.other_disks = frozenset(other.disk for other in lies.local if other != place)
        self.readable = packing.present(volume, lies.local)
        self.in_bucket = lies.in_bucket


class Read(NamedTuple):
    """Frames by chunk, each verified: damage is not copied on."""

    frames: dict[int, bytes]
    not_now: dict[int, StoreError]  # chunks whose frame the bucket has, and why it does not give it at the moment


Known = Mapping[int, bytes | None]  # frames by chunk; None: cannot be read


async def read_all(volume: Volume, sources: Sequence[Source], *, known: Known | None = None) -> Read:
    """What no disk has comes from the bucket. Frames that open nowhere are left out, and logged.

    known   what was read already: it is not read again
    """
    known = known or {}
    numbers = {source.chunk.chunk for source in sources}
    good = {number: frame for number, frame in known.items() if number in numbers and frame is not None}
    unknown = [source for source in sources if source.chunk.chunk not in known]
    good |= await trio.to_thread.run_sync(_read_all, volume, unknown, limiter=volume.sealers)
    missing = [source for source in unknown if source.chunk.chunk not in good and source.in_bucket]
    not_now = dict[int, StoreError]()
    await coldreading.fetch_ahead(volume, [source.in_bucket[0] for source in missing])
    for number, source in enumerate(missing):
        try:
            frame, _plain = await coldreading.load_frame(volume, source.chunk, source.in_bucket)
            good[source.chunk.chunk] = bytes(frame)
        except ObjectFrozen as exc:
            not_now[source.chunk.chunk] = without_frames(exc)
        except (CloudUnavailable, CloudRefused) as exc:
            not_now |= {
                one.chunk.chunk: without_frames(exc) for one in missing[number:]
            }  # each would take its deadline
            break
        except (DamagedData, ObjectMissing) as exc:
            log.error("chunk %d cannot be moved: %s", source.chunk.chunk, exc)
    return Read(good, not_now)


def _read_all(volume: Volume, sources: Sequence[Source]) -> dict[int, bytes]:
    good: dict[int, bytes] = {}
    for source in sources:
        for store, place in source.readable:
            number = source.chunk.chunk
            try:
                good[number], _plain = reading.verified(volume, source.chunk, store, place)
                break
            except (DamagedData, StoreError) as exc:
                log.error("pack %d on disk %d, chunk %d cannot be moved: %s", place.pack, place.disk, number, exc)
    return good


async def move(
    volume: Volume, sources: Sequence[Source], frames: dict[int, bytes], *, avoid: frozenset[int] = frozenset()
) -> None:
    """Store those of the sources that have a frame in open packs, not on the disks to `avoid`, and record it.

    All sources lie in one pack. Raises NoSpace, StoreUnavailable: then what was not moved is where it was.
    """
    for group in _by_other_disks(sources, frames):
        async with volume.pack_lock:
            await _move(volume, group, avoid)
    await packing.close_full(volume)


async def add_copies(volume: Volume, sources: Sequence[Source], frames: dict[int, bytes], *, now_ns: int) -> None:
    """Store one more copy of each source that has a frame, on a disk that has none of it.

    Raises NoSpace, StoreUnavailable.
    """
    for group in _by_other_disks(sources, frames):
        first = group[0][0]
        async with volume.pack_lock:
            pairs = [(bytes(source.chunk.chunk_id), frame) for source, frame in group]
            stored = await packing.store_copy(volume, pairs, target=None, avoid=first.other_disks | {first.place.disk})
            await volume.gate.opened()
            new = [_one_more(source.chunk, stored) for source, _frame in group]
            packs = packing.packs_of(one.places for one in new)
            record(volume, ops.Seal(packs=packs, chunks=new, ranges=[], overlaid=[], recut=[], now_ns=now_ns))
    await packing.close_full(volume)


def copies_of(volume: Volume, places: Sequence[ops.Place]) -> int:
    """On disks, missing ones too, and in the bucket, which is one."""
    lies = objects.whereabouts(volume.metadata, places)
    return len(lies.local) + bool(lies.in_bucket)


async def make_up(volume: Volume, sources: Sequence[Source], frames: dict[int, bytes]) -> None:
    """Of frames that left a pack that the bucket has: as many copies as the volume wants, until it has the new one.

    On a full disk there is one less until then. Raises StoreUnavailable.
    """
    ready = {row.disk for row in disks.all_(volume.metadata) if not row.draining and row.disk in volume.disks}
    wanted = min(volume.header.copies, len(ready))
    few: list[Source] = []
    for source in sources:
        places = chunks.places(volume.metadata, source.chunk.chunk)
        local = objects.whereabouts(volume.metadata, places).local
        if source.chunk.good and source.chunk.chunk in frames and local and copies_of(volume, places) < wanted:
            few.append(Source(volume, source.chunk, local[0]))
    try:
        await add_copies(volume, few, frames, now_ns=now(volume))
    except NoSpace as exc:
        log.warning("%d chunks lie on one disk until the bucket has them: %s", len(few), exc)


def _one_more(chunk: Chunk, stored: dict[bytes, ops.Place]) -> ops.NewChunk:
    chunk_id = bytes(chunk.chunk_id)
    return ops.NewChunk(int(chunk.chunk), chunk_id, chunk.plain_bytes, [stored[chunk_id]])


Frame = tuple[Source, bytes]


def _by_other_disks(sources: Sequence[Source], frames: dict[int, bytes]) -> Iterator[list[Frame]]:
    """Frames that may go to the same disk: copies of one chunk must lie on different ones."""
    groups: dict[frozenset[int], list[Frame]] = {}
    for source in sources:
        if source.chunk.chunk in frames:
            groups.setdefault(source.other_disks, []).append((source, frames[source.chunk.chunk]))
    yield from groups.values()


async def _move(volume: Volume, frames: Sequence[Frame], avoid: frozenset[int]) -> None:
    """Copy frames to the open pack of one disk, the same if it may be, and record where they are now."""
    avoid |= frames[0][0].other_disks
    disk, pack = frames[0][0].place.disk, frames[0][0].place.pack
    target = disk if disk not in avoid and disk in volume.disks else None
    pairs = [(bytes(source.chunk.chunk_id), frame) for source, frame in frames]
    stored = await packing.store_copy(volume, pairs, target=target, avoid=avoid)
    await volume.gate.opened()
    moves = [(int(source.chunk.chunk), disk, pack, stored[bytes(source.chunk.chunk_id)]) for source, _frame in frames]
    record(volume, ops.Move(packs=packing.packs_of([[place] for *_old, place in moves]), moves=moves))
