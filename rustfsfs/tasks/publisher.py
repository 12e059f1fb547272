"""The task that brings the metadata to the bucket: at once when that has none, then as often as the settings say."""

from typing import NoReturn

import trio

from rustfsfs.errors import RustfsfsError
from rustfsfs.meta import objects
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.volume import publishing
from rustfsfs.volume.volume import Volume, log

LOOK_EVERY_S = 10.0
FIRST_S = 300.0  # after a mount, so that who is killed every half hour has copies too; not after every short one
AGAIN_S = 60.0  # after a failure: an outage makes a copy late, no more


async def run_publisher(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Errors: logged once for each kind, shown in status, tried again. Without a bucket it only waits."""
    task_status.started()
    next_s = trio.current_time() + min(FIRST_S, volume.config.bucket.metadata_interval_s)
    while True:
        asked = await wait_for_wish(volume.wishes, "publish", LOOK_EVERY_S)
        if volume.tier.door is None or volume.health.read_only_reason is not None:
            continue
        await volume.gate.opened()
        if not asked and trio.current_time() < next_s and (volume.tier.published.trouble or _has_some(volume)):
            continue
        next_s = trio.current_time() + await _publish(volume)


def _has_some(volume: Volume) -> bool:
    return volume.metadata.is_tiered and bool(objects.published(volume.metadata))


async def _publish(volume: Volume) -> float:
    """Seconds until the next attempt."""
    try:
        await publishing.publish(volume)
    except (RustfsfsError, OSError) as exc:
        published, kind = volume.tier.published, type(exc).__name__  # its text differs each time: ids of requests
        if published.trouble_kind != kind:
            log.error("the bucket has not got the newest metadata, it is tried again every minute: %s", exc)
        published.trouble, published.trouble_kind = str(exc), kind
        return AGAIN_S
    volume.tier.published.trouble = volume.tier.published.trouble_kind = ""
    return volume.config.bucket.metadata_interval_s
