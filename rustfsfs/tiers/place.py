"""Which disks a new frame goes to. Pure."""

from collections.abc import Mapping


def choose_disks(
    free_bytes: Mapping[int, int], *, copies: int, need_bytes: int, current: frozenset[int]
) -> tuple[int, ...]:
    """`copies` disks with the most free space; those with a pack open (`current`) are kept while they have room.

    free_bytes  disk -> bytes, only disks that may take new packs
    returns     fewer than `copies` disks, or none, when there is no room: the caller says ENOSPC
    """
    fitting = [disk for disk, free in free_bytes.items() if free >= need_bytes]
    return tuple(sorted(fitting, key=lambda disk: (disk not in current, -free_bytes[disk], disk))[:copies])
