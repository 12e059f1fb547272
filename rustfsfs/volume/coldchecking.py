"""What only the bucket has, read whole and verified: `fsck --data`. All of it blocks.

Nothing is held over a request: the caller's step, before each, ends its read transaction, and the next query begins
another one. Requests go the way of background reads, behind those that an application waits for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rustfsfs.content import codec
from rustfsfs.content.keys import Keys
from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedData, ObjectFrozen, ObjectMissing, StoreError
from rustfsfs.meta import chunks, objects
from rustfsfs.meta.chunks import Chunk
from rustfsfs.meta.database import Metadata
from rustfsfs.ops import Place
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import pack_key
from rustfsfs.store.crc64 import crc64
from rustfsfs.units import MIB, format_size
from rustfsfs.volume import paths
from rustfsfs.volume.volume import Volume

Progress = Callable[[int, int, str], None]
GET_SIZE = 4 * MIB  # an object in several: each has its own deadline
Frames = Sequence[tuple[Chunk, Place]]
VERIFYING = "verifying packs in the bucket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the bucket is reached."""

    bucket: Bucket | None
    trouble: str = "the volume has no bucket that can be used"  # why there is none


def way_of(volume: Volume) -> Way:
    door, trouble = volume.tier.door, volume.tier.trouble
    if door is not None:
        return Way(bucket=door.reads)
    return Way(bucket=None) if trouble is None else Way(bucket=None, trouble=trouble)


def check_cold(metadata: Metadata, way: Way, keys: Keys, uuid: bytes, step: Progress) -> Iterator[str]:
    """Findings in objects of cold packs, each by the files that need it; at last, how much could not be looked at.

    step   as for `checking.check_data`
    """
    rows = [row for row in chunks.packs(metadata) if row.is_cold and row.live_bytes]
    frozen_bytes, frozen = 0, ""
    for done, row in enumerate(rows):
        found = objects.find(metadata, row.pack, row.disk)
        live = chunks.live_in(metadata, row.pack, row.disk)
        step(done, len(rows), VERIFYING)
        if found is None:
            continue  # `checks` tells, or it came back meanwhile
        try:
            if way.bucket is None:
                raise CloudUnavailable(way.trouble)
            verdict = _verify(way.bucket, found, live, keys, uuid)
        except ObjectFrozen as exc:
            frozen_bytes, frozen = frozen_bytes + row.size_bytes, str(exc)
            continue
        except (CloudUnavailable, CloudRefused) as exc:  # each of the others would take its deadline
            left_bytes = sum(one.size_bytes for one in rows[done:])
            yield f"{format_size(left_bytes)} in the bucket could not be looked at: {exc}"
            break
        if verdict.is_bad:
            step(done, len(rows), VERIFYING)
            yield from _told(metadata, found, verdict)
    if frozen_bytes:
        yield f"{format_size(frozen_bytes)} in the bucket could not be looked at: {frozen}"
    step(len(rows), len(rows), VERIFYING)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with one object."""

    whole: str | None  # with all of it: what is not there, or not what was put there
    frames: Sequence[tuple[int, Place, str]]  # (chunk, place, why) of those that do not open

    @property
    def is_bad(self) -> bool:
        return self.whole is not None or bool(self.frames)


def _verify(bucket: Bucket, found: objects.Object, live: Frames, keys: Keys, uuid: bytes) -> Verdict:
    """Raises CloudUnavailable, CloudRefused, ObjectFrozen."""
    name, whole, data = pack_key(found.pack, found.disk), None, b""
    try:
        data = b"".join(
            bucket.get(name, start, min(GET_SIZE, found.size_bytes - start))
            for start in range(0, found.size_bytes, GET_SIZE)
        )
        if crc64(data) != int.from_bytes(found.crc64):
            whole = f"{bucket.name}: {name} is not what was put there (CRC-64)"
    except (ObjectMissing, DamagedData) as exc:
        whole = str(exc)
        if isinstance(exc, ObjectMissing):
            return Verdict(whole, [(chunk.chunk, place, whole) for chunk, place in live])

    def frame_at(place: Place) -> bytes:
        if data:
            return data[place.offset : place.offset + place.stored_bytes]
        return bucket.get(name, place.offset, place.stored_bytes)  # it is shorter: some of them may be there

    bad = []
    for chunk, place in live:
        try:
            plain_bytes = chunk.plain_bytes
            codec.open_frame(frame_at(place), chunk_id=chunk.chunk_id, plain_bytes=plain_bytes, keys=keys, uuid=uuid)
        except (CloudUnavailable, CloudRefused, ObjectFrozen):
            raise
        except (DamagedData, StoreError) as exc:
            bad.append((chunk.chunk, place, str(exc)))
    return Verdict(whole, bad)


def _told(metadata: Metadata, found: objects.Object, verdict: Verdict) -> Iterator[str]:
    """Looked at again: it may have come back, or been dropped, since."""
    if objects.find(metadata, found.pack, found.disk) != found:
        return
    where = f"pack {found.pack} of disk {found.disk}, in the bucket"
    if not verdict.frames:
        yield f"{where}: {verdict.whole}: its frames are readable all the same"
    named: dict[str, None] = {}
    for chunk, place, why in verdict.frames:
        if place not in chunks.places(metadata, chunk):
            continue
        needing = paths.paths_of_chunk(metadata, chunk) or ["no file"]
        if verdict.whole is not None and why == verdict.whole:
            named.update(dict.fromkeys(needing))
        else:
            yield from (f"{where}, chunk {chunk}: {why}: {path}" for path in needing)
    yield from (f"{where}: {verdict.whole}: {path}" for path in named)
