"""What the bucket says of a pack's object: is it there, is it what was put there; and another class for it.

Order of a change of class: object of that class, proved → Reclassed op. Cut anywhere, the next round does what is left:
one that is of its new class already is left as it is.
"""

from collections.abc import Callable
from functools import partial

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import DamagedData, ObjectFrozen, ObjectMissing
from rustfsfs.meta import objects
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import Door, pack_key
from rustfsfs.tiers.packs import PackKey
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.owning import door_of
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log


async def is_there(volume: Volume, door: Door, found: objects.Object) -> bool:
    """And can it be read at once? Somebody may have deleted it since: then a later round puts it there again. Or a rule
    of the bucket's owner may have frozen it: that is recorded, and its local copy stays.
    """
    facts = await proved(volume, found, partial(door.writes.head, pack_key(found.pack, found.disk)))
    if facts is None:
        return False
    if facts.placement.value != found.placement:
        log.warning("pack %d of disk %d was moved to %s by the bucket", found.pack, found.disk, facts.placement.value)
        await volume.gate.opened()
        placement, put_s = facts.placement.value, int(facts.modified_s)
        record(volume, ops.Reclassed(pack=found.pack, disk=found.disk, placement=placement, put_s=put_s))
    return facts.readable


async def proved(volume: Volume, found: objects.Object, request: Callable[[], ObjectFacts]) -> ObjectFacts | None:
    """What the bucket says of a pack's object, if it is the one that was put there; else that it is lost is recorded.

    Raises CloudUnavailable, CloudRefused, ObjectFrozen.
    """
    try:
        facts = await trio.to_thread.run_sync(request, limiter=volume.tier.workers, abandon_on_cancel=True)
        if (facts.size_bytes, facts.crc64) == (found.size_bytes, int.from_bytes(found.crc64)):
            return facts
        why = "it is not what was put there"
    except DamagedData as exc:
        why = str(exc)
    except ObjectMissing:
        why = "it is gone from the bucket"
    await volume.gate.opened()
    if objects.find(volume.metadata, found.pack, found.disk) is None:
        return None  # its pack was dropped meanwhile
    text = f"the copy of pack {found.pack} of disk {found.disk} in the bucket is lost: {why}"
    log.error("%s", text)
    record(volume, ops.ObjectLost(pack=found.pack, disk=found.disk))
    if objects.is_cold(volume.metadata, found.pack, found.disk):
        volume.health.left_alone.leave((found.pack, found.disk), Why.LOST, text, now_s=trio.current_time())
    return None


async def reclass(volume: Volume, key: PackKey, *, placement: Placement) -> bool:
    """Bring the object of a pack to another class, and record of which it is. False: of the one that we knew, or lost.

    Raises CloudUnavailable, CloudRefused.
    """
    door = door_of(volume)
    await volume.gate.opened()
    found = objects.find(volume.metadata, *key)
    if found is None:
        return False
    try:
        facts = await proved(volume, found, partial(door.writes.reclass, pack_key(*key), placement=placement))
    except ObjectFrozen as exc:
        log.warning("%s; a rule of the bucket's owner may have frozen it", exc)
        facts = await proved(volume, found, partial(door.writes.head, pack_key(*key)))
    if facts is None:
        return False
    await volume.gate.opened()
    record(volume, ops.Reclassed(*key, placement=facts.placement.value, put_s=int(facts.modified_s)))
    return facts.placement.value != found.placement
