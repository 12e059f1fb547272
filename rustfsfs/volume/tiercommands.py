"""What `rustfsfs tier` asks of a volume: calls of the control socket, beside `volume.commands`.

Paths are those inside the volume; "" is all of it. Trees are looked at as of a COMMIT made for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    DamagedData,
    NoSpace,
    ObjectFrozen,
    ObjectMissing,
    RustfsfsError,
    StoreError,
    StoreUnavailable,
    UsageError,
)
from rustfsfs.meta import chunks, entries, inodes, objects
from rustfsfs.store.cold import pack_key
from rustfsfs.tiers import cold_collect
from rustfsfs.tiers.busy import BUSY
from rustfsfs.tiers.demote import Action, Kept, kept
from rustfsfs.tiers.packs import Pack, PackKey
from rustfsfs.units import ROOT, format_duration, format_size
from rustfsfs.volume import (
    coldreading,
    commands,
    deleting,
    epochs,
    owning,
    paths,
    publishing,
    rehoming,
    rounds,
    tiering,
    tierstatus,
    watermarks,
)
from rustfsfs.volume.collecting import Progress
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import ensure_writable, record
from rustfsfs.volume.volume import Volume

# how long a restore takes at the most; OSS.md, first byte
RESTORE_S = {Placement.ARCHIVE: 60.0, Placement.COLD_ARCHIVE: 5 * 3600.0, Placement.DEEP: 48 * 3600.0}
LOOK_EVERY_S = 10.0
RECALL_PAUSES_S = (1.0, 5.0, 15.0)  # between attempts at one pack, each of which has its own retries
GONE = "its pack is no more, and no metadata that is kept names it"
COOL = "change its class in the bucket to IA"


def find(volume: Volume, path: str) -> int:
    """The inode at a path. Raises UsageError."""
    return trail(volume, path)[-1]


def trail(volume: Volume, path: str) -> list[int]:
    """The inodes of a path, the root's first. Raises UsageError."""
    found = [int(ROOT)]
    for name in path.encode("utf-8", "surrogateescape").split(b"/"):
        if name in (b"", b"."):
            continue
        row = entries.find_attributes(volume.metadata, found[-1], name)
        if row is None:
            raise UsageError(f"there is no {path} in the volume")
        found.append(row.inode)
    return found


def _paths(args: dict[str, Any]) -> list[str]:
    wanted = args.get("paths", [])
    if not isinstance(wanted, list) or not all(isinstance(path, str) for path in wanted):
        raise UsageError("paths are a list of strings")
    return wanted


async def _found(volume: Volume, args: dict[str, Any]) -> dict[str, int]:
    await volume.gate.opened()
    return {path: find(volume, path) for path in _paths(args)}


def _ensure_bucket(volume: Volume) -> None:
    if not volume.metadata.is_tiered:
        raise UsageError("the volume has no bucket; rustfsfs bucket attach gives it one")


