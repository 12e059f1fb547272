"""The task that seals: quiet files first, in the background, out of the foreground's way (DESIGN.md §3, Sealing)."""

from typing import NoReturn

import trio

from rustfsfs.errors import NoSpace, StoreUnavailable
from rustfsfs.meta import disks
from rustfsfs.tasks.waiting import wait_for_wish
from rustfsfs.tiers import backpressure
from rustfsfs.units import SECOND_NS
from rustfsfs.volume import sealing, windows
from rustfsfs.volume.volume import Volume, log

NAME = "sealer"  # in `Health.tasks`
ROUND_S = 1.0
FORCE_SHARE = 0.5  # of the journal's limit: then the oldest segment is sealed, quiet or not
RECUT_EVERY_S = 60.0
TROUBLE_S = 5.0  # pause after the packs took nothing
REST_S_MAX = 5.0  # a batch may have waited for hours, for a disk that hung


async def run_sealer(volume: Volume, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
    """Every second, or when writers wait: seal what is quiet; under pressure, the oldest.

    Errors: full or failing disks end the round and are shown in `status`; writers are slowed by the journal meanwhile.
    """
    task_status.started()
    recut_s = trio.current_time()
    while True:
        try:
            await _round(volume)
            if trio.current_time() - recut_s >= RECUT_EVERY_S:
                recut_s = trio.current_time()
                await _recut(volume)
            volume.health.tasks[NAME] = ""
        except (NoSpace, StoreUnavailable) as exc:
            if not volume.health.tasks.get(NAME):  # once: a disk may be full, or dead, for days
                log.warning("sealing waits, and is tried again every %.0f s: %s", TROUBLE_S, exc)
            volume.health.tasks[NAME] = str(exc)
            volume.wishes.collect.set()
            await trio.sleep(TROUBLE_S)
        await wait_for_wish(volume.wishes, "seal", ROUND_S)


async def _round(volume: Volume) -> None:
    await volume.gate.opened()
    if volume.health.read_only_reason is not None:
        return
    pressed = backpressure.share(volume.journal.used_bytes, volume.journal_limit_bytes) >= FORCE_SHARE
    hot = disks.hot_segments(volume.metadata)
    if not hot:
        return
    forks = windows.hot_forks(volume, before=(hot[0] + 1 if pressed else windows.END, 0))
    if not pressed:
        forks = [fork for fork in forks if is_quiet(volume, fork)]
    await sealing.seal_forks(
        volume,
        forks,
        is_busy=lambda fork: not is_quiet(volume, fork),
        after_batch=_Throttle(volume).after_batch,
    )


def is_quiet(volume: Volume, fork: int) -> bool:
    """Nothing was written to it for `seal.quiet`."""
    last_s = volume.activity.last_write_s.get(fork)
    return last_s is None or trio.current_time() - last_s >= volume.config.seal.quiet_s


async def _recut(volume: Volume) -> None:
    """Cut anew where small dirty runs were sealed by themselves and nothing was written for `seal.recut_quiet`."""
    await volume.gate.opened()
    before_ns = volume.world.now_ns() - int(volume.config.seal.recut_quiet_s * SECOND_NS)
    overlaid = "SELECT fork FROM overlaid WHERE since_ns <= ? ORDER BY since_ns, fork LIMIT 100"
    forks = [fork for (fork,) in volume.metadata.rows(overlaid, (before_ns,))]
    await sealing.seal_forks(
        volume, forks, is_busy=lambda _fork: False, recut=True, after_batch=_Throttle(volume).after_batch
    )
    await volume.gate.opened()
    sealing.leave(volume, sorted({fork for (fork,) in volume.metadata.rows(overlaid, (before_ns,))} & {*forks}))


class _Throttle:
    """While requests come in and the journal is not pressed, rest after a batch as long as it took, or REST_S_MAX."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._since_s = trio.current_time()

    async def after_batch(self, _sealed_bytes: int) -> None:
        volume = self._volume
        took_s = trio.current_time() - self._since_s
        busy = sealing.foreground_is_busy(volume)
        pressed = backpressure.share(volume.journal.used_bytes, volume.journal_limit_bytes) >= FORCE_SHARE
        await trio.sleep(min(took_s, REST_S_MAX) if busy and not pressed else 0)
        self._since_s = trio.current_time()
