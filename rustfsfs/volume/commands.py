"""What a mounted volume does when it is asked: the calls of the control socket, by name."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import DamagedData, NoSpace, StoreError, UsageError
from rustfsfs.volume import (
    attaching,
    checking,
    coldchecking,
    collecting,
    drives,
    epochs,
    packing,
    paths,
    scrubbing,
    sealing,
    windows,
)
from rustfsfs.volume.bucketfile import bucket_file_of
from rustfsfs.volume.collecting import Progress
from rustfsfs.volume.recording import ensure_writable
from rustfsfs.volume.status import status, unsent_bytes
from rustfsfs.volume.volume import Volume

LIVE_SHARE_FULL = 0.5  # packs rewritten when the disk is too full to seal
Command = Callable[[Volume, dict[str, Any], Progress], Awaitable[Any]]


async def seal(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, int | str | None]:
    """Seal all that is hot now; `{"sealed_bytes", "hot_bytes", "error"}`: error says why some of it cannot be.

    What is written meanwhile stays hot, else one who goes on writing would keep it from ever ending.
    """
    ensure_writable(volume)
    total = volume.metadata.running.hot_bytes
    sealed = 0

    async def count(batch_bytes: int) -> None:
        nonlocal sealed
        sealed += batch_bytes
        progress(min(sealed, total), total, "sealing")

    made_room, error, end = False, None, volume.journal.end
    while forks := windows.hot_forks(volume, before=end):
        try:
            done = await sealing.seal_forks(volume, forks, is_busy=lambda _fork: False, after_batch=count)
        except NoSpace:
            if made_room:
                raise
            made_room = True
            await collecting.collect_now(volume, live_share=LIVE_SHARE_FULL, progress=progress)
            await volume.gate.opened()
            continue
        await volume.gate.opened()
        if not done:
            error = await _why_not(volume)
            break
    await packing.close_full(volume, everything=True)
    await epochs.commit(volume)
    return {"sealed_bytes": sealed, "hot_bytes": volume.metadata.running.hot_bytes, "error": error}


async def _why_not(volume: Volume) -> str | None:
    """Why the oldest hot file cannot be sealed; None if it can by now, or if nothing is hot any more."""
    for fork in windows.hot_forks(volume, limit=1):
        start: int | None = 0
        while start is not None:
            await volume.gate.opened()
            planned, start = windows.plan_fork(volume, fork, start)
            try:
                async with volume.seal_lock:
                    for window in planned:
                        alone = windows.Batch()
                        alone.add(window)
                        await sealing.read_and_cut(volume, alone.windows, sealing.new_buffer(alone.plain_bytes))
            except (DamagedData, StoreError) as exc:
                await epochs.commit(volume)  # so that the file is found, however new it is
                named = await paths.of_fork(volume, fork)
                return f"{', '.join(named) or 'a file without a name'}: {exc}"
    return None


async def collect(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, int]:
    """Free what nothing needs now; `{"freed_bytes", "dead_bytes"}`."""
    live_share = args.get("live_share", 0.9)
    if not isinstance(live_share, int | float) or not 0 < live_share <= 1:
        raise UsageError("the live share is a number above 0 and up to 1")
    freed = await collecting.collect_now(volume, live_share=float(live_share), progress=progress)
    return {"freed_bytes": freed, "dead_bytes": volume.metadata.running.dead_bytes}


async def fsck(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, list[str]]:
    """Check the last COMMIT while the mount works; `{"findings"}`."""
    await epochs.commit(volume)
    findings = await trio.to_thread.run_sync(_check, volume, bool(args.get("data")), progress)
    found = [volume.health.trouble, volume.tier.trouble]
    return {"findings": [*(line for line in found if line is not None), *findings]}


def out_of_reach(volume: Volume) -> list[str]:
    """Disks that are missing, and a bucket that cannot be used: a line each."""
    lines = [f"disk {why}" for why in volume.health.missing_disks.values()]
    return lines if volume.tier.trouble is None else [*lines, volume.tier.trouble]


async def scrub(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read and verify everything, and mend it if asked.

    `{"findings", "found", "repaired", "not_now", "verified_bytes", "cold_bytes"}`; not_now: of what is left, the bucket
    will give it; cold_bytes: of packs in the bucket only, which were not looked at.
    """
    repair, rate_bytes_s = args.get("repair", False), args.get("rate_bytes_s", 0)
    if not isinstance(repair, bool) or not isinstance(rate_bytes_s, int) or rate_bytes_s < 0:
        raise UsageError("repair is true or false, the rate a number of bytes a second")
    if repair:
        ensure_writable(volume)
    done = await scrubbing.scrub(volume, repair=repair, rate_bytes_s=rate_bytes_s, progress=progress)
    missing = out_of_reach(volume)
    await volume.gate.opened()
    return {
        "findings": [*missing, *done.lines],
        "found": len(missing) + done.found,
        "repaired": done.repaired,
        "not_now": done.not_now,
        "verified_bytes": done.verified_bytes,
        "cold_bytes": volume.metadata.running.cold_bytes,
    }


def _check(volume: Volume, data: bool, progress: Progress) -> list[str]:
    """Blocking, for hours on a large volume: it looks at a newer COMMIT with every step, and ends when cancelled."""
    stores, way = dict(volume.disks), coldchecking.way_of(volume)
    with paths.reading_apart(volume) as metadata:

        def step(done: int, total: int, text: str) -> None:
            trio.from_thread.check_cancelled()
            metadata.run("COMMIT")  # an old read transaction would keep the WAL from ending
            metadata.run("BEGIN")
            progress(done, total, text)

        return checking.check_all(
            metadata, stores, volume.journal, volume.keys, volume.header.uuid, data=data, step=step, way=way
        )


async def show_status(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return await status(volume, state="mounted", mount_point=None, pid=None)


async def disk_list(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    return {"disks": await drives.list_(volume)}


async def disk_add(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, int]:
    return {"number": await drives.add(volume, _path(args))}


async def disk_remove(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    await drives.remove(volume, _path(args), progress=progress)
    return {}


async def bucket_attach(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Make a bucket the volume's: args as in bucket.toml, and "class" or null. What is kept where from now on."""
    config, running, named = volume.config, volume.metadata.running, args.get("class")
    if named is not None and named not in (Placement.STANDARD.value, Placement.IA.value):
        raise UsageError("the class of packs is Standard or IA")
    placement = None if named is None else Placement(named)
    done = await attaching.attach(volume, bucket_file_of(args), placement=placement, progress=progress)
    return {
        "name": done.name,
        "is_new": done.is_new,
        "warnings": done.warnings,
        "class": config.bucket.placement.value,
        "protect_within_s": config.protect.within_s if config.protect.enabled else None,
        "metadata_interval_s": config.bucket.metadata_interval_s,
        "demote_high": config.demote.high,
        "demote_after_s": None if config.demote.after_s == math.inf else config.demote.after_s,
        "cache_bytes": config.cache.disk_bytes,
        "hot_bytes": running.hot_bytes,
        "unsent_bytes": unsent_bytes(volume),
    }


def _path(args: dict[str, Any]) -> str:
    path = args.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise UsageError("the path of a disk is absolute")
    return path


COMMANDS: dict[str, Command] = {
    "status": show_status,
    "seal": seal,
    "collect": collect,
    "fsck": fsck,
    "scrub": scrub,
    "disk_list": disk_list,
    "disk_add": disk_add,
    "disk_remove": disk_remove,
    "bucket_attach": bucket_attach,
}
