"""Taking a term of the bucket's owner, cut before every action: the next life knows what it finds, and goes on."""

from pathlib import Path

import trio

from rustfsfs.errors import CloudRefused
from rustfsfs.volume import owning
from rustfsfs.volume.opening import opened_volume
from tests.crash import dirbucket, nonces, vfs
from tests.crash.disk import CrashFiles
from tests.crash.story import opening, told, told_after, world_on


@nonces.watched()
def taken(path: Path, disk: CrashFiles, seed: int) -> int:
    """The term that a life on this disk takes; then the plug is pulled. Raises CloudRefused."""
    vfs.put_files(disk, path)
    found: list[int] = []

    async def main() -> None:
        async with opened_volume(world_on(disk, seed), opening(path)) as volume:
            dirbucket.attach(volume, first=True)
            try:
                await owning.ensure_owner(volume)
                assert volume.tier.term is not None
                found.append(volume.tier.term)
            finally:
                volume.health.read_only_reason = "the plug was pulled"

    try:
        trio.run(main)
    except* CloudRefused as exc:
        raise exc.exceptions[0] from None
    return found[0]


def explore_terms(path: Path, *, limit: int) -> None:
    """Two lives write to the bucket: wherever the power is cut in the second, a third one may go on there."""
    first = told(path, ("upload",))
    story = told_after(path, first.files, ("write", "seal", "upload"))
    seen = set[int]()
    for cut, disk in story.files.cuts(story.first, story.last, story.start):
        for left in disk.states(limit=limit, seed=cut):
            left.seed = cut
            seen.add(taken(path, left, 1))
    assert seen == {2, 3}


def test_wherever_the_power_is_cut_the_next_life_goes_on(tmp_path: Path) -> None:
    explore_terms(tmp_path / "v", limit=3)
