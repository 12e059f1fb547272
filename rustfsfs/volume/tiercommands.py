"""What `rustfsfs tier` asks of a volume: calls of the control socket, beside `volume.commands`.

Paths are those inside the volume; "" is all of it. Trees are looked at as of a COMMIT made for it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

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
    StoreError,
    StoreUnavailable,
    UsageError,
)
from rustfsfs.meta import entries, inodes, objects
from rustfsfs.meta.chunks import COLD
from rustfsfs.meta.database import Metadata
from rustfsfs.store.cold import pack_key
from rustfsfs.tiers import cold_collect, twice
from rustfsfs.tiers.busy import BUSY
from rustfsfs.tiers.demote import Action, kept
from rustfsfs.tiers.packs import Pack, PackKey
from rustfsfs.units import ROOT, format_duration, format_size
from rustfsfs.volume import (
    coldreading,
    commands,
    deleting,
    demoting,
    epochs,
    owning,
    paths,
    recalling,
    rounds,
    tiering,
    watermarks,
)
from rustfsfs.volume.collecting import Progress
from rustfsfs.volume.durability import barrier
from rustfsfs.volume.recording import ensure_writable, record
from rustfsfs.volume.volume import Volume

# how long a restore takes at the most; OSS.md, first byte
RESTORE_S = {Placement.ARCHIVE: 60.0, Placement.COLD_ARCHIVE: 5 * 3600.0, Placement.DEEP: 48 * 3600.0}
LOOK_EVERY_S = 10.0
DEMOTIONS_AT_ONCE = 20
GONE = "its pack is no more, and no metadata that is kept names it"
COOL = "change its class in the bucket to IA"
TREE = (
    "WITH RECURSIVE t(inode) AS (VALUES (?1) UNION SELECT e.inode FROM entries e JOIN t ON e.parent = t.inode),"
    " f(fork) AS (SELECT DISTINCT fork FROM t JOIN inodes USING (inode) WHERE fork > 0)"
)


class Tree(NamedTuple):
    """How much of a tree lies where, in bytes as stored; what is hot, as written."""

    hot_bytes: int
    stored_bytes: int  # one copy of each chunk
    cold_bytes: int  # of those, what is in the bucket only

    @property
    def tier(self) -> str:
        if self.cold_bytes and self.cold_bytes == self.stored_bytes and not self.hot_bytes:
            return "cold"
        if self.cold_bytes:
            return "mixed"
        return "hot" if self.hot_bytes and not self.stored_bytes else "local"


def find(volume: Volume, path: str) -> int:
    """The inode at a path. Raises UsageError."""
    inode = int(ROOT)
    for name in path.encode("utf-8", "surrogateescape").split(b"/"):
        if name in (b"", b"."):
            continue
        row = entries.find_attributes(volume.metadata, inode, name)
        if row is None:
            raise UsageError(f"there is no {path} in the volume")
        inode = row.inode
    return inode


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
    shown = await trio.to_thread.run_sync(_status, volume, found)
    return {"fenced": volume.tier.fenced} | shown | volume.tier.rates()


def _status(volume: Volume, found: dict[str, int]) -> dict[str, Any]:
    """Blocking."""
    with paths.reading_apart(volume) as metadata:
        running = metadata.running
        both = metadata.rows(
            "SELECT coalesce(sum(o.size_bytes), 0) FROM objects o JOIN packs k USING (pack, disk)"
            " WHERE NOT k.closed & ?",
            (COLD,),
        )
        frozen = metadata.rows(
            "SELECT count(*), coalesce(sum(o.size_bytes), 0) FROM objects o JOIN packs k USING (pack, disk)"
            " WHERE k.closed & ? AND o.placement NOT IN ('Standard', 'IA')",
            (COLD,),
        )
        trees = {path: tree_of(metadata, inode) for path, inode in found.items()}
        return {
            "packs": metadata.rows("SELECT count(*) FROM packs")[0][0],
            "local_bytes": running.pack_bytes - running.cold_bytes,
            "cold_bytes": running.cold_bytes,
            "both_bytes": both[0][0],
            "hot_bytes": running.hot_bytes,
            "frozen_packs": frozen[0][0],  # as far as anybody has noticed: rules of the bucket's owner freeze them
            "frozen_bytes": frozen[0][1],
            "pinned": _pinned(metadata),
            "paths": [
                {"path": path, "tier": tree.tier, "stored_bytes": tree.stored_bytes, "cold_bytes": tree.cold_bytes}
                for path, tree in trees.items()
            ],
        }


def _pinned(metadata: Metadata) -> list[str]:
    """One path of each, from the volume's root."""
    return [(paths.paths_of(metadata, inode) or ["/"])[0] for inode in objects.pinned(metadata)]


