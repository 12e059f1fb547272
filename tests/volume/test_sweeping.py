"""The bucket's list against ours."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.meta import objects
from rustfsfs.store.bucket import PAGE_KEYS_MAX, ObjectFacts
from rustfsfs.store.cold import pack_key
from rustfsfs.volume import rounds, sweeping, tiercommands, tiering
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.leftalone import Why
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, contents, opened_with, packs_there, sealed
from tests.volume.on_disk import format_in

DATA = NOISE.randbytes(200_000)
LONG_AGO, JUST_NOW = 1_000_000_000.0, 4_000_000_000.0


async def test_an_object_that_a_crash_left_goes_and_a_young_one_stays(tmp_path: Path) -> None:
    stamp = [LONG_AGO]
    bucket = MemBucket(now_s=lambda: stamp[0])
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        (kept,) = await all_demoted(volume)
        bucket.put(pack_key(70, 0), b"old", placement=Placement.STANDARD)
        stamp[0] = JUST_NOW
        bucket.put(pack_key(71, 0), b"young", placement=Placement.STANDARD)
        bucket.put("packs/of-somebody", b"else", placement=Placement.STANDARD)
        assert (await sweeping.sweep(volume)).leftovers == [pack_key(70, 0)]
        assert packs_there(bucket) == sorted([pack_key(*kept), pack_key(71, 0), "packs/of-somebody"])


async def test_of_a_restored_volume_what_was_there_before_stays(tmp_path: Path) -> None:
    bucket = MemBucket(now_s=lambda: LONG_AGO)
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        bucket.put(pack_key(70, 0), b"old", placement=Placement.STANDARD)
        bucket.put(pack_key(71, 0), b"of this metadata", placement=Placement.STANDARD)
        volume.metadata.running.restored, volume.metadata.running.restored_packs = 2, 71
        await sweeping.sweep(volume)
        assert packs_there(bucket) == [pack_key(70, 0)]


async def test_what_its_owner_froze_is_recorded_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        for placement, is_told in ((Placement.ARCHIVE, True), (Placement.IA, False)):
            name = pack_key(*key)
            bucket.objects[name] = replace(bucket.objects[name], placement=placement)
            caplog.clear()
            assert [facts.key for facts in (await sweeping.sweep(volume)).moved] == [name]
            found = objects.find(volume.metadata, *key)
            assert found is not None and found.placement == placement.value
            assert ("1 packs in oss://memory/volume were moved to Archive" in caplog.text) == is_told
            assert (await sweeping.sweep(volume)).moved == []


async def test_what_is_lost_there_is_put_again_if_a_disk_has_it(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        await rounds.run_round(volume)
        (name,) = packs_there(bucket)
        bucket.objects.clear()
        assert len((await sweeping.sweep(volume)).lost) == 1
        await rounds.run_round(volume)
        assert packs_there(bucket) == [name]
        assert (await sweeping.sweep(volume)).lost == []


async def test_a_cold_pack_that_is_lost_is_told_by_its_files_until_it_is_back(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"precious", DATA)
        (key,) = await all_demoted(volume)
        taken = dict(bucket.objects)
        bucket.objects.clear()
        await sweeping.sweep(volume)
        assert "/precious" in volume.health.left_alone.packs(Why.LOST, now_s=trio.current_time())[key]
        assert objects.is_cold(volume.metadata, *key)
        bucket.objects.update(taken)
        await sweeping.sweep(volume)
        assert volume.health.left_alone.packs(Why.LOST, now_s=trio.current_time()) == {}
        assert await contents(volume, inode) == DATA
        assert not (await tiering.gather(volume)).packs[0].is_local


async def test_older_metadata_that_was_restored_finds_what_was_demoted_since(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        (pack,) = (await tiering.gather(volume)).packs
        file = next((tmp_path / "v").rglob("*.pack"))
        bucket.put(pack_key(*pack.key), file.read_bytes(), placement=Placement.STANDARD)
        assert (await sweeping.sweep(volume)).unknown == [pack.key]
        assert not objects.is_cold(volume.metadata, *pack.key)  # its file is there
        volume.disks[pack.disk].delete(pack.pack)
        await sweeping.sweep(volume)
        assert objects.is_cold(volume.metadata, *pack.key)
        assert await contents(volume, inode) == DATA


class HeldList(MemBucket):
    """Its list of packs does not end before `go`."""

    def __init__(self) -> None:
        super().__init__(now_s=lambda: LONG_AGO)
        self.is_held = False
        self.reached, self.go = threading.Event(), threading.Event()
        self.pages = 0

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        found = list(super().list(prefix, after=after))
        if self.is_held and prefix == "packs/":
            self.pages += 1
            self.reached.set()
            assert self.go.wait(20)
        yield from found


async def test_an_object_that_came_to_be_needed_while_the_list_was_read_stays(tmp_path: Path) -> None:
    """A power cut took the records of a life that had uploaded; its number is given out anew meanwhile."""
    bucket = HeldList()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"a", DATA)
        left, other = volume.numbers.pack, volume.numbers.pack + 50
        for number in (left, other):
            bucket.put(pack_key(number, 1), b"of an older life", placement=Placement.STANDARD)
        bucket.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweeping.sweep, volume)
            await trio.to_thread.run_sync(bucket.reached.wait)
            inode = await sealed(volume, b"b", DATA[::-1])
            assert (await tiercommands.tier_demote(volume, {"paths": []}, no_progress))["packs"] == 2
            bucket.go.set()
        assert pack_key(left, 1) in bucket.objects and pack_key(other, 1) not in bucket.objects
        assert await contents(volume, inode) == DATA[::-1]


async def test_a_sweep_ends_between_two_pages_of_the_list(tmp_path: Path) -> None:
    """Who unmounts waits for no list."""
    bucket = HeldList()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        for number in range(2 * PAGE_KEYS_MAX):
            bucket.put(pack_key(1000 + number, 1), b"", placement=Placement.STANDARD)
        bucket.is_held = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweeping.sweep, volume)
            await trio.to_thread.run_sync(bucket.reached.wait)
            with trio.fail_after(5):
                nursery.cancel_scope.cancel()
                await trio.sleep_forever()
        assert nursery.cancel_scope.cancelled_caught
        bucket.go.set()
        await sweeping.sweep(volume)
        assert bucket.pages >= 1 + 3 and not packs_there(bucket)
