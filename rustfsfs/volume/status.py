"""What `rustfsfs status` shows, as one JSON-able dictionary; fields are added, never renamed."""

import math
from dataclasses import asdict
from typing import Any

import trio

from rustfsfs.meta.database import Running
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import publishing
from rustfsfs.volume.leftalone import DAMAGE
from rustfsfs.volume.volume import READ_ONLY_ASKED, Volume

FORMAT = 1


def ratio(before: int, after: int) -> float | None:
    """None when there is nothing to compare."""
    return round(before / after, 4) if after else None


def status(volume: Volume, *, state: str, mount_point: str | None, pid: int | None) -> dict[str, Any]:
    """The whole picture. `state`: mounted, clean or unclean. Cheap: totals are kept running."""
    running, health, journal = volume.metadata.running, volume.health, volume.journal
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
        "cache": {
            "ram_bytes": volume.cache.bytes,
            "ram_bytes_max": volume.config.cache.ram_bytes,
            "hits": volume.cache.hits,
            "misses": volume.cache.misses,
        },
        "bucket": bucket(volume),
        "disks": [_disk(volume, number) for number in sorted(volume.disks)]
        + [{"path": why, "missing": True} for why in health.missing_disks.values()],
        "tasks": [
            {"name": name, "state": "failing" if error else "running", "error": error or None}
            for name, error in sorted(health.tasks.items())
        ],
        "left_alone": {
            why.name.lower(): count for why, count in health.left_alone.counts(now_s=trio.current_time()).items()
        },
        "pause_ms": pauses(health.pauses_ms),
        "healthy": health.read_only_reason in (None, READ_ONLY_ASKED)
        and not health.missing_disks
        and not running.bad_chunks
        and health.damaged_metadata is None
        and running.scrub_found <= running.scrub_repaired
        and not any(health.tasks.values())
        and not health.left_alone.packs(*DAMAGE, now_s=trio.current_time())
        and bucket_trouble(volume) is None,
    }


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
        "unsent_bytes": max(
            0, running.pack_bytes - running.object_bytes
        ),  # about: objects have their ends beside frames
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


def bucket_trouble(volume: Volume) -> str | None:
    """Why a person has to do something about the bucket. An outage is no such reason: it ends by itself."""
    door = volume.tier.door
    if volume.tier.fenced is not None:
        return volume.tier.fenced
    if door is not None and (facts := door.breaker.facts()).refused:
        return facts.last_error
    return volume.tier.trouble


def metadata_bytes(volume: Volume) -> int:
    files, path = volume.world.files, volume.metadata.path
    return sum(files.size(name) for name in (path, path + "-wal") if files.exists(name))


def _disk(volume: Volume, number: int) -> dict[str, Any]:
    disk = volume.disks[number]
    space = disk.space()
    stored = None
    if volume.metadata.lost is None:
        stored = volume.metadata.row(
            "SELECT coalesce(sum(live_bytes), 0) FROM packs WHERE disk = ? AND NOT closed & 2", (number,)
        )
    return {
        "path": disk.path,
        "number": number,
        "total_bytes": space.total_bytes,
        "free_bytes": space.free_bytes,
        "stored_bytes": 0 if stored is None else int(stored[0]),
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
