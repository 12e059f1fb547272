"""One round of the mover: look at all packs, plan, carry it out. The policies are `tiers`', the steps `tiering`'s."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    DamagedData,
    NoSpace,
    ObjectFrozen,
    RustfsfsError,
    StoreError,
    without_frames,
)
from rustfsfs.meta import chunks, objects
from rustfsfs.tiers import cold_collect, twice
from rustfsfs.tiers.cold_collect import ColdCollectPolicy, Collection, plan_cold_collection
from rustfsfs.tiers.demote import Action, Demotion, plan_demotion
from rustfsfs.tiers.packs import BucketObject, Pack, PackKey
from rustfsfs.tiers.placing import plan_cooling
from rustfsfs.tiers.protect import UploadPlan, plan_uploads
from rustfsfs.tiers.recall import Recall, plan_recall
from rustfsfs.units import MIB
from rustfsfs.volume import deleting, demoting, owning, proving, rehoming, tiering, uploading
from rustfsfs.volume.collecting import Progress
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.tiering import Facts
from rustfsfs.volume.volume import Volume, log

REWRITTEN_PER_ROUND = 64 * MIB
UPLOADS_PER_ROUND = 64  # then everything is looked at anew: what is full now comes first
DEMOTIONS_AT_ONCE = 20  # with one barrier
COOLED_AT_ONCE = 4  # half of `tier.WORKERS`, so that a publication finds one
COOLED_PER_ROUND = 64  # three or four requests each: a terabyte takes a thousand rounds, which is no hurry


class Plan(NamedTuple):
    demotions: list[Demotion]
    uploads: UploadPlan
    recalls: list[Recall]
    rewrites: list[Collection]  # of packs in the bucket that are mostly dead
    dead: list[Collection]  # packs in which nothing lives: the collector drops them, whatever is planned here
    cooling: list[PackKey]  # of the Standard class, to IA


async def plan_round(volume: Volume) -> tuple[Facts, Plan]:
    """What is due now. Changes nothing."""
    facts = await tiering.gather(volume)
    left_alone, now_s = volume.health.left_alone, trio.current_time()
    alone = {why: frozenset(left_alone.packs(why, now_s=now_s)) for why in Why}
    return facts, await trio.to_thread.run_sync(_plan, volume, facts, alone)


def _plan(volume: Volume, facts: Facts, alone: Mapping[Why, frozenset[PackKey]]) -> Plan:
    """Blocking: seconds for hundreds of thousands of packs. `volume.tier` is only looked at."""
    config, tier = volume.config, volume.tier
    lost, unreadable = alone[Why.LOST], frozenset().union(*(alone[why] for why in Why if why is not Why.DAMAGED))
    demotions = plan_demotion(facts.packs, facts.disks, config.demote, now_s=facts.now_s)
    uploads = plan_uploads(
        facts.packs,
        config.protect,
        now_s=facts.now_s,
        room_bytes=1 << 62,
        first=[one.key for one in demotions if one.action is Action.UPLOAD],
        under_way={*tier.uploading, *facts.unknown, *alone[Why.DAMAGED], *alone[Why.UNMOVED]},
    )
    recalls = plan_recall(
        facts.packs,
        facts.disks,
        config.demote,
        now_s=facts.now_s,
        room_bytes=max(0, config.bucket.in_flight_bytes - sum(tier.recalling.values())),
        under_way={*tier.recalling, *unreadable},
    )
    collections = plan_cold_collection(
        [pack for pack in facts.packs if pack.key not in unreadable and not (pack.live_bytes and _is_here(pack))],
        ColdCollectPolicy(live_share=config.collect.live_share),
        now_s=facts.now_s,
        moved_bytes_max=REWRITTEN_PER_ROUND,
        rewritten_to=config.bucket.placement,
    )
    rewrites = [one for one in collections if one.action is cold_collect.Action.REWRITE]
    dead = [one for one in collections if one.action is cold_collect.Action.DELETE]
    cooling = plan_cooling(
        [pack for pack in facts.packs if pack.key not in lost and pack.key not in alone[Why.UNMOVED]],
        config.bucket,
        now_s=facts.now_s,
        live_share=config.collect.live_share,
        count_max=COOLED_PER_ROUND,
    )
    return Plan(demotions, uploads, recalls, rewrites, dead, cooling)


def _is_here(pack: Pack) -> bool:
    """A disk has it, be it missing now: it is the local collector's."""
    return pack.is_local or pack.is_away


