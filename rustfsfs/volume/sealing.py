"""Sealing: hot ranges become chunks in packs (DESIGN.md §3). Which, and which at once: `windows`.

Order: bytes read and verified → frames appended to packs of every copy → packs durable → Seal op. A crash before
the op leaves spare bytes in a pack, never a row without bytes. What was overwritten meanwhile stays as it is now.
"""

import mmap
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import trio

from rustfsfs import ops
from rustfsfs.content import codec
from rustfsfs.content.chunker import Chunker
from rustfsfs.content.chunkid import chunk_id
from rustfsfs.content.ranges import Extent, between, clip
from rustfsfs.errors import DamagedData, StoreError
from rustfsfs.meta import chunks, extents
from rustfsfs.units import ChunkId
from rustfsfs.volume import packing, reading, watermarks
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.recording import now, record
from rustfsfs.volume.volume import Volume, log
from rustfsfs.volume.windows import BATCH_BYTES_MAX, BATCH_EXTENTS_MAX, Batch, Window, plan_fork

BATCHES_MAX = 3  # on their way at once: one is read and cut, one compressed, one written
BUSY_S = 0.1  # a request within this time means the foreground works
BUFFER_BYTES = BATCH_BYTES_MAX + BATCH_EXTENTS_MAX * codec.OVERHEAD  # or the frames of a batch
OP_SOURCES_MAX = 32  # bounds one Seal op: about 1 ms, no other request waits longer for it
Buffer = mmap.mmap
UNNAMED = ChunkId(b"")


@dataclass(slots=True)
class Piece:
    """One chunk to be: a range of a window; its name, and its frame once it needed one."""

    window: Window
    offset: int  # in the file
    plain: memoryview
    chunk_id: ChunkId = UNNAMED
    frame: memoryview | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """So much of a piece as one Seal op takes."""

    piece: Piece
    sources: Sequence[Extent]  # touching each other, clipped to the piece


async def seal_forks(
    volume: Volume,
    forks: Sequence[int],
    *,
    is_busy: Callable[[int], bool],
    recut: bool = False,
    after_batch: Callable[[int], Awaitable[None]],
) -> int:
    """Seal everything hot of these forks (or recut their overlays), in batches; returns the plain bytes sealed.

    is_busy      whether a fork is being written to: then the last chunk of each range waits
    after_batch  called with the bytes of each batch: throttle, progress
    A fork that cannot be read is logged and left out, so that it does not hold the others up. Raises NoSpace,
    StoreUnavailable.
    """
    async with volume.seal_lock:
        with ungrouped():
            async with trio.open_nursery() as nursery:
                line = _Line(volume, nursery, recut, after_batch)
                await _seal_forks(volume, forks, is_busy, recut, line)
        await line.close()  # after an error or in the middle of ending, Python does it
        return line.sealed_bytes


async def _seal_forks(
    volume: Volume, forks: Sequence[int], is_busy: Callable[[int], bool], recut: bool, line: "_Line"
) -> None:
    batch = Batch()
    for fork in forks:
        start: int | None = 0
        while start is not None:
            await trio.lowlevel.checkpoint()  # planning took its milliseconds
            await volume.gate.opened()
            windows, start = plan_fork(volume, fork, start, recut=recut, leave_tail=is_busy(fork))
            for window in windows:
                if not batch.has_room(window):
                    await line.put(batch)
                    batch = Batch()
                    start = window.cut.start  # it and the others were planned before others had their turn
                    break
                batch.add(window)
                is_resumed = window is windows[-1] and not window.is_end and start is not None
                if not batch.is_full and not is_resumed:
                    continue
                await line.put(batch)
                batch = Batch()
                if not window.is_long:
                    await line.emptied()  # what is planned next may depend on what this batch makes of its ranges
                if is_resumed and window.resume > window.cut.start:
                    start = window.resume
                elif window is not windows[-1]:
                    start = window.cut.end
                    break
    if batch.windows:
        await line.put(batch)


def leave(volume: Volume, forks: Sequence[int]) -> None:
    """These had nothing to cut anew, or could not be read: they stand before no others any more."""
    if forks and volume.health.read_only_reason is None:
        record(volume, ops.Seal(packs=[], chunks=[], ranges=[], overlaid=[], recut=list(forks), now_ns=now(volume)))


