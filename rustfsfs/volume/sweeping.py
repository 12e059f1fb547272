"""The bucket's list of packs against ours: what a crash left there goes, what is lost there is put again or told.

Once a day, and soon after each mount. One LIST for a thousand objects; between two of them it can be cancelled.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import trio

from rustfsfs import ops
from rustfsfs.errors import PackMissing
from rustfsfs.meta import chunks, objects
from rustfsfs.store.base import PackStore
from rustfsfs.store.bucket import PAGE_KEYS_MAX, Bucket, ObjectFacts
from rustfsfs.store.cold import PACKS, Door, pack_key, parse_pack_key
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume import coldreading, epochs, owning, paths, tiering
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log

SWEEP_EVERY_S = 86400.0
FIRST_S = 300.0  # after a mount: readers come first; what is lost is known in RAM only
FIRST_UNCLEAN_S = 60.0
LEFTOVER_S = 3600.0  # what is younger may be an upload whose record is yet to come
PATHS_MAX = 10
OBJECTS = "SELECT pack, disk, size_bytes, placement FROM objects"


class Swept(NamedTuple):
    leftovers: list[str]  # keys of objects that are nobody's
    unknown: list[PackKey]  # packs that we have, and do not know to be in the bucket
    moved: list[ObjectFacts]  # packs that are of another class than we knew
    lost: list[PackKey]  # packs the bucket should have and has not, or not whole


class Rows(NamedTuple):
    """What our metadata says, as of a COMMIT."""

    known: dict[PackKey, tuple[int, str]]  # size and class of the packs that the bucket has
    packs: set[PackKey]
    doomed: set[PackKey]


async def sweep(volume: Volume) -> Swept:
    """Raises CloudUnavailable, CloudRefused.

    Of a volume whose metadata was restored, packs that were there before stay: newer metadata may name them.
    """
    door = await owning.ensure_owner(volume)
    await epochs.commit(volume)
    found = await _compare(volume, door.reads, tiering.wall_s(volume))
    await volume.gate.opened()
    spared = volume.metadata.running.is_spared
    gone = [name for name in found.leftovers if (key := parse_pack_key(name)) is not None and not spared(key[0])]
    for start in range(0, len(gone), PAGE_KEYS_MAX):
        await _delete(volume, gone[start : start + PAGE_KEYS_MAX])
    for key in found.unknown:
        async with volume.tier.lock:
            await _adopt(volume, door, key)
    await _note_moved(volume, door, found.moved)
    await _deal_with_lost(volume, found.lost)
    return found


async def _note_moved(volume: Volume, door: Door, moved: list[ObjectFacts]) -> None:
    """By rules of the bucket's owner, or by its hand; frozen ones are told, for they cannot be read at once."""
    frozen = [facts for facts in moved if facts.placement.freezes]
    if frozen:
        log.warning(
            "%d packs in %s were moved to %s, and have to be restored to be read; remove the rule that does so",
            *(len(frozen), door.name, frozen[0].placement.value),
        )
    for facts in moved:
        await volume.gate.opened()
        if (key := parse_pack_key(facts.key)) is not None:
            coldreading.note_class(volume, key, facts)


async def _delete(volume: Volume, leftovers: Sequence[str]) -> None:
    """With one request. While there was a look at the list a number may have been given out anew, and its pack be in
    the bucket by now: so what nobody needs is looked for again, and nobody uploads until it is gone.
    """
    async with volume.tier.lock:
        door = await owning.ensure_owner(volume)
        await volume.gate.opened()
        nobodys = [name for name in leftovers if _is_nobodys(volume, parse_pack_key(name))]
        if not nobodys:
            return
        log.info("%d objects of packs that were never recorded are deleted from %s", len(nobodys), door.name)
        delete = partial(door.writes.delete, nobodys)
        await trio.to_thread.run_sync(delete, limiter=volume.tier.workers, abandon_on_cancel=True)


def _is_nobodys(volume: Volume, key: PackKey | None) -> bool:
    return key is not None and not (
        chunks.find_pack(volume.metadata, *key) is not None or objects.is_doomed(volume.metadata, *key)
    )


