"""Whose the bucket is (I9): every batch of writes and deletions there asks here first.

A life takes a term before its first write, and looks for a newer one ever after: one LIST, which answers nothing.
Order: WantTerm op → barrier → the term's object, create-only → looked again: it is the newest → TakeTerm op → writes.
Cut anywhere, the next life knows the term that it finds, and takes the one behind it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedData, ObjectExists, ObjectMissing
from rustfsfs.meta import objects
from rustfsfs.store import manifest as layout
from rustfsfs.store import terms
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import Door
from rustfsfs.tiers.terms import Fenced, Hold, Noted, Take, Term, newest_taken, plan_term
from rustfsfs.volume import copies
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log

TERMS_KEPT = 3  # of their objects: only the newest counts, the others are for people who look
GO_ON = (
    "nothing is written or deleted there from here any more; use one of the two only: unmount this one, or"
    ' `rustfsfs help recovery`, "Another host has the bucket", says how it goes on here'
)
T = TypeVar("T")


def door_of(volume: Volume) -> Door:
    """For reading. Raises CloudUnavailable: the volume has none, or it cannot be used."""
    if volume.tier.door is None:
        raise CloudUnavailable(volume.tier.trouble or "the volume has no bucket; rustfsfs bucket attach names one")
    return volume.tier.door


async def in_worker(work: Callable[[], T], volume: Volume) -> T:
    """A request may take long; who is cancelled, as at unmount, does not wait for its end."""
    return await trio.to_thread.run_sync(work, limiter=volume.tier.workers, abandon_on_cancel=True)


def refuse_fenced(volume: Volume) -> None:
    """What is known already, without a request. Raises CloudRefused."""
    if volume.tier.fenced is not None:
        raise CloudRefused(volume.tier.fenced)


async def ensure_owner(volume: Volume) -> Door:
    """The door for a batch of writes or deletions that begins now: nobody has taken the bucket over.

    Raises CloudRefused: somebody has; CloudUnavailable, JournalFailed.
    """
    tier, door = volume.tier, door_of(volume)
    refuse_fenced(volume)
    if tier.term is None:
        await _take(volume, door)
    else:
        behind = terms.term_key(tier.term)
        found = await in_worker(lambda: [one.key for one in door.reads.list(terms.TERMS, after=behind)], volume)
        ensure_newest_term(volume, found)
    return door


async def ensure_newest(volume: Volume) -> Door:
    """As `ensure_owner`, and nobody has published newer metadata than ours either: before a copy is made."""
    tier, door = volume.tier, door_of(volume)
    refuse_fenced(volume)
    if tier.term is None:
        await _take(volume, door)
    else:
        keys = await in_worker(partial(copies.keys_in, door.reads), volume)
        ensure_newest_term(volume, keys)
        await _go_behind(volume, door, keys, term=tier.term)
    return door


def ensure_newest_term(volume: Volume, keys: Iterable[str]) -> None:
    """Is there no newer term than ours among keys that the bucket has now? Raises CloudRefused."""
    held, newest = volume.tier.term, newest_in(keys)
    assert held is not None
    if newest > held:
        _fence(volume, newest)


def newest_in(keys: Iterable[str]) -> int:
    """0: there is none."""
    return max((number for key in keys if (number := terms.parse_term_key(key)) is not None), default=0)


def _fence(volume: Volume, newest: int) -> None:
    _fence_for(volume, f"another host has taken the bucket over (term {newest}, not known here): {GO_ON}")


def _fence_for(volume: Volume, why: str) -> None:
    """Of this life, for good. Raises CloudRefused."""
    volume.tier.fenced = why
    raise CloudRefused(why)


async def _take(volume: Volume, door: Door) -> None:
    tier = volume.tier
    async with tier.term_lock:
        if tier.term is not None:
            return  # somebody else of this life, just now
        tier.life = tier.life or volume.world.random_bytes(terms.LIFE_SIZE)
        await in_worker(partial(copies.our_header_in, door.reads, volume.header.uuid), volume)
        while not await _try(volume, door):
            pass


async def _try(volume: Volume, door: Door) -> bool:
    """One look, and one attempt; True: the bucket is ours. The look behind an attempt is what decides."""
    keys = await in_worker(partial(copies.keys_in, door.reads), volume)
    newest = await in_worker(partial(_read_newest, volume, door.reads, keys), volume)
    await volume.gate.opened()
    noted, running = [Noted(*row) for row in objects.terms(volume.metadata)], volume.metadata.running
    decided = plan_term(newest, noted, life=volume.tier.life, may_take_over=bool(running.may_take_over))
    if isinstance(decided, Fenced):
        if newest is not None and newest.life is None:
            raise CloudRefused(
                f"the object of term {newest.number} in the bucket does not open: {GO_ON}"
            )  # not for good
        _fence(volume, decided.number)
    _refuse_undecided(volume, keys)
    await _go_behind(volume, door, keys, term=newest_taken(noted))
    await volume.gate.opened()
    if isinstance(decided, Take):
        await _attempt(volume, door, decided.number)
        return False
    assert isinstance(decided, Hold)
    record(volume, ops.TakeTerm(number=decided.number, life=volume.tier.life))
    volume.tier.term = decided.number
    log.info("%s is ours: term %d", door.name, decided.number)
    await _delete_old(volume, door, keys)
    return True


def _read_newest(volume: Volume, bucket: Bucket, keys: list[str]) -> Term | None:
    """Blocking. One that does not open is asked for once more: it may have been the way."""
    number = newest_in(keys)
    if not number:
        return None
    for _again in range(2):
        try:
            data = bucket.get(terms.term_key(number), 0, terms.TERM_SIZE)
            return Term(number, terms.open_term(data, number=number, keys=volume.keys, uuid=volume.header.uuid))
        except DamagedData:
            pass
        except ObjectMissing as exc:
            raise CloudUnavailable(f"{bucket.name}: whose the bucket is changes just now; try again") from exc
    return Term(number, None)


def _refuse_undecided(volume: Volume, keys: Iterable[str]) -> None:
    """Older metadata was restored than the bucket has: what is newer there goes if a person says so, and not before.

    Raises CloudRefused.
    """
    restored, newest = volume.metadata.running.restored_epoch, layout.newest_whole(keys)
    if restored and newest > restored:
        _fence_for(
            volume,
            f"the bucket has newer metadata (epoch {newest}) than was restored (epoch {restored}), and nothing is"
            " written or deleted there until you decide, unmounted: fsck --rebuild-from-bucket brings the newer back,"
            " fsck --accept-restored gives it up",
        )


async def _attempt(volume: Volume, door: Door, number: int) -> None:
    """Of two at once one creates the object; the look behind it says who. It may be there, and nobody hear of it."""
    life = volume.tier.life
    record(volume, ops.WantTerm(number=number, life=life))
    await barrier(volume)
    salt = volume.world.random_bytes(terms.SALT_SIZE)
    sealed = terms.seal_term(number, life, salt=salt, keys=volume.keys, uuid=volume.header.uuid)
    put = partial(door.writes.put, terms.term_key(number), sealed, placement=Placement.STANDARD)
    try:
        await in_worker(put, volume)
    except ObjectExists:
        log.info("term %d of %s is taken", number, door.name)


async def _delete_old(volume: Volume, door: Door, keys: list[str]) -> None:
    held = volume.tier.term
    assert held is not None
    numbers = [(terms.parse_term_key(key), key) for key in keys]
    old = [key for number, key in numbers if number is not None and number <= held - TERMS_KEPT]
    if old:
        await in_worker(partial(door.writes.delete, old), volume)


async def _go_behind(volume: Volume, door: Door, keys: list[str], *, term: int) -> None:
    """Epochs only grow, so a newer copy of the metadata than ours says that ours is old. Raises CloudRefused.

    term   the newest that we know to be ours

    Not so if a person has decided for ours, nor if an owner before us published it: he had looked, and was late. Then
    our epochs go on behind it, so that what we publish is the newest.
    """
    running, found = volume.metadata.running, layout.copies(keys)
    newer = [name for name, parts in found.items() if layout.is_whole(parts) and layout.epoch_of(name) > running.epoch]
    if not newer:
        return
    for name in newer if not running.may_take_over else []:
        theirs = await in_worker(partial(_term_of, volume, door.reads, name), volume)
        if theirs is None or theirs >= term:
            _fence_for(
                volume,
                f"the bucket has metadata of epoch {layout.epoch_of(name)}, this volume is at {running.epoch}: another"
                f" host goes on with it, or the metadata was rolled back; {GO_ON}",
            )
    await volume.gate.opened()
    running.epoch = max(running.epoch, layout.epoch_of(newer[-1]))


def _term_of(volume: Volume, bucket: Bucket, name: str) -> int | None:
    """In which a copy was published; None: it does not open. Blocking."""
    try:
        return copies.read_manifest(bucket, name, volume.keys, volume.header.uuid)[0].term
    except (DamagedData, ObjectMissing):
        return None
