"""The way of a chunk from the bucket: what is kept on the cache disk, one GET for all who ask, and ahead of readers.

Every frame is verified by whoever opens it (I12), wherever it came from. One that does not open is fetched once more.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from rustfsfs import ops
from rustfsfs.cache.pieces import Piece
from rustfsfs.config import WhenFrozen
from rustfsfs.content import codec
from rustfsfs.content.aead import Buffer
from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedData, ObjectFrozen, StoreError
from rustfsfs.meta import chunks, objects
from rustfsfs.store.bucket import ObjectFacts, Restore
from rustfsfs.store.cold import Door, pack_key
from rustfsfs.tiers import busy
from rustfsfs.tiers import fetch as fetching
from rustfsfs.tiers.ahead import Range, Reader
from rustfsfs.tiers.busy import BUSY
from rustfsfs.tiers.fetch import Fetch, FetchPolicy, Frame, Get, block_of, in_turns, plan_fetches, surroundings
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume.recording import record
from rustfsfs.volume.tier import FROZEN_MAX, Flight, Tier, remember
from rustfsfs.volume.volume import Volume, log

POLICY = FetchPolicy()
T = TypeVar("T")
RESTORE_DAYS = 3
TOLD_EVERY_S = 60.0
GRACE_S = 0.1  # of a read with all its GETs beyond that of one GET, which notes how slow the line is
RESTORE_ASKED_EVERY_S = 60.0  # how often a frozen pack is asked for again, whoever reads it
LOOK_EVERY_S = 10.0  # whether it can be read, as long as somebody waits for it


async def patiently(volume: Volume, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, for a request of an application: where `cold.frozen` says so it waits for the restore.

    Nobody else does: who seals or moves holds locks, and is answered at once. Raises as `work`.
    """
    tier, begin_s = volume.tier, trio.current_time()
    while True:
        try:
            return await work()
        except ObjectFrozen:
            waited_s, cold = trio.current_time() - begin_s, volume.config.cold  # which may be others by now
            if cold.when_frozen is WhenFrozen.FAIL or waited_s > cold.frozen_wait_s:
                raise
            if tier.waiting_frozen >= FROZEN_MAX:
                raise
        tier.waiting_frozen += 1
        try:
            await trio.sleep(LOOK_EVERY_S)
        finally:
            tier.waiting_frozen -= 1


async def load(volume: Volume, row: chunks.Chunk, places: Sequence[ops.Place]) -> bytes:
    """The plain bytes of a chunk that the bucket has at `places`: from the first that gives it.

    Raises DamagedData, ObjectMissing, StoreError: CloudUnavailable after `cold.read_deadline`, ObjectFrozen if any of
    them can be had by and by; its restore is asked for.
    """
    return (await load_frame(volume, row, places))[1]


async def load_frame(volume: Volume, row: chunks.Chunk, places: Sequence[ops.Place]) -> tuple[Buffer, bytes]:
    """(frame, plain bytes), as `load`."""
    try:
        with trio.fail_after(volume.config.cold.read_deadline_s + GRACE_S):
            return await _load_from_any(volume, row, places)
    except trio.TooSlowError:
        raise _too_late(volume) from None


async def _load_from_any(volume: Volume, row: chunks.Chunk, places: Sequence[ops.Place]) -> tuple[Buffer, bytes]:
    trouble: Exception | None = None
    for place in places:
        try:
            return await _load(volume, row, place)
        except (DamagedData, StoreError) as exc:
            _tell(volume, row, place, exc)
            trouble = trouble if isinstance(trouble, ObjectFrozen) else exc
    assert trouble is not None
    raise trouble


def _tell(volume: Volume, row: chunks.Chunk, place: ops.Place, exc: Exception) -> None:
    """What is wrong with the bucket as a whole meets every reader, in an outage thousands a second: now and then.

    That a pack is frozen, `want_restore` has told.
    """
    if isinstance(exc, ObjectFrozen):
        return
    if isinstance(exc, CloudUnavailable | CloudRefused):
        now_s = trio.current_time()
        if now_s - volume.tier.told_s < TOLD_EVERY_S:
            return
        volume.tier.told_s = now_s
    log.warning("chunk %d, pack %d of the bucket: %s", row.chunk, place.pack, exc)