async def _adopt(volume: Volume, door: Door, key: PackKey) -> None:
    """A pack whose file is not on its disk lies in the bucket: older metadata, restored, does not know it was demoted.

    One whose file is there the next round uploads, and finds it there; so may one have done since the list.
    """
    store = volume.disks.get(key[1])
    await volume.gate.opened()
    if store is None or objects.find(volume.metadata, *key) is not None:
        return
    if await trio.to_thread.run_sync(_is_on, store, key[0]):
        return
    head = partial(door.reads.head, pack_key(*key))
    facts = await trio.to_thread.run_sync(head, limiter=volume.tier.workers, abandon_on_cancel=True)
    if facts.crc64 is None:
        return
    await volume.gate.opened()
    log.warning("pack %d of disk %d is not on its disk, and is in the bucket: it is cold from now on", *key)
    put = ops.Uploaded(
        pack=key[0],
        disk=key[1],
        size_bytes=facts.size_bytes,
        crc64=facts.crc64.to_bytes(8),
        placement=facts.placement.value,
        put_s=int(facts.modified_s),
    )
    for op in (ops.ClosePack(pack=key[0], disk=key[1], size_bytes=facts.size_bytes), put, ops.Demote(packs=[key])):
        record(volume, op)


def _is_on(store: PackStore, pack: int) -> bool:
    """Blocking."""
    try:
        return store.pack_size(pack) > 0
    except PackMissing:
        return False


async def _compare(volume: Volume, bucket: Bucket, now_s: float) -> Swept:
    """All names of packs are in memory meanwhile: 200 bytes for 16 MiB."""
    rows = await trio.to_thread.run_sync(_rows, volume)
    found = Swept([], [], [], [])
    missing, after, is_more = dict(rows.known), "", True
    while is_more:
        page = partial(_page, bucket, after)
        listed = await trio.to_thread.run_sync(page, limiter=volume.tier.workers, abandon_on_cancel=True)
        for facts in listed:
            _sort_in(facts, rows, missing, found, now_s)
        is_more = len(listed) == PAGE_KEYS_MAX
        after = listed[-1].key if listed else after
    return found._replace(lost=list(missing))


def _rows(volume: Volume) -> Rows:
    """Blocking."""
    with paths.reading_apart(volume) as metadata:
        return Rows(
            {(pack, disk): (size, kind) for pack, disk, size, kind in metadata.rows(OBJECTS)},
            {(pack, disk) for pack, disk in metadata.rows("SELECT pack, disk FROM packs")},
            {(pack, disk) for pack, disk in metadata.rows("SELECT pack, disk FROM doomed_objects")},
        )


def _page(bucket: Bucket, after: str) -> list[ObjectFacts]:
    """As many as one request gives. Blocking."""
    return list(islice(bucket.list(PACKS, after=after), PAGE_KEYS_MAX))


def _sort_in(
    facts: ObjectFacts, rows: Rows, missing: dict[PackKey, tuple[int, str]], found: Swept, now_s: float
) -> None:
    key = parse_pack_key(facts.key)
    if key is None:
        return
    size_bytes, kind = missing.get(key, (-1, ""))
    if size_bytes == facts.size_bytes:
        del missing[key]
        if kind != facts.placement.value:
            found.moved.append(facts)
    elif key not in rows.known and key in rows.packs:
        found.unknown.append(key)
    elif key not in rows.known and key not in rows.doomed and now_s - facts.modified_s > LEFTOVER_S:
        found.leftovers.append(facts.key)


async def _deal_with_lost(volume: Volume, lost: list[PackKey]) -> None:
    """What lies on a disk too is put there again by the next round; the files of the rest are named."""
    volume.health.left_alone.forget(Why.LOST)
    for pack, disk in lost:
        await volume.gate.opened()
        if objects.find(volume.metadata, pack, disk) is None:
            continue  # it was dropped meanwhile
        if not objects.is_cold(volume.metadata, pack, disk):
            log.warning("pack %d of disk %d is gone from the bucket; it is uploaded again", pack, disk)
            record(volume, ops.ObjectLost(pack=pack, disk=disk))
            continue
        named = await trio.to_thread.run_sync(_files_of, volume, (pack, disk))
        text = (
            f"{pack_key(pack, disk)} is lost in the bucket: {', '.join(named[:PATHS_MAX]) or 'no file'} cannot be read"
        )
        volume.health.left_alone.leave((pack, disk), Why.LOST, text, now_s=trio.current_time())
        log.error("%s", text)


def _files_of(volume: Volume, key: PackKey) -> list[str]:
    """Those that need a pack and have no other copy on a disk. Blocking."""
    named: dict[str, None] = {}
    with paths.reading_apart(volume) as metadata:
        found = metadata.rows(
            "SELECT p.chunk FROM places p WHERE p.pack = ? AND p.disk = ? AND NOT EXISTS (SELECT 1 FROM places o"
            " JOIN packs k USING (pack, disk) WHERE o.chunk = p.chunk AND NOT k.closed & 2) LIMIT 1000",
            key,
        )
        for (chunk,) in found:
            named.update(dict.fromkeys(paths.paths_of_chunk(metadata, chunk)))
            if len(named) >= PATHS_MAX:
                break
    return list(named)
