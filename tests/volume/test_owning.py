"""Two hosts on one bucket: one owns it, and the other leaves it as it is (I9)."""

import itertools
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.cli.status import describe_bucket
from rustfsfs.cli.tier import describe_status
from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.meta import objects
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import ObjectFacts
from rustfsfs.store.cold import PACKS, pack_key
from rustfsfs.store.terms import TERMS, term_key
from rustfsfs.volume import (
    collecting,
    commands,
    deleting,
    demoting,
    names,
    owning,
    publishing,
    reaping,
    recalling,
    rounds,
    snapshots,
    sweeping,
    tiercommands,
    tiering,
    watermarks,
)
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.from_bucket import rebuild_from_bucket
from rustfsfs.volume.offline import accept_restored
from rustfsfs.volume.restoring import restore_metadata
from rustfsfs.volume.status import status
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket, Stored
from tests.volume.on_bucket import NOISE, all_demoted, contents, opened_with, packs_there, sealed
from tests.volume.on_disk import Key, format_in, write_file
from tests.volume.test_publishing import DiesAt, through

DATA = NOISE.randbytes(300_000)
NUMBERS = itertools.count()


def terms_in(bucket: MemBucket) -> list[int]:
    return [owning.newest_in([key]) for key in sorted(bucket.objects) if key.startswith(TERMS)]


def killed(volume: Volume) -> None:
    """At the end nothing is published, nothing committed."""
    volume.health.read_only_reason = "the process was killed"


def copied(path: Path, name: str = "copy") -> Path:
    """The volume's directory as it is now, on another host."""
    for _again in range(100):
        try:
            return Path(shutil.copytree(path, path.parent / name, ignore=shutil.ignore_patterns("lock", "*.sock")))
        except shutil.Error:  # a file went meanwhile
            shutil.rmtree(path.parent / name)
    raise AssertionError("it never holds still")


@asynccontextmanager
async def two_hosts(path: Path, bucket: MemBucket) -> AsyncIterator[tuple[Volume, Volume]]:
    """A volume that owns its bucket, with a file there, and one on a copy of its directory. Nobody has looked since."""
    async with AsyncExitStack() as held:
        first = await held.enter_async_context(opened_with(format_in(path), bucket))
        await sealed(first, b"f", DATA)
        await all_demoted(first)
        await publishing.publish(first)
        second = await held.enter_async_context(opened_with(copied(path), bucket))
        held.callback(killed, second)
        held.callback(killed, first)
        yield first, second


async def have_published(volume: Volume) -> None:
    await write_file(volume, b"new %d" % next(NUMBERS), b"x")
    await publishing.publish(volume)


async def have_uploaded(volume: Volume) -> None:
    await sealed(volume, b"new", NOISE.randbytes(200_000))
    await rounds.run_round(volume)


async def have_demoted(volume: Volume) -> None:
    await sealed(volume, b"new", NOISE.randbytes(200_000))
    await tiercommands.tier_demote(volume, {"paths": [""]}, no_progress)


async def have_deleted(volume: Volume) -> None:
    inode = names.lookup(volume, 1, b"f").inode
    names.unlink(volume, 1, b"f")
    volume.handles.free.append(inode)
    await reaping.reap(volume)
    await collecting.collect(volume, live_share=0.5)
    objects.publish(volume.metadata, [])
    await snapshots.take(volume, keep=1)
    assert objects.doomed(volume.metadata, 10)
    await deleting.delete_objects(volume)


WORK = [
    pytest.param(have_published, id="publication"),
    pytest.param(have_uploaded, id="round"),
    pytest.param(have_demoted, id="demote"),
    pytest.param(have_deleted, id="deletion"),
    pytest.param(sweeping.sweep, id="sweep"),
]


@pytest.mark.parametrize("work", WORK)
async def test_whose_copy_goes_on_leaves_the_bucket_as_it_is(
    tmp_path: Path, work: Callable[[Volume], Awaitable[object]]
) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        await owning.ensure_owner(second)
        assert terms_in(bucket) == [1, 2]
        before = dict(bucket.objects)
        with pytest.raises(CloudRefused, match=r"taken the bucket over \(term 2"):
            await work(first)
        assert bucket.objects == before
        assert first.disks[1].pack_size(2) if work in (have_uploaded, have_demoted) else True, "its file stays"