async def _load(volume: Volume, row: chunks.Chunk, place: ops.Place) -> tuple[Buffer, bytes]:
    wanted = Piece(place.pack, place.disk, place.offset, place.stored_bytes)
    try:
        return await _opened(volume, row, wanted)
    except DamagedData as exc:
        log.warning("chunk %d, pack %d of the bucket: %s; it is fetched again", row.chunk, place.pack, exc)
    return await _opened(volume, row, wanted, fresh=True)


async def _opened(volume: Volume, row: chunks.Chunk, wanted: Piece, *, fresh: bool = False) -> tuple[Buffer, bytes]:
    frame = await _frame(volume, wanted, fresh=fresh)
    try:
        if len(frame) >= row.plain_bytes:  # stored raw: opened in less time than it takes to pass it between threads
            return frame, _open(volume, row, frame)
        return frame, await trio.to_thread.run_sync(_open, volume, row, frame, limiter=volume.readers)
    except DamagedData:
        await _forget(volume, wanted)
        raise


def _open(volume: Volume, row: chunks.Chunk, frame: Buffer) -> bytes:
    return codec.open_frame(
        frame, chunk_id=row.chunk_id, plain_bytes=row.plain_bytes, keys=volume.keys, uuid=volume.header.uuid
    )


async def _forget(volume: Volume, wanted: Piece) -> None:
    """What holds a damaged frame is not read again."""
    tier = volume.tier
    tier.forget(wanted)
    held = tier.pieces.find(wanted)
    if held is not None and tier.files is not None:
        tier.pieces.remove(held)
        await trio.to_thread.run_sync(tier.files.delete, [held])


async def _frame(volume: Volume, wanted: Piece, *, fresh: bool) -> Buffer:
    """The bytes of a frame; `fresh`: from the bucket, nothing beside it, and whatever is kept."""
    tier = volume.tier
    if not fresh:
        if (recent := tier.recently(wanted)) is not None:
            return recent
        if (under_way := tier.covering(wanted)) is None:
            kept = await _kept(tier, wanted)
            if kept is not None:
                return kept
            under_way = tier.covering(wanted)
        if under_way is not None:
            data = await _landed(volume, under_way[1])
            if data is not None:
                return _part(data, under_way[0], wanted)
    piece = wanted if fresh else await _with_surroundings(volume, wanted)
    return _part(await fetch(volume, piece), piece, wanted)


def _part(data: bytes, piece: Piece, wanted: Piece) -> memoryview:
    return memoryview(data)[wanted.offset - piece.offset : wanted.end - piece.offset]


async def _landed(volume: Volume, flight: Flight) -> bytes | None:
    """What another's GET brings; None if it was given up. Raises its error, CloudUnavailable past the deadline."""
    with trio.move_on_after(volume.config.cold.read_deadline_s):
        await flight.landed.wait()
    if flight.error is not None:
        raise flight.error
    if not flight.landed.is_set():
        raise _too_late(volume)
    return flight.data


def _too_late(volume: Volume) -> CloudUnavailable:
    name = "the bucket" if volume.tier.door is None else volume.tier.door.name
    return CloudUnavailable(f"{name} did not answer within {volume.config.cold.read_deadline_s:g} s")


async def _kept(tier: Tier, wanted: Piece) -> bytes | None:
    """From the cache disk; None if it is not there any more."""
    held = tier.pieces.find(wanted)
    if held is None or tier.files is None:
        return None
    try:
        data = await trio.to_thread.run_sync(tier.files.read, held, wanted.offset, wanted.size_bytes)
    except OSError:
        data = b""
    if len(data) == wanted.size_bytes:
        return data
    tier.pieces.remove(held)
    await trio.to_thread.run_sync(tier.files.delete, [held])
    return None


async def _with_surroundings(volume: Volume, wanted: Piece) -> Piece:
    """What to GET for a frame that is missed: small files that were written together are read together."""
    tier, key, policy = volume.tier, (wanted.pack, wanted.disk), policy_of(volume)
    frame = Frame(wanted.offset, wanted.size_bytes)
    if wanted.size_bytes > policy.small_bytes:
        return wanted
    misses = tier.misses.pop(key, 0)
    tier.misses[key] = misses + 1
    remember(tier.misses)
    block = block_of(wanted.offset, misses=misses, policy=policy)
    await volume.gate.opened()
    near = [Frame(*row) for row in chunks.frames_between(volume.metadata, *key, block.start, block.end)]
    missing = [one for one in near if not tier.pieces.holds(_piece(key, one))]
    return _piece(key, surroundings(frame, missing, misses=misses, policy=policy))