def foreground_is_busy(volume: Volume) -> bool:
    return trio.current_time() - volume.activity.last_request_s < BUSY_S


def new_buffer(size_bytes: int) -> Buffer:
    """Zeros, each page made when it is first used: a bytearray of 16 MiB holds the loop for 9 ms (measured)."""
    return mmap.mmap(-1, max(1, size_bytes))


def _free(buffers: list[Buffer]) -> None:
    """Blocking, without the interpreter's lock."""
    while buffers:
        with suppress(BufferError):  # an error's traceback still has a view of it, and frees it in time
            buffers.pop().close()


class _Steps:
    """What has been done with one batch; the batch behind it waits for that."""

    def __init__(self) -> None:
        self.looked_up = trio.Event()  # what is known already is known, and what it will store
        self.recorded = trio.Event()


class _Line:
    """Batches on their way: read and cut one after the other, named and compressed side by side, looked up, stored and
    recorded in order.

    While requests come in, one batch at a time: the machine is theirs.
    """

    def __init__(
        self, volume: Volume, nursery: trio.Nursery, recut: bool, after_batch: Callable[[int], Awaitable[None]]
    ) -> None:
        self.sealed_bytes = 0
        self._volume = volume
        self._nursery = nursery
        self._recut = recut
        self._after_batch = after_batch
        self._length = 0  # batches that are not recorded yet
        self._last = _Steps()  # of the last batch put in
        self._last.looked_up.set()
        self._last.recorded.set()
        self._moved = trio.Event()  # a batch has left; replaced by each
        self._storing: set[ChunkId] = set()  # chunks of batches that are not recorded yet
        self._buffers: list[Buffer] = []  # not in use: fresh memory costs more than what is done with it

    async def put(self, batch: Batch) -> None:
        """Read and cut a batch as soon as there is room for it; the rest goes on by itself."""
        while self._length >= (1 if foreground_is_busy(self._volume) else BATCHES_MAX):
            await self._moved.wait()
        volume, plain = self._volume, self._buffer(batch.plain_bytes)
        try:
            pieces = await read_and_cut(volume, batch.windows, plain)
        except (DamagedData, StoreError) as exc:
            self._buffers.append(plain)
            await self._put_readable(batch, exc)
            return
        self._length += 1
        before, self._last = self._last, _Steps()
        self._nursery.start_soon(self._finish, plain, pieces, before, self._last)

    async def emptied(self) -> None:
        """Return when everything put in has been recorded."""
        await self._last.recorded.wait()

    async def _put_readable(self, batch: Batch, trouble: Exception) -> None:
        """A fork that cannot be read is left out and logged; the others are put in each by itself."""
        apart = batch.by_fork()
        if len(apart) > 1:
            for alone in apart:
                await self.put(alone)
        elif self._recut:
            log.warning("a file that was changed in many places is not cut anew: %s", trouble)
        elif await _are_current(self._volume, batch.windows):  # else overwritten since: the next round plans it anew
            log.error("a file with hot data cannot be sealed and stays in the journal: %s", trouble)

    async def _finish(self, plain: Buffer, pieces: list[Piece], before: "_Steps", steps: "_Steps") -> None:
        volume = self._volume
        await trio.to_thread.run_sync(name_pieces, volume, pieces, limiter=volume.sealers)
        await before.looked_up.wait()
        await volume.gate.opened()
        wanted = [piece for piece in _unknown(volume, pieces) if piece.chunk_id not in self._storing]
        self._storing.update(piece.chunk_id for piece in wanted)
        steps.looked_up.set()
        frames = self._buffer(_frames_bytes_max(wanted))
        if wanted:
            await trio.to_thread.run_sync(make_frames, volume, wanted, frames, limiter=volume.sealers)
        await before.recorded.wait()
        sealed = await store_and_record(volume, pieces, wanted, recut=self._recut)
        self._storing.difference_update(piece.chunk_id for piece in wanted)
        self._buffers += [plain, frames]
        self.sealed_bytes += sealed
        await self._after_batch(sealed)
        self._length -= 1
        steps.recorded.set()
        self._moved.set()
        self._moved = trio.Event()

    async def close(self) -> None:
        """Free the memory, in a worker: to unmap 16 MiB takes 3 ms."""
        await trio.to_thread.run_sync(_free, self._buffers, limiter=self._volume.sealers)

    def _buffer(self, size_bytes: int) -> Buffer:
        """At least so large, with whatever is in it."""
        buffer = self._buffers.pop() if self._buffers else new_buffer(BUFFER_BYTES)
        return buffer if len(buffer) >= size_bytes else new_buffer(size_bytes)


