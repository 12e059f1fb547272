"""When an inode without a name goes: after its last name, its last handle, and its last lookup, in any order."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.meta import inodes
from rustfsfs.units import ROOT
from rustfsfs.volume import handles, names, reaping
from rustfsfs.volume.lookups import Lookups
from rustfsfs.volume.volume import Volume
from tests.volume.in_memory import InMemory, new_file, new_volume

INODES = st.sampled_from([1, 2, 4095, 4096, 5 << 40])


@given(st.lists(st.tuples(INODES, st.integers(-4, 300))))
def test_lookups_count_as_a_dictionary_does(steps: list[tuple[int, int]]) -> None:
    lookups, model = Lookups(), Counter[int]()
    for inode, change in steps:
        if change > 0:
            for _ in range(change):
                lookups.add(inode)
            model[inode] += change
        else:
            model[inode] = max(0, model[inode] + 80 * change)
            assert lookups.forget(inode, -80 * change) == model[inode]
        assert lookups.count(inode) == model[inode]
    for inode in list(model):
        lookups.forget(inode, model[inode])
    assert (lookups._pages, lookups._known, lookups._above) == ({}, {}, {})


async def is_gone(volume: Volume, inode: int) -> bool:
    await reaping.reap(volume)
    return inodes.find(volume.metadata, inode) is None


async def test_it_waits_for_the_last_of_name_handle_and_lookup(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        handles.given(volume, names.lookup(volume, ROOT, b"f"))
        handles.opened(volume, inode)
        names.unlink(volume, ROOT, b"f")
        assert not await is_gone(volume, inode)
        handles.forgotten(volume, inode, 1)
        assert not await is_gone(volume, inode), "it is still open"
        handles.closed(volume, inode)
        assert await is_gone(volume, inode)


async def test_a_late_message_does_not_forget_what_was_given_since(tmp_path: Path) -> None:
    """The kernel queues FORGET apart from requests: a lookup may overtake it."""
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        handles.given(volume, names.lookup(volume, ROOT, b"f"))
        handles.given(volume, names.lookup(volume, ROOT, b"f"))
        names.unlink(volume, ROOT, b"f")
        handles.forgotten(volume, inode, 1)
        assert not await is_gone(volume, inode)
        handles.forgotten(volume, inode, 1)
        assert await is_gone(volume, inode)


async def test_what_nobody_knows_goes_with_its_name(tmp_path: Path) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        names.unlink(volume, ROOT, b"f")
        assert await is_gone(volume, inode)


async def test_after_a_kill_every_orphan_goes(tmp_path: Path) -> None:
    home = InMemory(tmp_path)
    async with home.killed() as volume:
        inode = new_file(volume, b"f")
        handles.opened(volume, inode)
        names.unlink(volume, ROOT, b"f")
    async with home.opened() as volume:
        assert inodes.orphans(volume.metadata) == [inode]
        assert await is_gone(volume, inode)