def _piece(key: PackKey, found: Frame | Fetch) -> Piece:
    return Piece(*key, found.offset, found.size_bytes)


async def fetch(volume: Volume, piece: Piece) -> bytes:
    """GET a range of a pack, keep it on the cache disk, and give it to all who wait for something in it.

    Raises ObjectFrozen, ObjectMissing, DamagedData (it is shorter), StoreError.
    """
    tier, key = volume.tier, (piece.pack, piece.disk)
    flight = Flight()
    flights = tier.flights.setdefault(key, {})
    flights[piece] = flight
    try:
        data = await _get(volume, piece)
        _note(volume, key, len(data))
        tier.remember_piece(piece, data)
        flight.data = data
        flight.landed.set()
        await _keep(tier, piece, data)
        return data
    except Exception as exc:
        flight.error = exc
        tier.traffic.failures += 1
        tier.traffic.last_error = str(exc)
        raise
    finally:
        if flights.get(piece) is flight:
            del flights[piece]
        if not flights:
            tier.flights.pop(key, None)
        flight.landed.set()


async def _get(volume: Volume, piece: Piece) -> bytes:
    door, key = volume.tier.door, pack_key(piece.pack, piece.disk)
    if door is None:
        raise CloudUnavailable(volume.tier.trouble or "the volume has no bucket, and this data is in one")
    begin_s = trio.current_time()
    try:
        with trio.fail_after(volume.config.cold.read_deadline_s):
            data = await trio.to_thread.run_sync(
                door.front.get,
                key,
                piece.offset,
                piece.size_bytes,
                limiter=volume.tier.fetchers,
                abandon_on_cancel=True,
            )
    except trio.TooSlowError:
        volume.tier.gets.append(Get(begin_s, trio.current_time(), 0))
        raise _too_late(volume) from None
    except ObjectFrozen as exc:
        want_restore(volume, (piece.pack, piece.disk), exc)
        raise
    if len(data) >= POLICY.small_bytes:  # a shorter one tells of the round trip, not of the line
        volume.tier.gets.append(Get(begin_s, trio.current_time(), len(data)))
    volume.tier.restores.pop((piece.pack, piece.disk), None)
    return data


def want_restore(volume: Volume, key: PackKey, exc: ObjectFrozen) -> None:
    """Have a frozen pack's restore asked for, once a minute at the most, whoever reads it; told at the first time.

    By a task of its own: a reader who is given up does not take it along.
    """
    tier, now_s = volume.tier, trio.current_time()
    wanted_s = tier.restores.get(key)
    if wanted_s is not None and now_s - wanted_s < RESTORE_ASKED_EVERY_S:
        return
    if wanted_s is None:
        log.warning("%s; its restore is asked for", exc)
    tier.restores.pop(key, None)  # the one wanted last stays longest
    tier.restores[key] = now_s
    remember(tier.restores)
    tier.to_restore.append(key)
    volume.wishes.restore.set()


async def ask_for_restores(volume: Volume) -> None:
    """Of all that are wanted; their classes are recorded. What cannot be asked for is wanted again when it is read."""
    tier = volume.tier
    while tier.to_restore:
        key, door = tier.to_restore.popleft(), tier.door
        try:
            if door is not None:
                await _ask_for_restore(volume, door, key)
        except (StoreError, DamagedData) as exc:
            if key in tier.restores:
                tier.restores[key] = trio.current_time() - RESTORE_ASKED_EVERY_S
            log.warning("the restore of %s could not be asked for: %s", pack_key(*key), exc)


async def _ask_for_restore(volume: Volume, door: Door, key: PackKey) -> None:
    state = await trio.to_thread.run_sync(
        lambda: door.front.restore(pack_key(*key), days=RESTORE_DAYS),
        limiter=volume.tier.fetchers,
        abandon_on_cancel=True,
    )
    if state is Restore.READY:
        volume.tier.restores.pop(key, None)
    await _learn_class(volume, door, key)


async def _learn_class(volume: Volume, door: Door, key: PackKey) -> None:
    """A rule of the bucket's owner has frozen it behind our back: status shall say so, and how long it takes."""
    facts = await trio.to_thread.run_sync(
        door.front.head, pack_key(*key), limiter=volume.tier.fetchers, abandon_on_cancel=True
    )
    await volume.gate.opened()
    note_class(volume, key, facts)