async def _are_current(volume: Volume, windows: Sequence[Window]) -> bool:
    """Is what was planned still what the files hold?"""
    await volume.gate.opened()
    for window in windows:
        start, end = window.cut.start, window.cut.end
        now_there = [clip(e, start, end) for e in extents.overlapping(volume.metadata, window.fork, start, end)]
        if now_there != window.sources:
            return False
    return True


async def store_and_record(volume: Volume, pieces: Sequence[Piece], wanted: Sequence[Piece], *, recut: bool) -> int:
    """Pack the frames of `wanted` and record all pieces; returns the plain bytes now sealed.

    Raises NoSpace, StoreUnavailable: the packs took nothing.
    """
    forks = sorted({piece.window.fork for piece in pieces}) if recut else []
    await watermarks.wait_below(volume, sum(len(piece.frame or b"") for piece in wanted))
    async with volume.pack_lock:
        stored = await packing.store_frames(volume, [(piece.chunk_id, piece.frame) for piece in wanted if piece.frame])
        sealed = 0
        for parts, is_last in _by_op(pieces):
            await trio.lowlevel.checkpoint()
            await volume.gate.opened()
            sealed += _record(volume, parts, stored, forks if is_last else ())
    volume.activity.sealed_bytes += sealed
    await packing.close_full(volume)
    return sealed


async def read_and_cut(volume: Volume, windows: Sequence[Window], buffer: Buffer) -> list[Piece]:
    """All bytes of the windows' sources, verified and cut: one hop to a worker for the whole batch.

    They are in `buffer` then, which takes them all; the pieces are views of it.
    """
    sources = [source for window in windows for source in window.sources]
    views = _views(windows, buffer)
    await volume.gate.opened()
    with reading.pinned(volume, sources) as located:
        for window, view in zip(windows, views, strict=True):
            start = window.cut.start
            for source in window.sources:
                if not source.segment:
                    plain = memoryview(await reading.chunk(volume, located[source.base]))
                    part = plain[source.skip : source.skip + source.length]
                    view[source.offset - start : source.end - start] = part
        return await trio.to_thread.run_sync(_read_hot_and_cut, volume, windows, views, limiter=volume.sealers)


def _views(windows: Sequence[Window], buffer: Buffer) -> list[memoryview]:
    """Each window's part of the buffer."""
    views: list[memoryview] = []
    at = 0
    for window in windows:
        size = window.cut.end - window.cut.start
        views.append(memoryview(buffer)[at : at + size])
        at += size
    return views


def _read_hot_and_cut(volume: Volume, windows: Sequence[Window], views: Sequence[memoryview]) -> list[Piece]:
    """Blocking."""
    pieces: list[Piece] = []
    for window, view in zip(windows, views, strict=True):
        start = window.cut.start
        for source in window.sources:
            if source.segment:
                target = view[source.offset - start : source.end - start]
                volume.journal.read_into(target, source.segment, source.base, source.total, source.skip)
        pieces += cut_window(volume, window, view)
    return pieces


@lru_cache(maxsize=4)
def _chunker(chunk_min: int, chunk_avg: int, chunk_max: int, seed: int) -> Chunker:
    return Chunker(chunk_min, chunk_avg, chunk_max, seed)


def cut_window(volume: Volume, window: Window, view: memoryview) -> list[Piece]:
    """Blocking: cut. A chunk that only the window's end ended is left to the next window."""
    header = volume.header
    lengths = _chunker(header.chunk_min, header.chunk_avg, header.chunk_max, header.gear_seed).cut(view)
    if not window.is_end and len(lengths) > 1:
        window.resume = window.cut.end - lengths.pop()
    pieces, skip = [], 0
    for length in lengths:
        pieces.append(Piece(window, window.cut.start + skip, view[skip : skip + length]))
        skip += length
    return pieces


