"""What can be counted of an open volume, as one JSON-able dictionary: for `top` and for metrics, which so agree.

Fields are added, never renamed. Counts are since the mount unless said otherwise. No table is looked at and no disk is
asked on the loop: it costs 0.1 ms whatever the volume holds, and works while a COMMIT has the database.
"""

import errno
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import trio

from rustfsfs.errors import StoreError
from rustfsfs.store.base import PackStore
from rustfsfs.units import SECOND_NS
from rustfsfs.volume.diskspace import lost, note
from rustfsfs.volume.reasons import reasons
from rustfsfs.volume.status import dashed, totals, unsent_bytes
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Files, Space

Figures = dict[str, Any]
FORMAT = 1
DISKS_S_MAX = 1.0  # a disk that hangs is left out, so that what is known of it can be told


def figures(volume: Volume) -> Figures:
    """All but what disks have to be asked for: see `figures_and_space`."""
    running, health, counters = volume.metadata.running, volume.health, volume.counters
    why = reasons(volume)
    return {
        "format": FORMAT,
        "at_s": trio.current_time(),  # never goes back; its zero means nothing
        "volume": {"uuid": dashed(volume.header.uuid), "path": volume.path},
        "healthy": not why,
        "reasons": why,
        "read_only": health.read_only_reason is not None,
        "tasks": dict(health.tasks),  # name -> what went wrong the last time, "" while well
        "missing_disks": len(health.missing_disks) + len(lost(volume)),
        "left_alone": {why.name.lower(): count for why, count in health.left_alone.known.items()},  # packs
        "operations": operations(volume),
        "cache": {
            "hits": volume.cache.hits,
            "misses": volume.cache.misses,
            "bytes": volume.cache.bytes,
            "bytes_max": volume.config.cache.ram_bytes,
        },
        "journal": _journal(volume),
        "epoch": {
            "number": running.epoch,  # of the volume's whole life
            "last_ns": running.committed_ns,  # wall clock
            "ops": running.last_seq - volume.activity.committed_seq,
            "pauses": counters.pauses.figures(),
        },
        "sealed_bytes": volume.activity.sealed_bytes,
        **totals(running),
        "scrub": {
            "verified_bytes": running.scrub_bytes,
            "found": running.scrub_found,
            "repaired": running.scrub_repaired,
            "ended_ns": running.scrub_ended_ns,
        },
        "bucket": _bucket(volume),
    }


def operations(volume: Volume) -> dict[str, Any]:
    """What applications asked for, by kind; errors by errno. Those in progress were not answered yet."""
    counters, errors = volume.counters, dict[str, dict[str, int]]()
    for (name, number), count in volume.counters.errors.items():
        errors.setdefault(name, {})[errno.errorcode.get(number, str(number))] = count
    kinds = {name: found.figures() for name, found in counters.operations.items()}
    answered = sum(sum(found["counts"]) for found in kinds.values())
    return {
        "kinds": kinds,
        "errors": errors,
        "answered": answered,
        "in_progress": volume.activity.requests - answered,
        "waiting_for_room": volume.room.waiting,
        "read_bytes": counters.read_bytes,
        "written_bytes": counters.written_bytes,
    }


def _journal(volume: Volume) -> dict[str, Any]:
    journal = volume.journal
    return {
        "bytes": journal.used_bytes,
        "bytes_max": volume.journal_limit_bytes,
        "segments": len(journal.segments),
        "appended_bytes": journal.appended_bytes,
        "unsynced_bytes": journal.unsynced_bytes,
        "last_seq": journal.appended_seq,  # of the volume's whole life
        "durable_seq": journal.durable_seq,
        "syncs": volume.barriers.syncs.figures(),
    }


def _bucket(volume: Volume) -> dict[str, Any] | None:
    """None: the volume has none. Nobody is asked."""
    tier, running = volume.tier, volume.metadata.running
    if not volume.metadata.is_tiered and tier.trouble is None:
        return None
    facts = None if tier.door is None else tier.door.breaker.facts()
    requests = [] if tier.door is None else sorted(tier.door.requests.counts().items())
    return {
        "usable": tier.trouble is None and tier.fenced is None and facts is not None and not facts.refused,
        "answers": facts is not None and facts.failing_for_s is None,
        "requests": [
            {"request": kind.name, "class": kind.storage_class, "outcome": kind.outcome, "count": count}
            for kind, count in requests
        ],
        "traffic": asdict(tier.traffic),
        "object_bytes": running.object_bytes,
        "cold_bytes": running.cold_bytes,
        "unsent_bytes": unsent_bytes(volume),
        "backlog": {
            "packs": tier.backlog.packs,
            "bytes": tier.backlog.bytes,
            "since_ns": None if tier.backlog.since_s is None else int(tier.backlog.since_s * SECOND_NS),
        },
        "published_ns": tier.published.committed_ns,
        "waiting": tier.waiting,
        "cache": {
            "hits": tier.pieces.hits,
            "misses": tier.pieces.misses,
            "bytes": tier.pieces.bytes,
            "bytes_max": volume.config.cache.disk_bytes,
        },
    }


async def figures_and_space(volume: Volume) -> Figures:
    """As `figures`, with `disks` and `metadata_bytes`; where a disk hangs, without.

    A disk that says that it is gone is left out, and is a reason.
    """
    disks = {number: volume.disks[number] for number in sorted(volume.disks)}
    answers: dict[int, Space | StoreError] = {}
    metadata_bytes: int | None = None
    with trio.move_on_after(DISKS_S_MAX):
        answers, metadata_bytes = await trio.to_thread.run_sync(
            _space,
            disks,
            volume.world.files,
            volume.metadata.path,
            limiter=volume.counters.asking,
            abandon_on_cancel=True,
        )
    note(volume, answers)
    shown = [
        {"path": disks[number].path, "total_bytes": space.total_bytes, "free_bytes": space.free_bytes}
        for number, space in answers.items()
        if not isinstance(space, StoreError)
    ]
    return figures(volume) | {"disks": shown, "metadata_bytes": metadata_bytes}


def _space(
    disks: Mapping[int, PackStore], files: Files, metadata_path: str
) -> tuple[dict[int, Space | StoreError], int | None]:
    """Blocking. What each disk says, or why it does not; and the size of the database."""
    answers: dict[int, Space | StoreError] = {}
    for number, disk in disks.items():
        try:
            answers[number] = disk.space()
        except StoreError as exc:
            answers[number] = exc
    try:
        names = (metadata_path, metadata_path + "-wal")
        return answers, sum(files.size(name) for name in names if files.exists(name))
    except OSError:
        return answers, None
