"""What `rustfsfs tier` asks, and the attributes that say where a file lies."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.config import Bucket as BucketConfig
from rustfsfs.config import Config
from rustfsfs.errors import CloudUnavailable, NoSpace, NoSuchXattr, NotPermitted, UsageError
from rustfsfs.meta import objects
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import pack_key
from rustfsfs.units import MIB
from rustfsfs.volume import (
    collecting,
    commands,
    demoting,
    epochs,
    names,
    publishing,
    rounds,
    status,
    tierattrs,
    tiercommands,
    tiering,
    xattrs,
)
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.commands import Command
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Space
from tests.crash.disk import CrashFiles
from tests.store.membucket import MemBucket
from tests.volume.in_memory import InMemory, new_file, put
from tests.volume.on_bucket import ANY_DISK, NOISE, all_demoted, attach, contents, opened_with, packs_there, sealed
from tests.volume.on_disk import DIRECTORY, format_in, write_file

ONE, OTHER = NOISE.randbytes(300_000), NOISE.randbytes(400_000)
PAYS = Config(demote=ANY_DISK.demote, bucket=BucketConfig(placement=Placement.STANDARD))  # no minimum days


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


async def test_what_is_pinned_and_cold_yet_is_told_and_counts_once(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        folder = names.create(volume, 1, b"d", mode=DIRECTORY, uid=0, gid=0).inode
        await sealed(volume, b"other", OTHER)
        await write_file(volume, b"f", ONE, parent=folder)
        await tiercommands.tier_demote(volume, {}, no_progress)
        assert (await tiercommands.tier_status(volume, {}, no_progress))["pinned_cold_bytes"] == 0
        await tiercommands.tier_pin(volume, {"paths": ["d", "d/f"]}, no_progress)
        left_bytes = (await tiercommands.tier_status(volume, {}, no_progress))["pinned_cold_bytes"]
        assert len(ONE) <= left_bytes < len(ONE) + 100_000
        await tiercommands.tier_recall(volume, {"paths": ["d"]}, no_progress)
        assert (await tiercommands.tier_status(volume, {}, no_progress))["pinned_cold_bytes"] == 0


async def test_what_a_pin_above_keeps_is_told_with_that_pin(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        folder = names.create(volume, 1, b"d", mode=DIRECTORY, uid=0, gid=0).inode
        await write_file(volume, b"f", ONE, parent=folder)
        await tiercommands.tier_pin(volume, {"paths": ["d"]}, no_progress)
        told = await tiercommands.tier_unpin(volume, {"paths": ["d/f"]}, no_progress)
        assert told == {"pinned": ["/d"], "covered": [{"path": "d/f", "by": "/d"}]}
        told = await tiercommands.tier_unpin(volume, {"paths": ["d/f", "d"]}, no_progress)
        assert told == {"pinned": [], "covered": []}


async def test_what_goes_up_and_down_is_told_as_a_rate(tmp_path: Path, mock_clock: MockClock) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        inode = await sealed(volume, b"f", ONE)
        await all_demoted(volume)
        mock_clock.jump(10.0)
        shown = await tiercommands.tier_status(volume, {}, no_progress)
        assert len(ONE) / 15 < shown["up_bytes_s"] < len(ONE) / 5 and shown["down_bytes_s"] == 0
        await contents(volume, inode)
        assert status.bucket(volume)["traffic"]["down_bytes_s"] > len(ONE) / 15  # type: ignore[index]
        mock_clock.jump(61.0)
        assert volume.tier.rates() == {"up_bytes_s": 0, "down_bytes_s": 0}


async def test_a_plan_says_what_comes_next(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        await sealed(volume, b"f", ONE)
        plan = await tiercommands.tier_plan(volume, {}, no_progress)
        assert [step["action"] for step in plan["steps"]] == ["upload it"]
        assert plan["backlog_bytes"] > len(ONE)


async def test_a_plan_says_what_the_collector_would_do_in_the_bucket(tmp_path: Path) -> None:
    now_s = [1_800_000_000.0]
    async with opened_with(format_in(tmp_path / "v"), MemBucket(now_s=lambda: now_s[0]), config=PAYS) as volume:
        await write_file(volume, b"most", OTHER)
        await sealed(volume, b"rest", ONE[:60_000])
        (mostly_dead,) = await all_demoted(volume)
        await sealed(volume, b"alone", ONE[::-1])
        (wholly_dead,) = {*await all_demoted(volume)} - {mostly_dead}
        for name in (b"most", b"alone"):
            inode = names.lookup(volume, 1, name).inode
            names.unlink(volume, 1, name)
            record(volume, ops.Release(inodes=[inode]))
        await collecting.bury(volume)
        steps = {
            (one["pack"], one["disk"]): one for one in (await tiercommands.tier_plan(volume, {}, no_progress))["steps"]
        }
        assert steps[mostly_dead]["action"] == "write what lives of it to a new pack, and delete its object"
        assert "13% of it lives" in steps[mostly_dead]["why"] and steps[mostly_dead]["bytes"] > 390_000
        assert (steps[wholly_dead]["action"], steps[wholly_dead]["why"]) == ("delete its object", "nothing in it lives")
        record(volume, ops.Publish(copies=[(1, volume.metadata.running.last_seq)]))
        await collecting.collect(volume, live_share=0.0)
        plan = await tiercommands.tier_plan(volume, {}, no_progress)
        assert wholly_dead not in {(one["pack"], one["disk"]) for one in plan["steps"]}
        assert plan["retained_bytes"] >= len(ONE), "published metadata names it"
        record(volume, ops.Publish(copies=[]))
        await epochs.commit(volume)
        plan = await tiercommands.tier_plan(volume, {}, no_progress)
        (step,) = [one for one in plan["steps"] if (one["pack"], one["disk"]) == wholly_dead]
        assert step["action"] == "delete its object" and "no metadata that is kept" in step["why"]
        assert plan["retained_bytes"] == 0


async def test_a_dry_run_says_what_is_not_sealed_yet(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        folder = names.create(volume, 1, b"d", mode=DIRECTORY, uid=0, gid=0).inode
        await write_file(volume, b"f", ONE, parent=folder)
        await write_file(volume, b"g", OTHER)
        told = await tiercommands.tier_demote(volume, {"paths": ["d", "d/f"], "dry_run": True}, no_progress)
        assert (told["packs"], told["hot_bytes"]) == (0, len(ONE))
        told = await tiercommands.tier_demote(volume, {"paths": [""], "dry_run": True}, no_progress)
        assert told["hot_bytes"] == len(ONE) + len(OTHER)
        assert (await tiercommands.tier_demote(volume, {"paths": ["d"]}, no_progress))["hot_bytes"] == 0


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


async def test_a_pack_that_is_damaged_on_its_disk_is_not_said_to_have_gone(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await sealed(volume, b"f", ONE)
        file = next(path.rglob("*.pack"))
        good = file.read_bytes()
        file.write_bytes(good[:9000] + bytes(100) + good[9100:])
        told = await tiercommands.tier_demote(volume, {"paths": []}, no_progress)
        assert (told["packs"], told["bytes"], told["freed_bytes"]) == (0, 0, 0)
        (failed,) = told["failed"]
        assert failed["pack"] == 1 and "damaged" in failed["why"]


async def test_a_plan_of_paths_is_of_what_they_need(tmp_path: Path) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        folder = names.create(volume, 1, b"d", mode=DIRECTORY, uid=0, gid=0).inode
        await sealed(volume, b"f", ONE)
        await write_file(volume, b"g", OTHER, parent=folder)
        await commands.seal(volume, {}, no_progress)
        for paths, want in (([], [1, 2]), ([""], [1, 2]), (["d"], [2]), (["f"], [1]), (["f", "d/g"], [1, 2])):
            plan = await tiercommands.tier_plan(volume, {"paths": paths}, no_progress)
            assert sorted(step["pack"] for step in plan["steps"]) == want
            assert plan["backlog_bytes"] == sum(step["bytes"] for step in plan["steps"])
        with pytest.raises(UsageError, match="no x in the volume"):
            await tiercommands.tier_plan(volume, {"paths": ["x"]}, no_progress)


class OneIsFull(CrashFiles):
    """The disk `full` has no room, since others fill it."""

    full = ""

    def space(self, path: str) -> Space:
        is_full = self.full and path.endswith(self.full)
        return Space(256 * MIB, 12 * MIB if is_full else 200 * MIB, 1 << 20, 1 << 19, read_only=False)


async def test_a_recall_looks_at_the_disk_that_a_pack_belongs_to(tmp_path: Path) -> None:
    files = OneIsFull()
    home = InMemory(tmp_path, files, disk_count=2)
    async with home.opened() as volume:
        attach(volume, MemBucket())
        await put(volume, new_file(volume, b"f"))
        (first,) = await all_demoted(volume)
        away = volume.disks.pop(first[1])
        await put(volume, new_file(volume, b"g"))
        volume.disks[first[1]] = away
        (second,) = {*await all_demoted(volume)} - {first}
        files.full = away.path
        with pytest.raises(NoSpace, match=r"19\d.* KiB of 39\d.* KiB came back"):
            await tiercommands.tier_recall(volume, {"paths": []}, no_progress)
        assert [objects.is_cold(volume.metadata, *key) for key in (first, second)] == [True, False]
        files.full = ""
        assert (await tiercommands.tier_recall(volume, {"paths": []}, no_progress))["came_packs"] == 1


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


async def test_what_the_mover_brings_there_meanwhile_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, puts = MemBucket(), list[str]()
    put = bucket.put

    def counted(key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        puts.append(key)
        return put(key, body, placement=placement)

    monkeypatch.setattr(bucket, "put", counted)
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        for number in range(3):
            await sealed(volume, b"f%d" % number, NOISE.randbytes(100_000))
        packs = (await tiering.gather(volume)).packs
        gathered = trio.Event()

        def note(_done: int, _total: int, text: str) -> None:
            if "mover" in text:
                gathered.set()

        told: dict[str, Any] = {}
        async with trio.open_nursery() as nursery:

            async def demote() -> None:
                told.update(await tiercommands.tier_demote(volume, {}, note))

            await volume.tier.lock.acquire()  # as a round of the mover's has it
            nursery.start_soon(demote)
            await gathered.wait()
            await rounds.upload_all(volume, packs[:2])
            await demoting.demote(volume, [packs[0].key])
            volume.tier.lock.release()
        there = [pack_key(*pack.key) for pack in packs]
        assert sorted(key for key in puts if key in there) == sorted(there)
        assert (told["packs"], told["failed"]) == (3, [])


async def test_a_demotion_ends_where_it_is_cancelled_and_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, asked, answers = MemBucket(), trio.Event(), threading.Event()
    put, token = bucket.put, trio.lowlevel.current_trio_token()

    def slow(key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        if len(packs_there(bucket)) == 1:
            token.run_sync_soon(asked.set)
            answers.wait(20)
        return put(key, body, placement=placement)

    monkeypatch.setattr(bucket, "put", slow)
    config = Config(demote=ANY_DISK.demote, bucket=BucketConfig(in_flight_bytes=1))  # one after the other
    async with opened_with(format_in(tmp_path / "v"), bucket, config=config) as volume:
        inodes = [await sealed(volume, b"f%d" % number, NOISE.randbytes(100_000)) for number in range(3)]
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tiercommands.tier_demote, volume, {}, no_progress)
                await asked.wait()
                nursery.cancel_scope.cancel()
        assert not volume.tier.lock.locked() and not volume.tier.uploading
        answers.set()
        assert (await tiercommands.tier_demote(volume, {}, no_progress))["packs"] == 3
        assert [await tier(volume, inode) for inode in inodes] == [b"cold"] * 3


async def test_a_recall_does_not_wait_for_the_bucket_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, asked, answers = MemBucket(), trio.Event(), threading.Event()
    get, token = bucket.get, trio.lowlevel.current_trio_token()

    def slow(key: str, offset: int, size: int) -> bytes:
        token.run_sync_soon(asked.set)
        answers.wait(20)
        return get(key, offset, size)

    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", ONE)
        await all_demoted(volume)
        monkeypatch.setattr(bucket, "get", slow)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tiercommands.tier_recall, volume, {}, no_progress)
                await asked.wait()
                nursery.cancel_scope.cancel()
        assert not volume.tier.recalling and await tier(volume, inode) == b"cold"
        answers.set()
        assert (await tiercommands.tier_recall(volume, {}, no_progress))["came_packs"] == 1
        assert await contents(volume, inode) == ONE


@pytest.mark.parametrize(("breaks", "comes"), [(2, True), (100, False)])
async def test_a_connection_that_breaks_ends_no_recall_and_an_outage_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: int, comes: bool
) -> None:
    bucket, asked = MemBucket(), list[str]()
    get = bucket.get

    def breaking(key: str, offset: int, size: int) -> bytes:
        asked.append(key)
        if len(asked) <= breaks:
            raise CloudUnavailable("the connection broke")
        return get(key, offset, size)

    monkeypatch.setattr(tiercommands, "RECALL_PAUSES_S", (0.01, 0.01, 0.01))
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", ONE)
        await all_demoted(volume)
        monkeypatch.setattr(bucket, "get", breaking)
        if comes:
            assert (await tiercommands.tier_recall(volume, {}, no_progress))["came_packs"] == 1
            assert await tier(volume, inode) == b"local"
        else:
            with pytest.raises(CloudUnavailable, match="broke"):
                await tiercommands.tier_recall(volume, {}, no_progress)
            assert (len(asked), await tier(volume, inode)) == (4, b"cold")


async def test_what_was_demoted_has_its_names_in_the_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", ONE)
        done = await tiercommands.tier_demote(volume, {"paths": [""]}, no_progress)
        assert done["unpublished"] is None
        assert not publishing.is_due(volume) and not volume.tier.went_cold
        await sealed(volume, b"g", OTHER)

        async def refuses(_volume: Volume) -> bool:
            raise CloudUnavailable("no network")

        monkeypatch.setattr(publishing, "publish", refuses)
        done = await tiercommands.tier_demote(volume, {"paths": [""]}, no_progress)
        assert (done["packs"], done["unpublished"]) == (1, "no network")
        assert volume.tier.went_cold
