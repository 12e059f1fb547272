"""Waiting for the mover: with a bucket behind them the disks stay below `demote.high`, and writers slow down for it.

When the bucket does not answer, or another host has it, nobody waits: local work goes on as without one, up to the last
free byte.
"""

from collections.abc import Callable

import trio

from rustfsfs.units import MIB
from rustfsfs.volume.diskspace import spaces
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space

MARGIN_MAX = 128 * MIB  # journal segments come in pieces of 64 MiB
MARGIN_SHARE = 0.1  # of a tiny disk
NO_PROGRESS_S_MAX = 30.0
GIVEN_UP_S = 300.0


def margin_bytes(space: Space) -> int:
    """Left below the watermark, for what journal and database take before anybody looks again.

    The mover keeps it free too: or writers would wait there for somebody who has nothing to do.
    """
    return min(MARGIN_MAX, int(space.usable_bytes * MARGIN_SHARE))


def is_above(volume: Volume, size_bytes: int, *, with_margin: bool) -> bool:
    """Would every disk be above its high watermark with so many bytes more?

    with_margin   of writers; the sealer, who ends what they wait for, goes on further

    A disk that others have filled is no reason to wait: with all of ours gone it would be above yet.
    """
    ours_bytes, found = _movable_bytes(volume), spaces(volume)
    for space in found.values():
        margin = margin_bytes(space) // (1 if with_margin else 4)
        limit_bytes = int(space.usable_bytes * volume.config.demote.high) - margin
        if space.used_bytes + size_bytes <= limit_bytes or space.used_bytes - ours_bytes > limit_bytes:
            return False
    return bool(found)


def has_room(volume: Volume, disk: int, size_bytes: int) -> bool:
    """Is a disk below its high watermark with so many bytes more, and with what comes back to it already?

    Of a disk that is not there: is any other? Whoever filled it, nothing is brought to a disk beyond it.
    """
    high, growing = volume.config.demote.high, volume.tier.recalling
    for number, space in spaces(volume).items():
        if number == disk or disk not in volume.disks:
            coming_bytes = sum(size for key, size in growing.items() if key[1] == number)
            if (
                space.used_bytes + coming_bytes + size_bytes
                <= int(space.usable_bytes * high) - margin_bytes(space) // 4
            ):
                return True
    return False


def _movable_bytes(volume: Volume) -> int:
    """What could be in the bucket only, at the most: of all disks, so that with several somebody may wait in vain."""
    running = volume.metadata.running
    return running.pack_bytes - running.cold_bytes + volume.journal.used_bytes


def mover_works(volume: Volume) -> bool:
    """Is there a bucket, is it ours, and does it answer? One request that failed is no outage."""
    door = volume.tier.door
    return door is not None and volume.tier.fenced is None and not door.breaker.facts().away


async def wait_below(volume: Volume, size_bytes: int, *, with_margin: bool = False) -> None:
    """Return once there is room below the high watermark, or when the mover cannot make any.

    Where it could not, as with much that is pinned, nobody waits for it again for a while.
    """
    if trio.current_time() - volume.room.gave_up_s < GIVEN_UP_S:
        return
    await wait_while(volume, lambda: is_above(volume, size_bytes, with_margin=with_margin))


async def wait_while(volume: Volume, is_full: Callable[[], bool]) -> None:
    """Return once that is over, or when the mover cannot change it. `is_full` is asked while the gate is open."""
    if volume.tier.door is None:
        return
    round_no, seen, since_s = volume.tier.round_no, _progress(volume), trio.current_time()
    while mover_works(volume) and is_full():
        volume.wishes.tier.set()
        if _progress(volume) != seen:
            seen, since_s = _progress(volume), trio.current_time()
        is_idle = volume.tier.idle_round_no > round_no and not volume.metadata.running.hot_bytes  # nothing comes either
        if is_idle or trio.current_time() - since_s > NO_PROGRESS_S_MAX:
            volume.room.gave_up_s = trio.current_time()
            break
        await trio.sleep(0.05)
        await volume.gate.opened()  # `is_full` may ask the database
    await volume.gate.opened()


def _progress(volume: Volume) -> tuple[int, int, int]:
    traffic = volume.tier.traffic
    return traffic.uploaded_packs, traffic.demoted_packs, volume.activity.sealed_bytes