async def run_round(volume: Volume) -> bool:
    """Everything that is due; True if something was done, so that another look may find more.

    Raises CloudUnavailable, CloudRefused: the bucket is to be left alone for a while. What was done stays done.
    """
    async with volume.tier.lock:
        owning.refuse_fenced(volume)
        volume.tier.round_no += 1
        facts, plan = await plan_round(volume)
        _note_backlog(volume, facts.packs, plan.uploads)
        if volume.metadata.running.may_take_over:
            await owning.ensure_owner(volume)  # at once: the old host may be at work yet
        await uploading.close_packs(volume, plan.uploads.close)
        done = await _demote(volume, plan.demotions)
        done += await _upload(volume, facts, plan.uploads.upload[:UPLOADS_PER_ROUND])
        done += await _recall(volume, plan.recalls)
        done += await deleting.delete_objects(volume)
        done += await _cool(volume, plan.cooling)
        done += await _rewrite(volume, [one.key for one in plan.rewrites])
        if done:
            volume.room.gave_up_s = -1e9  # it is worth waiting for it again
        else:
            volume.tier.idle_round_no = volume.tier.round_no
        return done > 0


async def _rewrite(volume: Volume, keys: Sequence[PackKey]) -> int:
    """What lives of packs that are mostly dead goes to a pack on a disk; the rest is the collector's."""
    done = 0
    for key in keys:
        try:
            done += await rehoming.rewrite(volume, key)
        except (CloudUnavailable, CloudRefused):
            raise
        except (StoreError, NoSpace) as exc:
            log.warning("pack %d is not rewritten: %s", key[0], exc)
            why = Why.NOT_NOW if isinstance(exc, ObjectFrozen) else Why.UNMOVED
            volume.health.left_alone.leave(key, why, str(exc), now_s=trio.current_time())
    return done


def _note_backlog(volume: Volume, packs: Sequence[Pack], plan: UploadPlan) -> None:
    """What is left alone for now waits too: nobody else says that the bucket has not got it."""
    alone = volume.health.left_alone.packs(Why.DAMAGED, Why.UNMOVED, now_s=trio.current_time())
    stuck = [pack for pack in packs if pack.key in alone and _is_to_be_protected(volume, pack)]
    since = [pack.sealed_s for pack in stuck] + ([] if plan.backlog_since_s is None else [plan.backlog_since_s])
    backlog = volume.tier.backlog
    backlog.packs, backlog.bytes = len(plan.upload) + len(stuck), plan.backlog_bytes
    backlog.bytes += sum(pack.size_bytes for pack in stuck)
    backlog.since_s = min(since, default=None)


def _is_to_be_protected(volume: Volume, pack: Pack) -> bool:
    is_only_here = pack.is_local and pack.object is None and not pack.is_elsewhere and pack.live_bytes > 0
    return volume.config.protect.enabled and pack.closed and is_only_here


async def _demote(volume: Volume, demotions: Sequence[Demotion]) -> int:
    keys, before = [one.key for one in demotions if one.action is Action.DROP], volume.tier.traffic.demoted_packs
    for start in range(0, len(keys), DEMOTIONS_AT_ONCE):
        await demoting.demote(volume, keys[start : start + DEMOTIONS_AT_ONCE])
    return volume.tier.traffic.demoted_packs - before


async def _upload(volume: Volume, facts: Facts, keys: Sequence[PackKey]) -> int:
    """As many at once as may be in flight, in their order."""
    packs = {pack.key: pack for pack in facts.packs}
    return await upload_all(volume, [packs[key] for key in keys])


async def upload_all(volume: Volume, packs: Sequence[Pack]) -> int:
    """Returns how many were. Raises the first CloudUnavailable, CloudRefused; what had begun is finished first."""
    if not packs:
        return 0
    await owning.ensure_owner(volume)
    sizes = {pack.key: pack.size_bytes for pack in packs}
    by_key = {pack.key: pack for pack in packs}
    return await _several(
        volume,
        list(sizes),
        sizes,
        lambda key: uploading.upload(volume, by_key[key]),
        at_once=lambda: volume.config.bucket.in_flight_bytes,
    )


