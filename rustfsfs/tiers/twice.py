"""Chunks that lie in several packs (`copies = 2`): what one pack in the bucket says of the others. Pure.

The bucket needs each chunk once. A pack whose live chunks all lie in packs that it has is not uploaded, and its local
copy may go as if it were (I7). DESIGN.md, "Two copies, and one in the bucket".
"""

from collections.abc import Container, Iterable

from rustfsfs.tiers.packs import Pack, PackKey


def is_covered(pack: Pack, there: Container[PackKey]) -> bool:
    """Does each of its live chunks lie in one of the packs `there`, too?"""
    return pack.others is not None and all(any(key in there for key in group) for group in pack.others)


def covered(packs: Iterable[Pack], *, lost: Container[PackKey]) -> list[Pack]:
    """The packs, each of them knowing whether the bucket has its live chunks in others.

    lost   packs that the bucket should have and has not
    A frozen object counts for nothing: it could not be read at once.
    """
    found = list(packs)
    there = {
        pack.key
        for pack in found
        if pack.is_proved and pack.key not in lost and pack.object and not pack.object.placement.freezes
    }
    return [
        pack._replace(is_elsewhere=True) if pack.object is None and is_covered(pack, there) else pack for pack in found
    ]


def needed(packs: Iterable[Pack]) -> list[Pack]:
    """Those to upload, in their order, so that the bucket will have each of their chunks: once, if it may be.

    One that fails counts as there until the next look, which puts another in its place.
    """
    chosen: dict[PackKey, Pack] = {}
    for pack in packs:
        if not pack.is_elsewhere and not is_covered(pack, chosen):
            chosen[pack.key] = pack
    return list(chosen.values())
