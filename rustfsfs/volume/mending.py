"""One pack, verified to its last live byte; and what is damaged in it made good from the chunks' other copies.

Only what verified is ever stored anew (I12), and a damaged frame is let go only when its chunk lies elsewhere (I5). A
chunk that opens nowhere is taken out of deduplication, and heals when its bytes are written again (I6).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from rustfsfs import ops
from rustfsfs.errors import DamagedData, StoreError, StoreUnavailable
from rustfsfs.meta import chunks, disks
from rustfsfs.meta.chunks import Chunk, Pack
from rustfsfs.store.base import PackStore
from rustfsfs.units import MIB, PackNo
from rustfsfs.volume import collecting, moving, packing, paths, reading
from rustfsfs.volume.recording import now, record
from rustfsfs.volume.volume import Volume

FRAMES_AT_ONCE = 250
BYTES_AT_ONCE = 4 * MIB
LINES_MAX = 10_000  # a disk that fails has millions of frames
PATHS_LOOKED_UP_MAX = 100  # in one pass: each look reads whole tables


@dataclass(slots=True)
class Findings:
    """What was found, a line each as far as LINES_MAX, and how much of it is no more."""

    lines: list[str] = field(default_factory=list)
    found: int = 0
    repaired: int = 0
    not_now: int = 0  # of those not repaired: the bucket has them, and does not give them at the moment
    verified_bytes: int = 0
    has_few: bool = False  # something has fewer copies yet than the volume wants, or was not looked at

    def add(self, line: str, *, repaired: bool = False) -> None:
        self.found += 1
        self.repaired += repaired
        if self.found <= LINES_MAX:
            self.lines.append(f"{line}{': repaired' if repaired else ''}")
        elif self.found == LINES_MAX + 1:
            self.lines.append("and more, not told one by one")


Frame = tuple[Chunk, ops.Place]
BadFrame = tuple[Chunk, ops.Place, str]


async def verify_slice(volume: Volume, row: Pack, behind: int, findings: Findings, *, repair: bool) -> tuple[int, int]:
    """Verify some live frames of a pack that begin behind `behind`; returns (the last one's offset, bytes verified).

    (-1, 0) when there are no more. The caller holds the pack pinned. Raises NoSpace, StoreUnavailable: nothing could be
    stored anew.
    """
    await volume.gate.opened()
    live, size_bytes = _slice(volume, row, behind)
    if not live:
        return -1, 0
    store = volume.disks.get(row.disk)
    if store is None:
        raise StoreUnavailable(f"disk {row.disk} is not there any more")
    bad = await trio.to_thread.run_sync(_bad_frames, volume, store, live, limiter=volume.readers)
    bad_chunks = {chunk.chunk for chunk, _place, _why in bad}
    good = [(chunk, place) for chunk, place in live if chunk.chunk not in bad_chunks]
    if bad:
        await _deal_with(volume, bad, findings, repair=repair)
    await volume.gate.opened()
    again = [int(chunk.chunk) for chunk, _place in good if not chunk.good]
    if again and repair:
        record(volume, ops.MarkChunks(chunks=again, good=True))
    if volume.header.copies > 1:
        await _copy_again(volume, row, good, findings, repair=repair)
    findings.verified_bytes += size_bytes
    return live[-1][1].offset, size_bytes


def _slice(volume: Volume, row: Pack, behind: int) -> tuple[list[Frame], int]:
    taken: list[Frame] = []
    size_bytes = 0
    for chunk, place in chunks.live_in(volume.metadata, row.pack, row.disk, behind=behind, limit=FRAMES_AT_ONCE):
        if taken and size_bytes + place.stored_bytes > BYTES_AT_ONCE:
            break
        taken.append((chunk, place))
        size_bytes += place.stored_bytes
    return taken, size_bytes


def _bad_frames(volume: Volume, store: PackStore, live: Sequence[Frame]) -> list[BadFrame]:
    """Blocking. Raises StoreUnavailable: the disk is gone, which is no damage to what lies on it."""
    bad: list[BadFrame] = []
    for chunk, place in live:
        try:
            reading.verified(volume, chunk, store, place)
        except (DamagedData, StoreError) as exc:
            bad.append((chunk, place, str(exc)))
    if bad and not store.answers():
        raise StoreUnavailable(f"the disk {store.path} does not answer any more")
    return bad


async def _deal_with(volume: Volume, bad: Sequence[BadFrame], findings: Findings, *, repair: bool) -> None:
    async with volume.collect_lock:
        await volume.gate.opened()
        still = [one for one in bad if one[1] in chunks.places(volume.metadata, one[0].chunk)]  # else moved, or gone
        sources = [moving.Source(volume, chunk, place) for chunk, place, _why in still]
        frames, not_now = await moving.read_all(volume, sources)
        if repair:
            draining = frozenset(one.disk for one in disks.all_(volume.metadata) if one.draining)
            await moving.move(volume, sources, frames, avoid=draining)
        await volume.gate.opened()
        nowhere = {chunk.chunk for chunk, _place, _why in still} - frames.keys() - not_now.keys()
        lost = [int(chunk.chunk) for chunk, _place, _why in still if chunk.chunk in nowhere and chunk.good]
        if lost and volume.health.read_only_reason is None:
            record(volume, ops.MarkChunks(chunks=lost, good=False))
    for chunk, place, why in still:
        line = f"pack {place.pack} on disk {place.disk}, chunk {chunk.chunk}: {why}"
        if chunk.chunk in frames:
            findings.add(
                line if repair else f"{line}: its other copy is good, scrub --repair mends it", repaired=repair
            )
        elif chunk.chunk in not_now:
            findings.not_now += 1
            findings.add(f"{line}: the bucket has it, and does not give it now ({not_now[chunk.chunk]})")
        elif findings.found < PATHS_LOOKED_UP_MAX:
            named = await paths.of_chunk(volume, chunk.chunk)
            findings.add(f"{line}: {', '.join(named) or 'no file'}")
        else:
            findings.add(f"{line}: fsck --data names its files")


async def _copy_again(volume: Volume, row: Pack, good: Sequence[Frame], findings: Findings, *, repair: bool) -> None:
    """Chunks that were stored while a disk was missing have too few copies."""
    ready = {one.disk for one in disks.all_(volume.metadata) if not one.draining and one.disk in volume.disks}
    wanted, had_few = min(volume.header.copies, len(ready)), findings.has_few
    few = _with_few_copies(volume, good, volume.header.copies)
    findings.has_few |= bool(few)
    if wanted < volume.header.copies:
        few = _with_few_copies(volume, few, wanted)
    if not few:
        return
    line = f"pack {row.pack} on disk {row.disk}: {len(few)} chunks have fewer than {wanted} copies"
    is_done = False
    if repair:
        async with volume.collect_lock:
            await volume.gate.opened()
            still = _with_few_copies(volume, few, wanted)  # others may be gone, their numbers for good
            sources = [moving.Source(volume, chunk, place) for chunk, place in still]
            frames, not_now = await moving.read_all(volume, sources)
            await moving.add_copies(volume, sources, frames, now_ns=now(volume))
            is_done = len(frames) == len(sources)
            findings.not_now += bool(not_now)
        if is_done and wanted == volume.header.copies:
            findings.has_few = had_few
    findings.add(line if repair else f"{line}: scrub --repair stores more", repaired=repair and is_done)


def _with_few_copies(volume: Volume, frames: Sequence[Frame], wanted: int) -> list[Frame]:
    """Those that are still where they were, and lie in fewer than `wanted` places; the bucket is one of them."""
    lies = [chunks.places(volume.metadata, chunk.chunk) for chunk, _place in frames]
    return [
        frame
        for frame, places in zip(frames, lies, strict=True)
        if frame[1] in places and moving.copies_of(volume, places) < wanted
    ]


async def verify_ends(volume: Volume, row: Pack, findings: Findings, *, repair: bool) -> None:
    """A pack's header, and the directory of a closed one: mended by storing its frames in another pack.

    Raises NoSpace, StoreUnavailable.
    """
    store = volume.disks.get(row.disk)
    if store is None:  # removed while its last frames were read
        return
    named, why = await trio.to_thread.run_sync(_read_ends, store, row, limiter=volume.readers)
    await volume.gate.opened()
    there = chunks.find_pack(volume.metadata, row.pack, row.disk)
    if there is None:
        return
    if why is None and row.is_closed:
        live = chunks.live_in(volume.metadata, row.pack, row.disk)
        if not {(place.offset, bytes(chunk.chunk_id)) for chunk, place in live} <= named:
            why = "its directory lacks frames that live in it"
    if why is None:
        return
    repaired = False
    if repair and not packing.is_open(volume, row.pack, row.disk):
        async with volume.collect_lock:
            repaired = await collecting.empty_pack(volume, row.pack, row.disk)
    findings.add(f"pack {row.pack} on disk {row.disk}: {why}", repaired=repaired)


def _read_ends(store: PackStore, row: Pack) -> tuple[set[tuple[int, bytes]], str | None]:
    """(frames that the directory names, what is wrong). Blocking."""
    try:
        store.check_header(PackNo(row.pack))
        if not row.is_closed:
            return set(), None
        return {(entry.offset, entry.chunk_id) for entry in store.read_directory(PackNo(row.pack))}, None
    except (DamagedData, StoreError) as exc:
        return set(), str(exc)