async def tier_status(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What lies where, of the volume and of each path."""
    found = await _found(volume, args)
    _ensure_bucket(volume)
    if volume.health.read_only_reason is None:
        await epochs.commit(volume)
    shown = await trio.to_thread.run_sync(tierstatus.status, volume, found)
    return {"fenced": volume.tier.fenced} | shown | volume.tier.rates()


async def tier_plan(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What the next round of the mover would do, and what the collector would in the bucket, and why.

    Of trees, what is due of the packs that they need; of all of it, with the packs that nobody needs any more.
    retained_bytes   of objects that nobody needs now, and older metadata that is kept names
    """
    _ensure_bucket(volume)
    wanted = await _keys_of(volume, args)
    facts, plan = await rounds.plan_round(volume)
    sizes = {pack.key: pack.size_bytes for pack in facts.packs}
    going = await deleting.free_to_go(volume)
    steps = [step for step in _steps(plan, sizes, going) if wanted is None or (step["pack"], step["disk"]) in wanted]
    if wanted is not None:
        backlog_bytes, retained_bytes = sum(sizes[key] for key in plan.uploads.upload if key in wanted), 0
    else:
        backlog_bytes = plan.uploads.backlog_bytes
        retained_bytes = volume.metadata.running.doomed_object_bytes - sum(going.values())
    return {"steps": steps, "backlog_bytes": backlog_bytes, "retained_bytes": retained_bytes}


def _steps(plan: rounds.Plan, sizes: dict[PackKey, int], going: dict[PackKey, int]) -> list[dict[str, Any]]:
    planned = {one.key for one in plan.demotions}
    uploads = [key for key in plan.uploads.upload if key not in planned]
    return [
        *(_step(one.key, one.action.value, one.reason.value, one.frees_bytes) for one in plan.demotions),
        *(_step(key, Action.UPLOAD.value, "protect says so", sizes[key]) for key in uploads),
        *(_step(one.key, "bring it back", one.reason.value, one.size_bytes) for one in plan.recalls),
        *(_step(one.key, one.action.value, one.why, one.frees_bytes) for one in (*plan.rewrites, *plan.dead)),
        *(_step(key, cold_collect.Action.DELETE.value, GONE, size_bytes) for key, size_bytes in going.items()),
        *(_step(key, COOL, "bucket.ia_after says so", sizes[key]) for key in plan.cooling),
    ]


def _step(key: PackKey, action: str, why: str, size_bytes: int) -> dict[str, Any]:
    return {"pack": key[0], "disk": key[1], "action": action, "why": why, "bytes": size_bytes}


async def _keys_of(volume: Volume, args: dict[str, Any]) -> set[PackKey] | None:
    """The packs that trees need; None: all there are, those that nobody needs too."""
    found = await _found(volume, args)
    if volume.health.read_only_reason is None:
        await epochs.commit(volume)
    if not found or int(ROOT) in found.values():
        return None
    return await tiering.packs_of_trees(volume, list(found.values()))


async def _packs_of(volume: Volume, args: dict[str, Any]) -> list[Pack]:
    """All packs, or those that trees need."""
    keys = await _keys_of(volume, args)
    packs = (await tiering.gather(volume)).packs
    return packs if keys is None else [pack for pack in packs if pack.key in keys]


async def tier_demote(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Local copies of trees go now: sealed, uploaded, dropped. A pack that others need too goes with them."""
    _ensure_bucket(volume)
    ensure_writable(volume)
    dry_run = bool(args.get("dry_run"))
    found = await _found(volume, args)
    if not dry_run:
        owning.door_of(volume)
        owning.refuse_fenced(volume)
        await commands.seal(volume, {}, progress)
    packs = [pack for pack in await _packs_of(volume, args) if pack.is_local]
    now_s = tiering.wall_s(volume)
    stay = {pack.key: why for pack in packs if (why := kept(pack, now_s=now_s, busy_policy=BUSY, is_asked=True))}
    going = [pack for pack in packs if pack.key not in stay]
    freed, hot_bytes = 0, await trio.to_thread.run_sync(_hot_bytes, volume, list(found.values()))
    failed, unpublished = dict[PackKey, str](), None
    if not dry_run:
        freed = await rounds.demote_all(volume, going, progress)
        failed = await _not_demoted(volume, going)
        unpublished = await _published(volume, progress)
    gone = [pack for pack in going if pack.key not in failed]
    return {
        "packs": len(gone),
        "bytes": sum(pack.size_bytes for pack in gone),
        "freed_bytes": freed,
        "hot_bytes": hot_bytes,
        "kept": [{"pack": key[0], "why": why.value} for key, why in stay.items()],
        "failed": [{"pack": key[0], "why": why} for key, why in failed.items()],
        "unpublished": unpublished,
    }


async def _published(volume: Volume, progress: Progress) -> str | None:
    """What is in the bucket only has its names there too; why not, if not: the publisher tries it again."""
    progress(0, 1, "the metadata goes to the bucket")
    try:
        await publishing.publish(volume)
    except (RustfsfsError, OSError) as exc:
        return str(exc)
    return None


async def _not_demoted(volume: Volume, going: Sequence[Pack]) -> dict[PackKey, str]:
    """Those that are local yet, and why."""
    alone = volume.health.left_alone.packs(Why.DAMAGED, Why.UNMOVED, now_s=trio.current_time())
    failed: dict[PackKey, str] = {}
    for pack in going:
        await volume.gate.opened()
        row = chunks.find_pack(volume.metadata, *pack.key)
        if row is not None and not row.is_cold:
            found = objects.find(volume.metadata, *pack.key)
            frozen = found is not None and Placement(found.placement).freezes
            why = Kept.FROZEN.value if frozen else "the bucket has not got all of it yet: the log says why"
            failed[pack.key] = alone.get(pack.key, why)
    return failed


def _hot_bytes(volume: Volume, inodes_asked: Sequence[int]) -> int:
    """Of trees, each file counted once, what is not sealed yet: as of the last COMMIT. No inode: of all. Blocking."""
    sql = (
        "WITH RECURSIVE t(inode) AS (SELECT value FROM json_each(?) UNION"
        " SELECT e.inode FROM entries e JOIN t ON e.parent = t.inode),"
        " f(fork) AS (SELECT DISTINCT fork FROM t JOIN inodes USING (inode) WHERE fork > 0)"
        " SELECT coalesce(sum(e.length), 0) FROM f JOIN extents e USING (fork) WHERE e.segment > 0"
    )
    with paths.reading_apart(volume) as metadata:
        if not inodes_asked or ROOT in inodes_asked:
            return metadata.running.hot_bytes
        return int(metadata.rows(sql, (str(list(inodes_asked)),))[0][0])


@dataclass(slots=True)
class Recalled:
    """Of packs that were asked for: what became of them."""

    came: list[Pack] = field(default_factory=list)
    frozen: list[Pack] = field(default_factory=list)  # yet
    missing: list[PackKey] = field(default_factory=list)  # lost, or damaged in the bucket
    stays: dict[PackKey, str] = field(default_factory=dict)  # and why

    def shown(self) -> dict[str, Any]:
        return {
            "came_packs": len(self.came),
            "came_bytes": sum(pack.size_bytes for pack in self.came),
            "stays": [{"pack": key[0], "why": why} for key, why in self.stays.items()],
            "frozen": len(self.frozen),
        }


async def tier_recall(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Bring cold packs of trees back to disks. `wait`: also those that have to be restored first.

    Raises CloudUnavailable, CloudRefused, NoSpace: what came back stays.
    """
    _ensure_bucket(volume)
    ensure_writable(volume)
    packs = [pack for pack in await _packs_of(volume, args) if not pack.is_local and pack.object is not None]
    total = sum(pack.object.size_bytes for pack in packs if pack.object)
    result: dict[str, Any] = {"packs": len(packs), "bytes": total, "missing": []}
    done = Recalled()
    if args.get("dry_run"):
        done.frozen = [pack for pack in packs if pack.object is not None and pack.object.placement.freezes]
        done.came = [pack for pack in packs if pack not in done.frozen]
        return result | done.shown() | {"ready_in_s": _ready_in_s(volume, done.frozen)}
    owning.door_of(volume)
    await _recall(volume, packs, done, progress)
    while done.frozen and args.get("wait"):
        ready_in_s = _ready_in_s(volume, done.frozen)
        within = "" if ready_in_s is None else f", within {format_duration(ready_in_s)}"
        progress(0, 0, f"waiting for the restore of {len(done.frozen)} packs{within}")
        await trio.sleep(LOOK_EVERY_S)
        left, done.frozen = done.frozen, []
        await _recall(volume, left, done, progress)
    named = await _named(volume, done.missing)
    await volume.gate.opened()
    return result | done.shown() | {"missing": named, "ready_in_s": _ready_in_s(volume, done.frozen)}


def _ready_in_s(volume: Volume, packs: Sequence[Pack]) -> float | None:
    """How long the restore of the slowest takes at the most, by the classes that are recorded; None: nobody knows."""
    found = (objects.find(volume.metadata, *pack.key) for pack in packs)
    return max((RESTORE_S.get(Placement(one.placement), 0.0) for one in found if one is not None), default=0.0) or None


async def _recall(volume: Volume, packs: Sequence[Pack], done: Recalled, progress: Progress) -> None:
    """Each to its own disk, while that has room. Raises CloudUnavailable, CloudRefused, NoSpace."""
    total, came_bytes, is_full = sum(pack.size_bytes for pack in packs), 0, False
    for number, pack in enumerate(packs):
        progress(sum(one.size_bytes for one in packs[:number]), total, "bringing packs back")
        await volume.gate.opened()
        if not watermarks.has_room(volume, pack.disk, pack.size_bytes):
            is_full = True
            continue
        try:
            await _bring_back(volume, pack)
            await _note_recalled(volume, pack, done)
        except ObjectFrozen as exc:
            done.frozen.append(pack)
            coldreading.want_restore(volume, pack.key, exc)
            await coldreading.ask_for_restores(volume)  # its class tells how long it takes
        except (CloudUnavailable, CloudRefused, StoreUnavailable):
            raise
        except (ObjectMissing, DamagedData, StoreError):
            done.missing.append(pack.key)
        came_bytes = sum(one.size_bytes for one in done.came)
    if is_full:
        raise NoSpace(
            f"the disks would pass demote.high: {format_size(came_bytes)} of {format_size(total)} came back,"
            " the rest stays in the bucket"
        )


async def _bring_back(volume: Volume, pack: Pack) -> None:
    """As `rehoming.bring_back`; one connection that breaks does not end the recall of a tree."""
    for pause_s in RECALL_PAUSES_S:
        try:
            await rehoming.bring_back(volume, pack.key, is_asked=True)
            return
        except CloudUnavailable:
            await trio.sleep(pause_s)
    await rehoming.bring_back(volume, pack.key, is_asked=True)


async def _note_recalled(volume: Volume, pack: Pack, done: Recalled) -> None:
    await volume.gate.opened()
    alone = volume.health.left_alone
    if not objects.is_cold(volume.metadata, *pack.key) and not pack.is_away:
        done.came.append(pack)  # or it was dropped: what lives of it is elsewhere
    elif pack.key in alone.packs(Why.UNREADABLE, Why.LOST, now_s=trio.current_time()):
        done.missing.append(pack.key)
    else:
        done.stays[pack.key] = (
            "its copy lies on a disk that is not there" if pack.is_away else "it is on its way already"
        )


async def _named(volume: Volume, keys: Sequence[PackKey]) -> list[str]:
    """The files that need packs."""
    if not keys:
        return []
    return await trio.to_thread.run_sync(_named_apart, volume, keys)


def _named_apart(volume: Volume, keys: Sequence[PackKey]) -> list[str]:
    named: dict[str, None] = {}
    with paths.reading_apart(volume) as metadata:
        for pack, disk in keys:
            found = metadata.rows("SELECT chunk FROM places WHERE pack = ? AND disk = ? LIMIT 1000", (pack, disk))
            for (chunk,) in found:
                named.update(dict.fromkeys(paths.paths_of_chunk(metadata, chunk)))
            if not found:
                named[pack_key(pack, disk)] = None
    return list(named)


async def tier_pin(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Trees stay on disks, and come back to them."""
    return {"pinned": await _pin(volume, args, pinned=True)}


async def tier_unpin(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Trees may move again, but for those in others that are pinned: `{"pinned", "covered"}`, by which each is."""
    pinned = await _pin(volume, args, pinned=False)
    trails = await _trails(volume, args)
    return {"pinned": pinned, "covered": await trio.to_thread.run_sync(_covered_apart, volume, trails)}


async def _trails(volume: Volume, args: dict[str, Any]) -> dict[str, list[int]]:
    await volume.gate.opened()
    return {path: trail(volume, path) for path in _paths(args)}


async def _pin(volume: Volume, args: dict[str, Any], *, pinned: bool) -> list[str]:
    _ensure_bucket(volume)
    ensure_writable(volume)
    for inode in (await _found(volume, args)).values():
        record(volume, ops.Pin(inode=int(inodes.get(volume.metadata, inode).inode), pinned=pinned))
    await barrier(volume)
    volume.wishes.tier.set()
    await epochs.commit(volume)
    return await trio.to_thread.run_sync(_pinned_apart, volume)


def _pinned_apart(volume: Volume) -> list[str]:
    with paths.reading_apart(volume) as metadata:
        return tierstatus.pinned(metadata)


def _covered_apart(volume: Volume, trails: dict[str, list[int]]) -> list[dict[str, str]]:
    """The paths that lie in pinned trees, and the pin next above each."""
    covered = []
    with paths.reading_apart(volume) as metadata:
        pinned = set(objects.pinned(metadata))
        for path, inodes_above in trails.items():
            above = next((inode for inode in reversed(inodes_above[:-1]) if inode in pinned), None)
            if above is not None:
                covered.append({"path": path, "by": paths.paths_of(metadata, above)[0]})
    return covered


COMMANDS: dict[str, commands.Command] = {
    "tier_status": tier_status,
    "tier_plan": tier_plan,
    "tier_demote": tier_demote,
    "tier_recall": tier_recall,
    "tier_pin": tier_pin,
    "tier_unpin": tier_unpin,
}
