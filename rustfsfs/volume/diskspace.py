"""How much is free on a disk. One that does not answer is remembered: `status` and /healthz tell of it."""

from collections.abc import Mapping

from rustfsfs.errors import StoreError
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space


def space_of(volume: Volume, number: int) -> Space:
    """Of a disk of `volume.disks`, asked now. Raises StoreError."""
    try:
        space = volume.disks[number].space()
    except StoreError as exc:
        note(volume, {number: exc})
        raise
    note(volume, {number: space})
    return space


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
