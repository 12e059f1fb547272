"""What `rustfsfs status` shows, as one JSON-able dictionary; fields are added, never renamed."""

import math
from dataclasses import asdict
from typing import Any

import trio

from rustfsfs.meta import chunks, schema
from rustfsfs.meta.database import Running
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import publishing
from rustfsfs.volume.diskspace import asked
from rustfsfs.volume.reasons import reasons
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space

FORMAT = 1
PACKS_AT_ONCE = 2000  # 0.9 ms


def ratio(before: int, after: int) -> float | None:
    """None when there is nothing to compare."""
    return round(before / after, 4) if after else None


async def status(volume: Volume, *, state: str, mount_point: str | None, pid: int | None) -> dict[str, Any]:
    """The whole picture. `state`: mounted, clean or unclean. Nobody waits long for it: totals are kept running."""
    stored_bytes = await _stored_by_disk(volume)
    spaces = await asked(volume)
    running, health, journal = volume.metadata.running, volume.health, volume.journal
    shown_disks = [
        _disk(number, disk.path, spaces.get(number), stored_bytes.get(number, 0))
        for number, disk in sorted(volume.disks.items())
    ]
    why = reasons(volume)
    return {
        "format": FORMAT,
        "volume": {
            "uuid": dashed(volume.header.uuid),
            "path": volume.path,
            "state": state,
            "mount_point": mount_point,
            "pid": pid,
            "only_copy": len(volume.disks) == 1 or volume.header.copies == 1,
            "read_only": health.read_only_reason,
        },
        **totals(running),
        "metadata_bytes": metadata_bytes(volume),
        "metadata_format": schema.FORMAT_TIERED if volume.metadata.is_tiered else schema.FORMAT,
        "metadata_damage": health.damaged_metadata,
        "journal": {
            "bytes": journal.used_bytes,
            "bytes_max": volume.journal_limit_bytes,
            "segments": len(journal.segments),
            "last_seq": running.last_seq,
            "durable_seq": journal.durable_seq,
        },
        "epoch": {
            "last_ns": running.committed_ns,
            "number": running.epoch,
            "ops": running.last_seq - volume.activity.committed_seq,
        },
        "scrub": {
            "begun_ns": running.scrub_begun_ns,
            "ended_ns": running.scrub_ended_ns,
            "verified_bytes": running.scrub_bytes,
            "found": running.scrub_found,
            "repaired": running.scrub_repaired,
        },
        "operations": _operations(volume),
        "cache": {
            "ram_bytes": volume.cache.bytes,
            "ram_bytes_max": volume.config.cache.ram_bytes,
            "hits": volume.cache.hits,
            "misses": volume.cache.misses,
        },
        "bucket": bucket(volume),
        "disks": shown_disks + [{"path": why, "missing": True} for why in health.missing_disks.values()],
        "tasks": [
            {"name": name, "state": "failing" if error else "running", "error": error or None}
            for name, error in sorted(health.tasks.items())
        ],
        "left_alone": {
            why.name.lower(): count for why, count in health.left_alone.counts(now_s=trio.current_time()).items()
        },
        "pause_ms": pauses(health.pauses_ms),
        "reasons": why,
        "healthy": not why,
    }


def _operations(volume: Volume) -> dict[str, Any]:
    """Since the mount; by kind and with their latencies in `figures`."""
    counters = volume.counters
    return {
        "answered": sum(found.count for found in counters.operations.values()),
        "errors": sum(counters.errors.values()),
        "troubles": counters.troubles,  # of them, those of disks, space and bucket
        "read_bytes": counters.read_bytes,
        "written_bytes": counters.written_bytes,
    }


def unsent_bytes(volume: Volume) -> int:
    """About: objects have their ends beside frames. Of two copies on disks the bucket gets one."""
    running = volume.metadata.running
    local_bytes = (running.pack_bytes - running.cold_bytes) // volume.header.copies
    return max(0, local_bytes + running.cold_bytes - running.object_bytes)


def totals(running: Running) -> dict[str, Any]:
    sealed = running.logical_bytes - running.hot_bytes
    unique_plain = running.unique_bytes
    return {
        "files": running.files,
        "directories": running.directories,
        "logical_bytes": running.logical_bytes,
        "unique_bytes": unique_plain,
        "stored_bytes": running.stored_bytes,
        "hot_bytes": running.hot_bytes,
        "dead_bytes": running.dead_bytes,
        "damaged_chunks": running.bad_chunks,
        "dedup_ratio": ratio(max(sealed, 0), unique_plain),
        "compression_ratio": ratio(unique_plain, running.stored_bytes),
    }