@pytest.mark.parametrize("work", [have_published, have_uploaded, have_demoted, have_deleted, sweeping.sweep])
async def test_who_owns_the_bucket_works_there(tmp_path: Path, work: Callable[[Volume], Awaitable[object]]) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        await work(second)
        with pytest.raises(CloudRefused, match="another host"):
            await work(first)


async def test_what_lies_under_a_packs_name_is_replaced_by_the_owner_only(tmp_path: Path) -> None:
    bucket = MemBucket()

    def taken() -> None:
        bucket.objects[term_key(2)] = replace(bucket.objects[term_key(1)], modified_s=1.0)

    async with opened_with(
        format_in(tmp_path / "v"), Meanwhile(bucket, lambda what, _key: what == "head", taken)
    ) as volume:
        await sealed(volume, b"f", DATA)
        (pack,) = (await tiering.gather(volume)).packs
        bucket.put(pack_key(*pack.key), b"theirs", placement=Placement.STANDARD)
        with pytest.raises(CloudRefused, match="another host"):
            await rounds.run_round(volume)
        assert bucket.objects[pack_key(*pack.key)].body == b"theirs"
        killed(volume)


async def test_who_is_fenced_reads_and_works_locally_and_says_so(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        await owning.ensure_owner(second)
        with pytest.raises(CloudRefused):
            await have_published(first)
        inode = names.lookup(first, 1, b"f").inode
        assert await contents(first, inode) == DATA
        other = await sealed(first, b"other", DATA[::-1])
        assert await contents(first, other) == DATA[::-1]
        assert not watermarks.mover_works(first), "nobody waits for the mover"
        shown = await status(first, state="mounted", mount_point=None, pid=1)
        assert "another host" in shown["bucket"]["fenced"] and "help recovery" in shown["bucket"]["fenced"]
        assert not shown["healthy"]
        assert describe_bucket(shown["bucket"], hot_bytes=0)[0][1].startswith("READ ONLY: another host")
        assert "READ ONLY: another host" in describe_status(await tiercommands.tier_status(first, {}, no_progress))
        (key,) = [pack.key for pack in (await tiering.gather(first)).packs if not pack.is_local]
        assert await recalling.recall(first, key)
        await write_file(first, b"hot", b"x")
        with pytest.raises(CloudRefused, match="another host"):
            await tiercommands.tier_demote(first, {"paths": [""]}, no_progress)
        assert first.metadata.running.hot_bytes, "what cannot be done is not begun"


async def test_the_next_life_of_who_was_fenced_is_fenced_too_and_changes_nothing(tmp_path: Path) -> None:
    bucket, path = MemBucket(), tmp_path / "v"
    async with two_hosts(path, bucket) as (first, second):
        await owning.ensure_owner(second)
        with pytest.raises(CloudRefused):
            await have_published(first)
    before = dict(bucket.objects)
    async with opened_with(path, bucket) as volume:
        with pytest.raises(CloudRefused, match="term 2"):
            await have_published(volume)
    assert bucket.objects == before


class BothLook(MemBucket):
    """A term is put once two hosts want to."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        if key == term_key(2):
            self.both.wait(10)
        return super().put(key, body, placement=placement)


async def test_of_two_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    bucket, path = BothLook(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
    wins: list[Volume] = []

    async def one(volume: Volume) -> None:
        try:
            await have_published(volume)
            wins.append(volume)
        except CloudRefused as exc:
            assert "another host" in str(exc)

    second = copied(path)
    async with opened_with(path, bucket) as first, opened_with(second, bucket) as other, trio.open_nursery() as nursery:
        for volume in (first, other):
            nursery.start_soon(one, volume)
    assert len(wins) == 1


@pytest.mark.parametrize("arrives", [False, True], ids=["it does not arrive", "nobody hears of it"])
async def test_cut_off_at_any_request_the_next_life_goes_on(tmp_path: Path, arrives: bool) -> None:
    bucket, path, cuts, is_cut = MemBucket(), format_in(tmp_path / "v"), 0, True
    while is_cut:
        async with opened_with(path, bucket) as volume:
            through(volume, DiesAt(bucket, cuts, arrives=arrives))
            try:
                await owning.ensure_owner(volume)
                is_cut = False
            except CloudUnavailable:
                cuts += 1
            killed(volume)
        async with opened_with(path, bucket) as volume:
            await have_published(volume)
            killed(volume)
    assert cuts >= 5


async def test_what_fails_is_tried_again_by_the_same_life(tmp_path: Path) -> None:
    bucket, number, is_cut = MemBucket(), 0, True
    while is_cut:
        async with opened_with(format_in(tmp_path / f"v{number}"), bucket := MemBucket()) as volume:
            through(volume, DiesAt(bucket, number, arrives=True))
            try:
                await owning.ensure_owner(volume)
                is_cut = False
            except CloudUnavailable:
                number += 1
            through(volume, bucket)
            await owning.ensure_owner(volume)
            assert terms_in(bucket) == [1]
            killed(volume)


async def test_a_copy_of_a_life_that_was_cut_off_cannot_have_its_term_as_well(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        through(volume, DiesAt(bucket, 3, arrives=True))  # header, list, PUT
        with pytest.raises(CloudUnavailable):
            await owning.ensure_owner(volume)
        assert terms_in(bucket) == [1]
        second = copied(path)
        through(volume, bucket)
        await owning.ensure_owner(volume)
        assert volume.tier.term == 1, "it is the life that put it"
        async with opened_with(second, bucket) as other:
            await owning.ensure_owner(other)
            assert other.tier.term == 2
            killed(other)
        with pytest.raises(CloudRefused, match="another host"):
            await owning.ensure_owner(volume)


async def test_each_life_that_writes_takes_one_and_few_are_kept(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    for number in range(6):
        async with opened_with(path, bucket) as volume:
            await write_file(volume, b"f%d" % number, b"x")
            await publishing.publish(volume)
            await write_file(volume, b"g%d" % number, b"x")
            await publishing.publish(volume)
    assert terms_in(bucket) == [4, 5, 6]


async def test_a_life_that_writes_nothing_takes_none(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
    async with opened_with(path, bucket) as volume:
        await rounds.run_round(volume)
        assert not await publishing.publish(volume)
    assert terms_in(bucket) == [1]


class Counted(MemBucket):
    def __init__(self) -> None:
        super().__init__()
        self.lists = 0

    def list(self, prefix: str, *, after: str = ""):  # type: ignore[no-untyped-def]
        self.lists += 1
        return super().list(prefix, after=after)


async def test_looking_is_no_request_for_each_pack(tmp_path: Path) -> None:
    bucket = Counted()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await owning.ensure_owner(volume)
        for number in range(12):
            await sealed(volume, b"f%d" % number, NOISE.randbytes(100_000))
        before = bucket.lists
        await rounds.run_round(volume)
        assert len(packs_there(bucket)) == 12
        assert bucket.lists - before <= 2
        before = bucket.lists
        await rounds.run_round(volume)
        assert bucket.lists == before, "nothing is due, and nobody is asked"


async def test_a_term_that_does_not_open_is_nobodys_to_go_behind(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    bucket.put(term_key(3), b"what is this", placement=Placement.STANDARD)
    async with opened_with(path, bucket) as volume:
        with pytest.raises(CloudRefused, match="does not open"):
            await have_published(volume)
        assert terms_in(bucket) == [3] and len(bucket.objects) == 1


async def test_one_that_came_wrong_is_asked_for_again(tmp_path: Path) -> None:
    class Flips(MemBucket):
        flips = 1

        def get(self, key: str, offset: int, size: int) -> bytes:
            found = super().get(key, offset, size)
            if self.flips and key.startswith(TERMS):
                self.flips -= 1
                return bytes(len(found))
            return found

    bucket = Flips()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await owning.ensure_owner(volume)
        assert volume.tier.term == 1 and not bucket.flips


async def test_a_copy_of_a_running_volume_that_published_since_is_too_old(tmp_path: Path) -> None:
    """The term is that of both; the newer metadata is not."""
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
        second = copied(path)
        for number in range(3):
            await write_file(volume, b"more %d" % number, b"x")
            await publishing.publish(volume)
        async with opened_with(second, bucket) as other:
            before = dict(bucket.objects)
            with pytest.raises(CloudRefused, match="metadata of epoch"):
                await owning.ensure_owner(other)
            assert bucket.objects == before
            killed(other)


def is_manifest(what: str, key: str) -> bool:
    return what == "put" and layout.is_manifest(key)


async def test_a_copy_that_an_owner_before_us_was_late_with_is_gone_behind(tmp_path: Path) -> None:
    bucket, path = MemBucket(), tmp_path / "v"
    async with two_hosts(path, bucket) as (first, second):
        first.metadata.running.epoch += 1000
        through(first, Meanwhile(bucket, is_manifest, taken_by(second)))
        with pytest.raises(CloudRefused, match="another host"):
            await have_published(first)
        late_epoch = max(map(layout.epoch_of, layout.copies(bucket.objects)))
        assert second.tier.term == 2 and late_epoch > second.metadata.running.epoch
        await have_published(second)
        found = layout.copies(bucket.objects)
        assert max(map(layout.epoch_of, found)) > late_epoch
        assert late_epoch not in map(layout.epoch_of, found)


class Meanwhile(MemBucket):
    """As `inner`; right before the first request that is `meant`, everybody having looked, `happens` does.

    Of that one request nobody can say more than that it was meant for a bucket that was ours (DESIGN.md §17).
    """

    def __init__(self, inner: MemBucket, meant: Callable[[str, str], bool], happens: Callable[[], object]) -> None:
        super().__init__()
        self.objects: dict[str, Stored] = inner.objects
        self.has_happened = False
        self._meant, self._happens = meant, happens

    def _look(self, what: str, key: str) -> None:
        if not self.has_happened and self._meant(what, key):
            self.has_happened = True
            self._happens()

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        self._look("put", key)
        return super().put(key, body, placement=placement)

    def head(self, key: str) -> ObjectFacts:
        self._look("head", key)
        return super().head(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        self._look("list", prefix)
        return super().list(prefix, after=after)

    def delete(self, keys: Sequence[str]) -> None:
        assert not self.has_happened, "who was overtaken deletes nothing"
        super().delete(keys)


def taken_by(volume: Volume) -> Callable[[], object]:
    return lambda: trio.from_thread.run(owning.ensure_owner, volume)


async def test_no_manifest_comes_when_the_bucket_was_taken_over_while_parts_were_uploaded(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        through(first, Meanwhile(bucket, lambda what, key: (what, key[-6:]) == ("put", "000000"), taken_by(second)))
        with pytest.raises(CloudRefused, match="another host"):
            await have_published(first)
        found = layout.copies(bucket.objects).values()
        assert sorted(map(layout.is_whole, found)) == [False, True]


async def test_no_local_copy_goes_when_the_bucket_is_not_ours(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        await sealed(first, b"new", NOISE.randbytes(200_000))
        packs = [pack for pack in (await tiering.gather(first)).packs if pack.is_local]
        await rounds.upload_all(first, packs)
        await owning.ensure_owner(second)
        with pytest.raises(CloudRefused, match="another host"):
            await demoting.demote(first, [pack.key for pack in packs])
        assert [pack.is_local for pack in (await tiering.gather(first)).packs if pack.key == packs[0].key] == [True]


async def test_a_sweep_deletes_nothing_when_the_bucket_was_taken_over_while_it_listed(tmp_path: Path) -> None:
    bucket = MemBucket(now_s=lambda: 1_000_000_000.0)
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        bucket.put(pack_key(70, 0), b"a leftover, or not", placement=Placement.STANDARD)
        through(first, Meanwhile(bucket, lambda what, key: (what, key) == ("list", PACKS), taken_by(second)))
        with pytest.raises(CloudRefused, match="another host"):
            await sweeping.sweep(first)
        assert pack_key(70, 0) in bucket.objects


async def test_no_object_changes_its_class_when_the_bucket_is_not_ours(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        (key,) = [pack.key for pack in (await tiering.gather(first)).packs]
        await owning.ensure_owner(second)
        with pytest.raises(CloudRefused, match="another host"):
            await rounds._cool(first, [key])
        assert bucket.objects[pack_key(*key)].placement is Placement.STANDARD


async def test_a_life_brought_back_with_its_memory_sees_what_was_published_since(tmp_path: Path) -> None:
    """Both hold the term: only the newer metadata tells."""
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        second.tier.term = first.tier.term
        for number in range(3):
            await write_file(first, b"more %d" % number, b"x")
            await publishing.publish(first)
        before = dict(bucket.objects)
        await write_file(second, b"other", b"x")
        with pytest.raises(CloudRefused, match="metadata of epoch"):
            await publishing.publish(second)
        assert bucket.objects == before


async def test_older_copies_stay_when_the_bucket_was_taken_over_while_one_was_made(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        for number in range(publishing.KEPT):
            await write_file(first, b"more %d" % number, b"x")
            await publishing.publish(first)
        second.metadata.running.may_take_over = 1  # a person decided
        through(first, Meanwhile(bucket, is_manifest, taken_by(second)))
        before = set(layout.copies(bucket.objects))
        await write_file(first, b"the last", b"x")
        with pytest.raises(CloudRefused, match="another host"):
            await publishing.publish(first)
        assert before < set(layout.copies(bucket.objects))


async def test_sealing_waits_for_no_mover_that_is_fenced(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with two_hosts(tmp_path / "v", bucket) as (first, second):
        assert watermarks.mover_works(first)
        await owning.ensure_owner(second)
        await sealed(first, b"more", NOISE.randbytes(100_000))
        with pytest.raises(CloudRefused):
            await rounds.run_round(first)
        with trio.fail_after(5):
            await watermarks.wait_while(first, lambda: True)
        await commands.seal(first, {}, no_progress)


# --- a person decides ----------------------------------------------------------------------------------------------


async def rebuilt(path: Path, bucket: MemBucket) -> Path:
    await trio.to_thread.run_sync(lambda: rebuild_from_bucket(str(path), Key(), bucket))
    return path


async def accepted(path: Path, bucket: MemBucket) -> None:
    """What the old host published since is newer than what was restored: that it goes, a person says once more."""
    before = dict(bucket.objects)
    async with opened_with(path, bucket) as volume:
        with pytest.raises(CloudRefused, match="--accept-restored"):
            await rounds.run_round(volume)
        killed(volume)
    assert bucket.objects == before
    await trio.to_thread.run_sync(lambda: accept_restored(str(path), Key()))
    (path / "ballast").unlink(missing_ok=True)


async def test_a_volume_that_was_rebuilt_fences_the_old_host_at_its_first_round(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
        async with opened_with(await rebuilt(tmp_path / "new", bucket), bucket) as new:
            await rounds.run_round(new)
            assert new.tier.term == 2, "at once, although nothing was due"
            before = dict(bucket.objects)
            with pytest.raises(CloudRefused, match="another host"):
                await have_published(volume)
            assert bucket.objects == before
            await have_published(new)


async def test_it_does_so_whatever_the_old_host_took_since_but_once(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
    new = await rebuilt(tmp_path / "new", bucket)
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
    await accepted(new, bucket)
    async with opened_with(new, bucket) as volume:
        await have_published(volume)
        assert volume.tier.term == 3
    other = await rebuilt(tmp_path / "other", bucket)
    async with opened_with(other, bucket) as volume:
        await have_published(volume)
        assert volume.tier.term == 4
    async with opened_with(new, bucket) as volume:
        with pytest.raises(CloudRefused, match="term 4"):
            await have_published(volume)


async def test_what_a_person_decided_outlives_a_life_that_was_cut_off(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
        await have_published(volume)
        new = await rebuilt(tmp_path / "new", bucket)
        async with opened_with(new, bucket) as cut_off:
            through(cut_off, DiesAt(bucket, 3, arrives=False))  # header, list, newest term, PUT
            with pytest.raises(CloudUnavailable):
                await rounds.run_round(cut_off)
            assert [number for number, _life, _taken in objects.terms(cut_off.metadata)] == [1, 2]
            killed(cut_off)
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
        assert volume.tier.term == 2
    await accepted(new, bucket)
    async with opened_with(new, bucket) as volume:
        await rounds.run_round(volume)
        assert volume.tier.term == 3


async def test_who_was_fenced_goes_on_with_its_own_metadata_if_a_person_says_so(tmp_path: Path) -> None:
    """As rustfsfs-recovery(7) says: the database moved away, and the newest snapshot, which is of the unmount, back."""
    bucket, path = MemBucket(), tmp_path / "v"
    async with two_hosts(path, bucket) as (first, second):
        await have_published(second)
        with pytest.raises(CloudRefused):
            await have_published(first)
    async with opened_with(path, bucket) as volume:
        await write_file(volume, b"mine", b"x")
    (path / "metadata.db").rename(path / "metadata.db.mine")
    await trio.to_thread.run_sync(lambda: restore_metadata(str(path), Key()))
    async with opened_with(path, bucket) as volume:
        assert names.lookup(volume, 1, b"mine")
        await have_published(volume)
        assert volume.tier.term == 3
        assert await contents(volume, names.lookup(volume, 1, b"f").inode) == DATA
    async with opened_with(path, bucket) as volume:
        await have_published(volume)
    async with opened_with(tmp_path / "copy", bucket) as other:
        with pytest.raises(CloudRefused, match="term 4"):
            await have_published(other)