def name_pieces(volume: Volume, pieces: Sequence[Piece]) -> None:
    """Blocking."""
    for piece in pieces:
        piece.chunk_id = chunk_id(piece.plain, volume.keys.chunk_id)


def make_frames(volume: Volume, pieces: Sequence[Piece], buffer: Buffer) -> None:
    """Blocking: compress and seal, one behind the other into `buffer`, which takes `_frames_bytes_max` at least."""
    room = memoryview(buffer)
    for piece in pieces:
        size = codec.seal_frame_into(
            room,
            piece.plain,
            chunk_id=piece.chunk_id,
            keys=volume.keys,
            uuid=volume.header.uuid,
            salt=volume.world.random_bytes(codec.SALT_SIZE),
            level=volume.header.compression_level,
        )
        piece.frame, room = room[:size], room[size:]


def _frames_bytes_max(pieces: Sequence[Piece]) -> int:
    return sum(codec.OVERHEAD + len(piece.plain) for piece in pieces)


def _unknown(volume: Volume, pieces: Sequence[Piece]) -> list[Piece]:
    """The first piece of each chunk that no good, present chunk answers (I6)."""
    first: dict[bytes, Piece] = {}
    for piece in pieces:
        if piece.chunk_id not in first and _usable(volume, piece.chunk_id) is None:
            first[piece.chunk_id] = piece
    return list(first.values())


def _usable(volume: Volume, wanted: bytes) -> chunks.Chunk | None:
    for found, disk in chunks.find_copies(volume.metadata, wanted):
        if found.good and disk in volume.disks:
            return found
    return None


def _by_op(pieces: Sequence[Piece]) -> Iterator[tuple[list[Part], bool]]:
    """The pieces in bounded groups, one for each Seal op, and whether it is the last."""
    parts: list[Part] = []
    count = 0
    for piece in pieces:
        start, end = piece.offset, piece.offset + len(piece.plain)
        inside = [clip(e, start, end) for e in between(piece.window.sources, start, end)]
        for at in range(0, len(inside), OP_SOURCES_MAX):
            part = Part(piece, inside[at : at + OP_SOURCES_MAX])
            if count + len(part.sources) > OP_SOURCES_MAX:
                yield parts, False
                parts, count = [], 0
            parts.append(part)
            count += len(part.sources)
    yield parts, True


def _record(volume: Volume, parts: Sequence[Part], stored: dict[bytes, list[ops.Place]], recut: Sequence[int]) -> int:
    """One Seal op. Hits are looked up again in this turn; a piece that is neither known nor stored stays hot."""
    new: dict[bytes, ops.NewChunk] = {}
    ranges, sealed = [], 0
    next_chunk = volume.numbers.chunk
    for part in parts:
        piece = part.piece
        known = _usable(volume, piece.chunk_id)
        if known is not None:
            number = int(known.chunk)
        elif piece.chunk_id in new:
            number = new[piece.chunk_id].chunk
        elif piece.chunk_id in stored:
            older = chunks.find_by_id(volume.metadata, piece.chunk_id)  # bad, or on a missing disk: it heals
            number = int(older.chunk) if older else next_chunk
            next_chunk += 0 if older else 1
            new[piece.chunk_id] = ops.NewChunk(number, piece.chunk_id, len(piece.plain), stored[piece.chunk_id])
        else:
            continue
        ranges.append(_sealed_range(part, number))
        sealed += ranges[-1].length
    overlaid = sorted({part.piece.window.fork for part in parts if part.piece.window.cut.overlay})
    record(
        volume,
        ops.Seal(
            packs=packing.packs_of(stored.values()),
            chunks=list(new.values()),
            ranges=ranges,
            overlaid=overlaid,
            recut=list(recut),
            now_ns=now(volume),
        ),
    )
    volume.numbers.chunk = next_chunk
    return sealed


def _sealed_range(part: Part, number: int) -> ops.SealedRange:
    start, end = part.sources[0].offset, part.sources[-1].end
    sources = [ops.Source(e.offset, e.length, e.segment, e.base, e.skip) for e in part.sources]
    return ops.SealedRange(part.piece.window.fork, start, end - start, number, start - part.piece.offset, sources)