def note_class(volume: Volume, key: PackKey, facts: ObjectFacts) -> None:
    """Record what class a pack's object is of now, if that is another one than before. The gate is open."""
    found = objects.find(volume.metadata, *key)
    if found is None or found.placement == facts.placement.value or volume.health.read_only_reason is not None:
        return
    record(volume, ops.Reclassed(*key, placement=facts.placement.value, put_s=int(facts.modified_s)))


def _note(volume: Volume, key: PackKey, size_bytes: int) -> None:
    """For the policies: a pack of which much is fetched comes back whole."""
    tier, now_s = volume.tier, volume.world.now_ns() / 1e9
    tier.busy[key] = busy.noted(tier.busy.pop(key, None), size_bytes, now_s=now_s, policy=BUSY)
    remember(tier.busy)
    tier.reads_s[key] = int(now_s)
    tier.traffic.fetches += 1
    tier.note_down(size_bytes)


async def _keep(tier: Tier, piece: Piece, data: bytes) -> None:
    """On the cache disk, if it may be: within its limit at all times. No room there is no trouble for a reader."""
    gone = None if tier.files is None else tier.pieces.add(piece)
    if gone is None or tier.files is None:
        return
    with trio.CancelScope(shield=True):  # or a file would be left that nobody knows
        try:
            await trio.to_thread.run_sync(_replace, tier, gone, piece, data)
        except OSError as exc:
            tier.pieces.remove(piece)
            log.warning("what was read from the bucket could not be kept: %s", exc)
        if not tier.pieces.has(piece):  # it had to go while it was written
            await trio.to_thread.run_sync(tier.files.delete, [piece])


def _replace(tier: Tier, gone: Sequence[Piece], piece: Piece, data: bytes) -> None:
    assert tier.files is not None
    tier.files.delete(gone)
    tier.files.write(piece, data)


def plan_window(
    volume: Volume, reader: Reader | None, start: int, end: int, *, size: int
) -> tuple[Reader, Range | None]:
    """As `tiers.ahead.plan_ahead`, for a file that was found to be cold."""
    connections, bytes_max = volume.config.bucket.concurrency, volume.config.cache.disk_bytes // 4
    policy = policy_of(volume)
    window_max = fetching.window_bytes(connections=connections, policy=policy, bytes_max=bytes_max)
    return fetching.plan_window(reader, start, end, size=size, window_max=window_max, policy=policy)


def policy_of(volume: Volume) -> FetchPolicy:
    """For the line as it is: as fast as the last GETs were, and as `bucket.download_rate` lets it be."""
    known = [fetching.line_bytes_s(volume.tier.gets), volume.config.bucket.download_bytes_s or None]
    bytes_s = min((rate for rate in known if rate is not None), default=None)
    return fetching.fitted(POLICY, bytes_s=bytes_s, deadline_s=volume.config.cold.read_deadline_s)


async def fetch_ahead(volume: Volume, places: Sequence[ops.Place]) -> None:
    """Bring frames to the cache disk, over several connections. What cannot be had is left to who asks for it."""
    tier, policy = volume.tier, policy_of(volume)
    by_pack: dict[PackKey, list[Frame]] = {}
    total_bytes = 0
    for place in places:
        wanted = Piece(place.pack, place.disk, place.offset, place.stored_bytes)
        if tier.recently(wanted) is None and not tier.pieces.holds(wanted) and tier.covering(wanted) is None:
            by_pack.setdefault((place.pack, place.disk), []).append(Frame(place.offset, place.stored_bytes))
            total_bytes += place.stored_bytes
    connections = volume.config.bucket.concurrency
    pieces = [
        _piece(key, one)
        for key, frames in by_pack.items()
        for one in plan_fetches(frames, total_bytes=total_bytes, connections=connections, policy=policy)
    ]
    for turn in in_turns(pieces, [piece.size_bytes for piece in pieces], policy=policy):
        async with trio.open_nursery() as nursery:
            for piece in turn:
                nursery.start_soon(_fetch_quietly, volume, piece)


async def _fetch_quietly(volume: Volume, piece: Piece) -> None:
    try:
        await fetch(volume, piece)
    except ObjectFrozen:
        pass  # it was told when its restore was asked for
    except (CloudUnavailable, CloudRefused) as exc:
        now_s = trio.current_time()
        if now_s - volume.tier.told_ahead_s >= TOLD_EVERY_S:
            volume.tier.told_ahead_s = now_s
            log.info("fetching ahead: %s", exc)
    except (DamagedData, StoreError) as exc:
        log.info("fetching ahead: %s", exc)