def tree_of(metadata: Metadata, inode: int) -> Tree:
    """Blocking: as long as it takes to read all its extents."""
    hot = metadata.rows(
        f"{TREE} SELECT coalesce(sum(e.length), 0) FROM f JOIN extents e USING (fork) WHERE e.segment > 0", (inode,)
    )
    rows = metadata.rows(
        f"{TREE}, c(chunk) AS (SELECT DISTINCT e.base FROM f JOIN extents e USING (fork) WHERE e.segment = 0)"
        " SELECT coalesce(sum(stored), 0), coalesce(sum(CASE WHEN cold THEN stored END), 0) FROM"
        " (SELECT max(p.stored_bytes) AS stored, min(k.closed & ?2) > 0 AS cold"
        " FROM c JOIN places p USING (chunk) JOIN packs k USING (pack, disk) GROUP BY p.chunk)",
        (inode, COLD),
    )
    return Tree(int(hot[0][0]), int(rows[0][0]), int(rows[0][1]))


async def tier_plan(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What the next round of the mover would do, and what the collector would in the bucket, and why.

    retained_bytes   of objects that nobody needs now, and older metadata that is kept names
    """
    _ensure_bucket(volume)
    facts, plan = await rounds.plan_round(volume)
    sizes = {pack.key: pack.size_bytes for pack in facts.packs}
    planned = {one.key for one in plan.demotions}
    going = await deleting.free_to_go(volume)
    steps = [_step(one.key, one.action.value, one.reason.value, one.frees_bytes) for one in plan.demotions]
    steps += [
        _step(key, Action.UPLOAD.value, "protect says so", sizes[key])
        for key in plan.uploads.upload
        if key not in planned
    ]
    steps += [_step(one.key, "bring it back", one.reason.value, one.size_bytes) for one in plan.recalls]
    steps += [_step(one.key, one.action.value, one.why, one.frees_bytes) for one in (*plan.rewrites, *plan.dead)]
    steps += [_step(key, cold_collect.Action.DELETE.value, GONE, size_bytes) for key, size_bytes in going.items()]
    steps += [_step(key, COOL, "bucket.ia_after says so", sizes[key]) for key in plan.cooling]
    return {
        "steps": steps,
        "backlog_bytes": plan.uploads.backlog_bytes,
        "retained_bytes": volume.metadata.running.doomed_object_bytes - sum(going.values()),
    }


def _step(key: PackKey, action: str, why: str, size_bytes: int) -> dict[str, Any]:
    return {"pack": key[0], "disk": key[1], "action": action, "why": why, "bytes": size_bytes}


async def _packs_of(volume: Volume, args: dict[str, Any]) -> list[Pack]:
    """All packs, or those that trees need."""
    found = await _found(volume, args)
    if volume.health.read_only_reason is None:
        await epochs.commit(volume)
    keys = await tiering.packs_of_trees(volume, list(found.values()))
    packs = (await tiering.gather(volume)).packs
    return [pack for pack in packs if pack.key in keys] if found else packs


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
    if not dry_run:
        freed = await _demote(volume, going, progress)
    return {
        "packs": len(going),
        "bytes": sum(pack.size_bytes for pack in going),
        "freed_bytes": freed,
        "hot_bytes": hot_bytes,
        "kept": [{"pack": key[0], "why": why.value} for key, why in stay.items()],
    }


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


async def _demote(volume: Volume, going: Sequence[Pack], progress: Progress) -> int:
    """In groups, so that disk space comes free as it goes; returns the bytes."""
    total, done, freed = sum(pack.size_bytes for pack in going), 0, 0
    there: set[PackKey] = {pack.key for pack in going if pack.object is not None}
    async with volume.tier.lock:
        for start in range(0, len(going), DEMOTIONS_AT_ONCE):
            group = going[start : start + DEMOTIONS_AT_ONCE]
            progress(done, total, "moving packs to the bucket")
            missing = [pack for pack in group if pack.object is None and not twice.is_covered(pack, there)]
            needed = twice.needed(missing)
            await rounds.upload_all(volume, needed)
            there |= {pack.key for pack in needed}
            freed += await demoting.demote(volume, [pack.key for pack in group])
            done += sum(pack.size_bytes for pack in group)
    return freed


async def tier_recall(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Bring cold packs of trees back to their disks. `wait`: also those that have to be restored first."""
    _ensure_bucket(volume)
    ensure_writable(volume)
    packs = [pack for pack in await _packs_of(volume, args) if not pack.is_local and pack.object is not None]
    total = sum(pack.object.size_bytes for pack in packs if pack.object)
    result: dict[str, Any] = {"packs": len(packs), "bytes": total, "missing": []}
    if args.get("dry_run"):
        frozen = [pack for pack in packs if pack.object is not None and pack.object.placement.freezes]
        return result | {"frozen": len(frozen), "ready_in_s": _ready_in_s(volume, frozen)}
    owning.door_of(volume)
    left, missing = await _recall(volume, packs, progress)
    while left and args.get("wait"):
        within = "" if (ready_in_s := _ready_in_s(volume, left)) is None else f", within {format_duration(ready_in_s)}"
        progress(0, 0, f"waiting for the restore of {len(left)} packs{within}")
        await trio.sleep(LOOK_EVERY_S)
        left, more = await _recall(volume, left, progress)
        missing += more
    named = await _named(volume, missing)
    await volume.gate.opened()
    return result | {"missing": named, "frozen": len(left), "ready_in_s": _ready_in_s(volume, left)}


def _ready_in_s(volume: Volume, packs: Sequence[Pack]) -> float | None:
    """How long the restore of the slowest takes at the most, by the classes that are recorded; None: nobody knows."""
    found = (objects.find(volume.metadata, *pack.key) for pack in packs)
    return max((RESTORE_S.get(Placement(one.placement), 0.0) for one in found if one is not None), default=0.0) or None


async def _recall(volume: Volume, packs: Sequence[Pack], progress: Progress) -> tuple[list[Pack], list[PackKey]]:
    """(those that are frozen yet, those that are lost). Raises CloudUnavailable, CloudRefused, NoSpace."""
    frozen: list[Pack] = []
    missing: list[PackKey] = []
    total = sum(pack.size_bytes for pack in packs)
    done = 0
    for pack in packs:
        progress(done, total, "bringing packs back")
        await volume.gate.opened()
        if watermarks.is_above(volume, pack.size_bytes, with_margin=False):
            raise NoSpace(
                f"the disks would pass demote.high: {format_size(done)} of {format_size(total)} came back,"
                " the rest stays in the bucket"
            )
        try:
            await recalling.recall(volume, pack.key)
        except ObjectFrozen as exc:
            frozen.append(pack)
            await coldreading.ask_for_restore(volume, owning.door_of(volume), pack.key, exc)
        except (CloudUnavailable, CloudRefused, StoreUnavailable):
            raise
        except (ObjectMissing, DamagedData, StoreError):
            missing.append(pack.key)
        done += pack.size_bytes
    return frozen, missing


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
    return await _pin(volume, args, pinned=True)


async def tier_unpin(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return await _pin(volume, args, pinned=False)


async def _pin(volume: Volume, args: dict[str, Any], *, pinned: bool) -> dict[str, Any]:
    _ensure_bucket(volume)
    ensure_writable(volume)
    for inode in (await _found(volume, args)).values():
        record(volume, ops.Pin(inode=int(inodes.get(volume.metadata, inode).inode), pinned=pinned))
    await barrier(volume)
    volume.wishes.tier.set()
    await epochs.commit(volume)
    return {"pinned": await trio.to_thread.run_sync(_pinned_apart, volume)}


def _pinned_apart(volume: Volume) -> list[str]:
    with paths.reading_apart(volume) as metadata:
        return _pinned(metadata)


COMMANDS: dict[str, commands.Command] = {
    "tier_status": tier_status,
    "tier_plan": tier_plan,
    "tier_demote": tier_demote,
    "tier_recall": tier_recall,
    "tier_pin": tier_pin,
    "tier_unpin": tier_unpin,
}