def bucket(volume: Volume) -> dict[str, Any] | None:
    """What the volume has beside its disks; None: no bucket. Nobody is asked: this is what requests met so far."""
    tier, running, now_ns = volume.tier, volume.metadata.running, volume.world.now_ns()
    if not volume.metadata.is_tiered and tier.trouble is None:
        return None
    facts = None if tier.door is None else tier.door.breaker.facts()
    failing_s = None if facts is None else facts.failing_for_s
    return {
        "name": None if tier.door is None else tier.door.name,
        "trouble": tier.trouble,
        "fenced": tier.fenced,
        "rules": [{"severity": rule.severity.value, "text": rule.text} for rule in tier.rules],
        "term": tier.term,  # None: this life has written nothing there yet
        "protects": volume.config.protect.enabled,
        "refused": facts is not None and facts.refused,
        "unreachable_since_ns": None if failing_s is None else now_ns - int(failing_s * SECOND_NS),
        "last_error": (tier.traffic.last_error if facts is None else facts.last_error) or None,
        "requests": {
            "answered": 0 if facts is None else facts.answered_count,
            "failed": 0 if facts is None else facts.failed_count,
            "refused": 0 if facts is None else facts.refused_count,
        },
        "object_bytes": running.object_bytes,
        "cold_bytes": running.cold_bytes,
        "unsent_bytes": unsent_bytes(volume),
        "backlog": {  # None where nobody uploads: the volume is not mounted
            "packs": tier.backlog.packs,
            "bytes": tier.backlog.bytes,
            "since_ns": None if tier.backlog.since_s is None else int(tier.backlog.since_s * SECOND_NS),
        },
        "metadata": metadata_in_bucket(volume),
        "traffic": asdict(tier.traffic) | tier.rates(),
        "cache": {
            "bytes": tier.pieces.bytes,
            "bytes_max": volume.config.cache.disk_bytes,
            "hits": tier.pieces.hits,
            "misses": tier.pieces.misses,
        },
    }


def metadata_in_bucket(volume: Volume) -> dict[str, Any]:
    """The newest copy, and what of it was on this host only when it was made; `committed_ns` None: nobody knows yet."""
    newest, copies = volume.tier.published, publishing.kept(volume)
    return {
        "copies": len(copies),
        "committed_ns": newest.committed_ns or None,
        "bytes": newest.size_bytes,
        "hot_bytes": newest.hot_bytes,
        "local_packs": newest.local_packs,
        "local_bytes": newest.local_bytes,
        "is_due": publishing.is_due(volume),
        "error": newest.trouble or None,
    }


def metadata_bytes(volume: Volume) -> int:
    files, path = volume.world.files, volume.metadata.path
    return sum(files.size(name) for name in (path, path + "-wal") if files.exists(name))


async def _stored_by_disk(volume: Volume) -> dict[int, int]:
    """Bytes of living frames, a millisecond of the loop at a time: all packs of a terabyte at once took 50."""
    found, start = dict[int, int](), 0
    while True:
        await trio.lowlevel.checkpoint()
        await volume.gate.opened()
        if volume.metadata.lost is not None:
            return {}
        first = chunks.first_pack(volume.metadata, start)  # numbers have large gaps where metadata was restored
        if first is None:
            return found
        start = first + PACKS_AT_ONCE
        for disk, size_bytes in chunks.live_bytes_between(volume.metadata, first, start).items():
            found[disk] = found.get(disk, 0) + size_bytes


def _disk(number: int, path: str, space: Space | None, stored_bytes: int) -> dict[str, Any]:
    """space   None: it does not answer"""
    if space is None:
        return {"path": path, "number": number, "missing": True}
    return {
        "path": path,
        "number": number,
        "total_bytes": space.total_bytes,
        "free_bytes": space.free_bytes,
        "stored_bytes": stored_bytes,
    }


def pauses(values: list[float]) -> dict[str, float]:
    """Milliseconds the loop was held, of the last 1 000 times."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)
    p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.50, 0.99))  # the nearest rank
    return {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(ordered[-1], 3)}


def dashed(uuid: bytes) -> str:
    text = uuid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
