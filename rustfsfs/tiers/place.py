"""Which disks a new frame goes to. Pure."""

from collections.abc import Mapping, Sequence


def usable_bytes(free_bytes: Sequence[int], *, copies: int) -> int:
    """How much more can be stored, each byte on `copies` disks: two copies need room beside the largest disk."""
    total = sum(free_bytes)
    if copies == 1:
        return total
    return max(0, min(total // copies, total - max(free_bytes, default=0)))


def choose_disks(
    free_bytes: Mapping[int, int], *, copies: int, need_bytes: int, current: frozenset[int]
) -> tuple[int, ...]:
    """`copies` disks with the most free space; those with a pack open (`current`) are kept while they have room.

    free_bytes  disk -> bytes, only disks that may take new packs
    returns     fewer than `copies` disks, or none, when there is no room: the caller says ENOSPC
    """
    fitting = [disk for disk, free in free_bytes.items() if free >= need_bytes]
    return tuple(sorted(fitting, key=lambda disk: (disk not in current, -free_bytes[disk], disk))[:copies])
