"""The task that brings the metadata to the bucket: at once when that has none, then as often as the settings say, and
soon once packs went cold.

The header, which says what keys open it, goes as soon as it is another.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from rustfsfs.errors import RustfsfsError, without_frames
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.tiers import publish
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import publishing
from rustfsfs.volume.volume import Volume, log

LOOK_EVERY_S = 10.0
AGAIN_S = 60.0  # after a failure: an outage makes a copy late, no more


async def run_publisher(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Errors: logged once for each kind, shown in status, tried again. Without a bucket it only waits."""
    task_status.started()
    since_s: float | None = None
    failed, header_again_s = False, 0.0
    while True:
        asked = await wait_for_wish(volume.wishes, "publish", LOOK_EVERY_S)
        if volume.tier.door is None or volume.health.read_only_reason is not None:
            continue
        if since_s is None:
            since_s = await _published_s(volume)
        since_s = max(since_s, volume.tier.published_s)
        pause_s = AGAIN_S if failed else _pause_s(volume)
        if asked or trio.current_time() >= since_s + pause_s:
            failed = not await _told(volume, publishing.publish)
            since_s = trio.current_time()
        elif trio.current_time() >= header_again_s and not await _told(volume, publishing.publish_header):
            header_again_s = trio.current_time() + AGAIN_S


def _pause_s(volume: Volume) -> float:
    return publish.pause_s(
        interval_s=volume.config.bucket.metadata_interval_s,
        went_cold=volume.tier.went_cold,
        took_s=volume.tier.publishing_took_s,
    )


async def _published_s(volume: Volume) -> float:
    """When it was last, by trio's clock: mounts that are shorter than the interval have their turn too.

    What went cold before the mount is not known: something may have, if anything changed and there are cold packs.
    """
    volume.tier.went_cold |= publishing.is_due(volume) and volume.metadata.running.cold_bytes > 0
    try:
        await publishing.look(volume)
    except (RustfsfsError, OSError) as exc:
        log.info("how old the bucket's metadata is could not be seen: %s", exc)
    age_s = (volume.world.now_ns() - volume.tier.published.committed_ns) / SECOND_NS
    return trio.current_time() - max(0.0, age_s)


async def _told(volume: Volume, work: Callable[[Volume], Awaitable[object]]) -> bool:
    """Could it be done? If not, the log and status say why."""
    try:
        await work(volume)
    except (RustfsfsError, OSError) as exc:
        published, kind = volume.tier.published, type(exc).__name__  # its text differs each time: ids of requests
        if published.trouble_kind != kind:
            log.error("the bucket has not got the newest metadata, it is tried again every minute: %s", exc)
        published.trouble, published.trouble_kind = str(exc), kind
        published.header_is_late = work is publishing.publish_header
        without_frames(exc)  # they hold a part of the copy
        return False
    if work is publishing.publish or volume.tier.published.header_is_late:
        volume.tier.published.trouble = volume.tier.published.trouble_kind = ""
    return True
