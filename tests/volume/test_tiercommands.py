"""What `rustfsfs tier` asks, and the attributes that say where a file lies."""

from dataclasses import replace
from pathlib import Path

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import NoSuchXattr, NotPermitted, UsageError
from rustfsfs.store.cold import pack_key
from rustfsfs.volume import names, tierattrs, tiercommands, tiering, xattrs
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.commands import Command
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, contents, opened_with, sealed
from tests.volume.on_disk import DIRECTORY, format_in, write_file

ONE, OTHER = NOISE.randbytes(300_000), NOISE.randbytes(400_000)


async def tier(volume: Volume, inode: int) -> bytes:
    return await tierattrs.get(volume, inode, tierattrs.TIER)


async def test_a_tree_is_demoted_and_recalled_and_the_rest_stays(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        folder = names.create(volume, 1, b"d", mode=DIRECTORY, uid=0, gid=0).inode
        other = await sealed(volume, b"stays", OTHER)
        inode = await write_file(volume, b"f", ONE, parent=folder)
        assert await tier(volume, inode) == b"hot"
        done = await tiercommands.tier_demote(volume, {"paths": ["d"]}, no_progress)
        assert done["packs"] == 1
        assert done["freed_bytes"] > len(ONE)
        assert (await tier(volume, inode), await tier(volume, other)) == (b"cold", b"local")
        shown = await tiercommands.tier_status(volume, {"paths": ["d", "stays"]}, no_progress)
        assert [(one["path"], one["tier"]) for one in shown["paths"]] == [("d", "cold"), ("stays", "local")]
        assert await contents(volume, inode) == ONE
        back = await tiercommands.tier_recall(volume, {"paths": ["d/f"]}, no_progress)
        assert (back["packs"], back["missing"], back["frozen"]) == (1, [], 0)
        assert await tier(volume, inode) == b"local"


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", ONE)
        told = await tiercommands.tier_demote(volume, {"paths": [""], "dry_run": True}, no_progress)
        assert (told["packs"], told["freed_bytes"], bucket.objects) == (1, 0, {})
        assert await tier(volume, inode) == b"local"


async def test_a_pinned_tree_stays_and_says_why(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        inode = await sealed(volume, b"f", ONE)
        assert (await tiercommands.tier_pin(volume, {"paths": ["f"]}, no_progress))["pinned"] == ["/f"]
        told = await tiercommands.tier_demote(volume, {"paths": ["f"]}, no_progress)
        assert (told["packs"], [one["why"] for one in told["kept"]]) == (0, ["a pinned tree needs it"])
        assert await tier(volume, inode) == b"local"
        assert (await tiercommands.tier_unpin(volume, {"paths": ["f"]}, no_progress))["pinned"] == []
        assert (await tiercommands.tier_demote(volume, {"paths": ["f"]}, no_progress))["packs"] == 1


async def test_a_plan_says_what_comes_next(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await sealed(volume, b"f", ONE)
        plan = await tiercommands.tier_plan(volume, {}, no_progress)
        assert [step["action"] for step in plan["steps"]] == ["upload it"]
        assert plan["backlog_bytes"] > len(ONE)


async def test_a_frozen_pack_is_asked_for_and_comes_when_it_is_ready(tmp_path: Path) -> None:
    now_s = [1_800_000_000.0]
    bucket = MemBucket(now_s=lambda: now_s[0])
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", ONE)
        await tiercommands.tier_demote(volume, {"paths": []}, no_progress)
        (pack,) = (await tiering.gather(volume)).packs
        name = pack_key(*pack.key)
        bucket.objects[name] = replace(bucket.objects[name], placement=Placement.ARCHIVE)
        told = await tiercommands.tier_recall(volume, {"paths": []}, no_progress)
        assert (told["frozen"], told["ready_in_s"]) == (1, 60.0)
        shown = await tiercommands.tier_status(volume, {"paths": []}, no_progress)
        assert shown["frozen_packs"] == 1 and shown["frozen_bytes"] > 0
        assert await tier(volume, inode) == b"cold"
        now_s[0] += 61
        back = await tiercommands.tier_recall(volume, {"paths": []}, no_progress)
        assert (back["frozen"], back["ready_in_s"]) == (0, None)
        assert await tier(volume, inode) == b"local"


async def test_what_is_lost_in_the_bucket_is_told_by_its_path(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"gone", ONE)
        await tiercommands.tier_demote(volume, {"paths": []}, no_progress)
        bucket.objects.clear()
        assert (await tiercommands.tier_recall(volume, {"paths": []}, no_progress))["missing"] == ["/gone"]


async def test_sizes_count_what_is_shared_once_and_what_is_alone_by_itself(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        inode = await sealed(volume, b"f", ONE)
        alone = int(await tierattrs.get(volume, inode, tierattrs.UNIQUE))
        assert len(ONE) <= alone == int(await tierattrs.get(volume, inode, tierattrs.STORED))
        await sealed(volume, b"g", ONE)
        assert await tierattrs.get(volume, inode, tierattrs.UNIQUE) == b"0"
        assert int(await tierattrs.get(volume, inode, tierattrs.STORED)) == alone


async def test_the_attributes_are_nobodys_to_set_nor_listed(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        inode = await sealed(volume, b"f", ONE)
        with pytest.raises(NotPermitted):
            xattrs.set_(volume, inode, tierattrs.TIER, b"cold")
        assert xattrs.names(volume, inode) == []
        with pytest.raises(NoSuchXattr):
            await tierattrs.get(volume, 1, tierattrs.TIER)


@pytest.mark.parametrize("call", list(tiercommands.COMMANDS.values()))
async def test_without_a_bucket_there_is_one_sentence(tmp_path: Path, call: Command) -> None:
    async with opened_with(format_in(tmp_path / "v"), None) as volume:
        with pytest.raises(UsageError, match="has no bucket"):
            await call(volume, {"paths": []}, no_progress)


async def test_a_path_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        with pytest.raises(UsageError, match="no d/e in the volume"):
            await tiercommands.tier_demote(volume, {"paths": ["d/e"]}, no_progress)