async def demote_all(volume: Volume, going: Sequence[Pack], progress: Progress) -> int:
    """In groups, so that disk space comes free as it goes; returns the bytes.

    They are looked at again once the mover has ended its round: it has brought some of them to the bucket meanwhile.
    """
    if volume.tier.lock.locked():
        progress(0, 0, "waiting for the mover")
    async with volume.tier.lock:
        going = await _as_they_are(volume, going)
        total, done, freed = sum(pack.size_bytes for pack in going), 0, 0
        there: set[PackKey] = {pack.key for pack in going if pack.object is not None}
        for start in range(0, len(going), DEMOTIONS_AT_ONCE):
            group = going[start : start + DEMOTIONS_AT_ONCE]
            progress(done, total, "moving packs to the bucket")
            missing = [pack for pack in group if pack.object is None and not twice.is_covered(pack, there)]
            needed = twice.needed(missing)
            await upload_all(volume, needed)
            there |= {pack.key for pack in needed}
            freed += await demoting.demote(volume, [pack.key for pack in group])
            done += sum(pack.size_bytes for pack in group)
    return freed


async def _as_they_are(volume: Volume, packs: Sequence[Pack]) -> list[Pack]:
    """Those that are local yet, each with the object that the bucket has of it now."""
    found = []
    for pack in packs:
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        row = chunks.find_pack(volume.metadata, *pack.key)
        if row is not None and not row.is_cold:
            there = objects.find(volume.metadata, *pack.key)
            known = None if there is None else BucketObject(there.put_s, Placement(there.placement), there.size_bytes)
            found.append(pack._replace(object=known))
    return found


async def _recall(volume: Volume, recalls: Sequence[Recall]) -> int:
    sizes = {one.key: one.size_bytes for one in recalls}
    return await _several(
        volume,
        list(sizes),
        sizes,
        lambda key: rehoming.bring_back(volume, key),
        at_once=lambda: volume.config.bucket.in_flight_bytes,
    )


async def _cool(volume: Volume, keys: Sequence[PackKey]) -> int:
    """Last: nothing waits for it, and it moves no bytes. A few at once, since others need the same threads."""
    if not keys:
        return 0
    await owning.ensure_owner(volume)
    return await _several(
        volume,
        keys,
        dict.fromkeys(keys, 1),
        lambda key: proving.reclass(volume, key, placement=Placement.IA),
        at_once=lambda: COOLED_AT_ONCE,
    )


async def _several(
    volume: Volume,
    keys: Sequence[PackKey],
    sizes: dict[PackKey, int],
    work: Callable[[PackKey], Awaitable[bool]],
    *,
    at_once: Callable[[], int],
) -> int:
    """Work on packs side by side, while the sum of their sizes is within `at_once`; returns how many were done.

    at_once  asked again and again: for hours, on a slow line, in which the settings may change
    """
    in_flight, done = 0, 0
    changed, trouble = trio.Condition(), list[RustfsfsError]()

    async def one(key: PackKey) -> None:
        nonlocal in_flight, done
        try:
            was_done = await work(key)
            done += was_done  # not in one line: it would add to what `done` was before the work
        except (CloudUnavailable, CloudRefused) as exc:
            without_frames(exc)  # they hold a pack
            trouble.append(exc)
        except (DamagedData, StoreError, NoSpace) as exc:
            without_frames(exc)
            log.error("pack %d of disk %d could not be moved: %s", *key, exc)
            volume.health.left_alone.leave(key, Why.UNMOVED, str(exc), now_s=trio.current_time())
            volume.tier.traffic.failures += 1
            volume.tier.traffic.last_error = str(exc)
        finally:
            in_flight -= sizes[key]
            async with changed:
                changed.notify_all()

    async with trio.open_nursery() as nursery:
        for key in keys:
            async with changed:
                while in_flight and in_flight + sizes[key] > at_once():
                    await changed.wait()
            if trouble:
                break
            in_flight += sizes[key]
            nursery.start_soon(one, key)
    if trouble:
        raise trouble[0]
    return done
