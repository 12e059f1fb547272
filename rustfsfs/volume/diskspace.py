"""How much is free on the disks, and which of them may take packs. What failed is told by `status` and /healthz.

A disk that is there and takes no pack, as one that turned read-only, gets none for a while: data goes to the others.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import trio

from rustfsfs.errors import StoreError
from rustfsfs.meta import disks
from rustfsfs.store.base import PackStore
from rustfsfs.volume.volume import FailingDisk, Volume, log
from rustfsfs.world import Space

AGAIN_S = 60.0  # then a disk that took no pack is tried again
STORING_S_MAX = 30.0  # for 16 MiB on each disk
ANSWER_S_MAX = 1.0  # for who only wants to show it
PATIENCE_S = 30.0  # so long data waits in the journal for one, rather than to have a copy less


def space_of(volume: Volume, number: int) -> Space:
    """Of a disk of `volume.disks`, asked now. Raises StoreError."""
    try:
        space = volume.disks[number].space()
    except StoreError as exc:
        note(volume, {number: exc})
        raise
    note(volume, {number: space})
    return space


def spaces(volume: Volume) -> dict[int, Space]:
    """Of the disks that answer."""
    found: dict[int, Space] = {}
    for number in volume.disks:
        with suppress(StoreError):
            found[number] = space_of(volume, number)
    return found


async def asked(volume: Volume) -> dict[int, Space]:
    """Of the disks that answer within a second, each asked in a thread of its own: one that hangs is left out, and not
    asked again while it does.
    """
    answers: dict[int, Space | StoreError] = {}

    def ask(number: int, store: PackStore) -> None:
        try:
            answers[number] = store.space()
        except StoreError as exc:
            answers[number] = exc
        finally:
            volume.health.asked.discard(store.path)

    async def ask_one(number: int, store: PackStore) -> None:
        while store.path in volume.health.asked:
            await trio.sleep(0.01)
        volume.health.asked.add(store.path)
        await trio.to_thread.run_sync(ask, number, store, abandon_on_cancel=True)

    with trio.move_on_after(ANSWER_S_MAX):
        async with trio.open_nursery() as nursery:
            for number, store in volume.disks.items():
                nursery.start_soon(ask_one, number, store)
    found = dict(answers)  # a thread that was left alone may yet add to it
    note(volume, found)
    return {number: space for number, space in found.items() if not isinstance(space, StoreError)}


def note(volume: Volume, answers: Mapping[int, Space | StoreError]) -> None:
    """What disks have said, or why they did not."""
    for number, answer in answers.items():
        if isinstance(answer, StoreError):
            volume.health.lost_disks[number] = str(answer)
        else:
            volume.health.lost_disks.pop(number, None)


def lost(volume: Volume) -> dict[int, str]:
    """Why disks that were there did not answer when they were last asked."""
    return {number: why for number, why in volume.health.lost_disks.items() if number in volume.disks}


def failing(volume: Volume) -> dict[int, str]:
    """Why disks that are there took no packs when they were last tried."""
    return {number: one.why for number, one in volume.health.failing_disks.items() if number in volume.disks}


def hanging(volume: Volume) -> tuple[int, ...]:
    """Disks to which something is written that takes so long that one of them must hang."""
    storing = volume.activity.storing
    return storing.disks if storing is not None and trio.current_time() - storing.since_s > STORING_S_MAX else ()


def takers(volume: Volume, *, copies: int, avoid: frozenset[int] = frozenset()) -> dict[int, Space]:
    """The disks that a new pack, with its `copies`, may go to: there, not draining, none that failed a moment ago.

    Where too few are left for all copies, one that began to fail not long ago is still tried: what it does not take
    waits in the journal. Then it counts as a missing one does (`--degraded`): there are as many copies as disks.
    """
    draining = {row.disk for row in disks.all_(volume.metadata) if row.draining}
    there = {disk: space for disk, space in spaces(volume).items() if disk not in draining and disk not in avoid}
    sound = _sound(volume, there)
    if len(sound) < copies:
        since_s, known = trio.current_time() - PATIENCE_S, volume.health.failing_disks
        sound |= {disk: there[disk] for disk in there.keys() - sound.keys() if known[disk].since_s > since_s}
    return sound or there


def _sound(volume: Volume, found: Mapping[int, Space]) -> dict[int, Space]:
    return {disk: space for disk, space in found.items() if takes_packs(volume, disk)}


def takes_packs(volume: Volume, disk: int) -> bool:
    """None failed there a moment ago."""
    failed = volume.health.failing_disks.get(disk)
    return failed is None or failed.again_s <= trio.current_time()


def without_failing(volume: Volume, found: Mapping[int, Space]) -> Iterable[Space]:
    """What is free on a disk that takes no packs is of no use, unless there is no other."""
    return (_sound(volume, found) or found).values()


def note_failed(volume: Volume, disk: int, why: str) -> None:
    """A disk took no pack. Logged once. It is looked at now: it may be gone."""
    known, now_s = volume.health.failing_disks, trio.current_time()
    if disk not in known:
        log.error("disk %d takes no new data, which goes to the others if there are any: %s", disk, why)
    known[disk] = FailingDisk(why, known[disk].since_s if disk in known else now_s, now_s + AGAIN_S)
    volume.health.suspects.add(disk)
    volume.wishes.disks.set()


def note_stored(volume: Volume, chosen: Iterable[int]) -> None:
    """They took packs."""
    for disk in chosen:
        if volume.health.failing_disks.pop(disk, None) is not None:
            log.warning("disk %d takes packs again", disk)
