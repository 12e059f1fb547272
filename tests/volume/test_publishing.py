"""The metadata comes to the bucket whole or not at all, and what a copy there names is not deleted."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.meta import database, objects
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import HEADER, pack_key
from rustfsfs.store.terms import term_key
from rustfsfs.store.wrapper import WrappedBucket
from rustfsfs.tasks.publisher import run_publisher
from rustfsfs.units import KIB
from rustfsfs.volume import collecting, deleting, epochs, names, publishing, reaping, rounds, snapshots
from rustfsfs.volume.keys import add_slot
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, opened_with, sealed
from tests.volume.on_disk import Key, format_in, write_file

T = TypeVar("T")
DATA = NOISE.randbytes(300_000)
SMALL_PART = 96 * KIB  # the database has several


class DiesAt(WrappedBucket):
    """Of the requests from that number on none arrives, or the first of them does, and nobody hears of it."""

    def __init__(self, inner: Bucket, number: int, *, arrives: bool) -> None:
        super().__init__(inner)
        self.left, self.arrives = number, arrives

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        self.left -= 1
        if self.left >= 0:
            return send()
        if self.left == -1 and self.arrives:
            send()
        raise CloudUnavailable("the network is gone")


def through(volume: Volume, bucket: Bucket) -> None:
    """The volume reaches its bucket by this one."""
    assert volume.tier.door is not None
    volume.tier.door = replace(volume.tier.door, reads=bucket, writes=bucket)


def whole_copies(bucket: MemBucket) -> list[int]:
    """Epochs."""
    found = layout.copies(bucket.objects)
    return [layout.epoch_of(name) for name, keys in found.items() if layout.is_whole(keys)]


def epochs_published(volume: Volume) -> list[int]:
    return [epoch for epoch, _seq in objects.published(volume.metadata)]


async def test_three_copies_are_kept_and_nothing_else_is(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        for number in range(5):
            await write_file(volume, b"f%d" % number, b"x")
            assert await publishing.publish(volume)
            assert whole_copies(bucket) == epochs_published(volume)
        assert len(whole_copies(bucket)) == 3
        assert {key for key in bucket.objects if key.startswith("meta/")} == {
            HEADER,
            term_key(1),
            *(key for keys in layout.copies(bucket.objects).values() for key in keys),
        }
        assert {stored.placement for stored in bucket.objects.values()} == {Placement.STANDARD}
        assert not (tmp_path / "v" / publishing.SPOOL).exists()


async def test_what_has_not_changed_is_not_published_again(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await write_file(volume, b"f", b"x")
        assert await publishing.publish(volume)
        assert not await publishing.publish(volume)
        await snapshots.take(volume)
        await epochs.commit(volume)
        assert not publishing.is_due(volume), "bookkeeping is no change"
        names.unlink(volume, 1, b"f")
        assert publishing.is_due(volume)


async def test_the_manifest_says_what_the_bucket_does_not_have(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    (path / "config.toml").write_text("# mine\n")
    async with opened_with(path, bucket) as volume:
        await sealed(volume, b"cold", DATA)
        await all_demoted(volume)
        await sealed(volume, b"warm", NOISE.randbytes(200_000))
        await write_file(volume, b"hot", b"h" * 5000)
        await publishing.publish(volume)
        ((name, keys),) = layout.copies(bucket.objects).items()
        found, salt = layout.open_manifest(
            bucket.objects[keys[0]].body, name=name, keys=volume.keys, uuid=volume.header.uuid
        )
        assert (found.hot_bytes, found.local_packs) == (5000, 1)
        assert 200_000 <= found.local_bytes <= 210_000
        assert found.config_text == b"# mine\n"
        assert [disk.path for disk in found.disks] == ["."]
        for number, part in enumerate(found.parts):
            body = bucket.objects[keys[1 + number]].body
            assert part == layout.Part(len(body), layout.part_mac(body, number, salt=salt, keys=volume.keys))
        assert volume.tier.published.hot_bytes == 5000


async def test_free_pages_are_not_uploaded(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        for number in range(2000):
            record(volume, ops.SetXattr(inode=1, name=b"user.%d" % number, value=b"x" * 900, now_ns=1))
        await epochs.commit(volume)
        for number in range(2000):
            record(volume, ops.RemoveXattr(inode=1, name=b"user.%d" % number, now_ns=1))
        await publishing.publish(volume)
        await trio.to_thread.run_sync(epochs.settle, volume)
        assert volume.tier.published.size_bytes < (tmp_path / "v" / "metadata.db").stat().st_size / 4
        database.begin(volume.metadata)


@pytest.mark.parametrize("arrives", [False, True], ids=["it does not arrive", "nobody hears of it"])
async def test_cut_at_any_request_copies_stay_and_the_next_one_cleans_up(tmp_path: Path, arrives: bool) -> None:
    bucket, cuts = MemBucket(), 0
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await publishing.publish(volume)
        is_cut = True
        while is_cut:
            before = epochs_published(volume)
            await write_file(volume, b"%d" % cuts, b"x")
            through(volume, DiesAt(bucket, cuts, arrives=arrives))
            try:
                await publishing.publish(volume, part_bytes=SMALL_PART)
                is_cut = False
            except CloudUnavailable:
                cuts += 1
            assert set(epochs_published(volume)[-publishing.KEPT :]) <= set(whole_copies(bucket))
            assert set(epochs_published(volume)) & set(before), "there is always one"
            assert volume.pins.published_seq == 1 << 62
            through(volume, bucket)
            await write_file(volume, b"%d, again" % (cuts if is_cut else -1), b"x")
            assert await publishing.publish(volume)
            assert whole_copies(bucket) == epochs_published(volume)
            assert all(layout.is_whole(keys) for keys in layout.copies(bucket.objects).values())
    assert cuts > 5


class Watched(WrappedBucket):
    """Calls `look` before each request."""

    def __init__(self, inner: Bucket, look: Callable[[], object]) -> None:
        super().__init__(inner)
        self.look = look

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        trio.from_thread.run_sync(self.look)
        return send()


async def test_objects_that_a_copy_names_stay_from_its_first_page_on_until_it_goes(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        inode = await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        dropped = False

        def drop() -> None:
            nonlocal dropped
            if volume.pins.published_seq < 1 << 62 and not dropped:
                dropped = True
                names.unlink(volume, 1, b"f")

        through(volume, Watched(bucket, drop))
        await publishing.publish(volume)
        assert dropped
        through(volume, bucket)
        volume.handles.free.append(inode)
        await reaping.reap(volume)
        await collecting.collect(volume, live_share=0.5)
        assert [pack for pack, _disk, _size in objects.doomed(volume.metadata, 10)] == [key[0]]
        for number in range(publishing.KEPT):
            await snapshots.take(volume, keep=1)
            await deleting.delete_objects(volume)
            assert pack_key(*key) in bucket.objects
            await write_file(volume, b"%d" % number, b"x")
            await publishing.publish(volume)
        await snapshots.take(volume, keep=1)
        await deleting.delete_objects(volume)
        assert pack_key(*key) not in bucket.objects


async def test_older_copies_go_only_once_it_is_durable_that_they_may(tmp_path: Path) -> None:
    bucket, deletes = MemBucket(), 0
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:

        def look() -> None:
            nonlocal deletes
            newest = max(epochs_published(volume), default=0)
            if volume.pins.published_seq == 1 << 62 and newest in whole_copies(bucket) and newest not in before:
                deletes += 1
                assert volume.journal.durable_seq >= volume.metadata.running.last_seq

        through(volume, Watched(bucket, look))
        for number in range(publishing.KEPT + 2):
            before = epochs_published(volume)
            await write_file(volume, b"%d" % number, b"x")
            await publishing.publish(volume)
    assert deletes >= 2


async def test_the_header_follows_its_key_slots(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await publishing.publish(volume)
        add_slot(real_world(), str(path), opened_with=Key(), new=Key(value=b"another" * 8))
        assert not await publishing.publish(volume)
        assert bucket.objects[HEADER].body == (path / "header").read_bytes()


async def test_at_unmount_the_bucket_gets_the_header_though_no_metadata_changed(tmp_path: Path) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        await publishing.publish(volume)
    before = whole_copies(bucket)
    async with opened_with(path, bucket):
        add_slot(real_world(), str(path), opened_with=Key(), new=Key(value=b"another" * 8))
    assert bucket.objects[HEADER].body == (path / "header").read_bytes()
    assert whole_copies(bucket) == before


async def test_a_copy_that_fails_leaves_what_went_cold_to_the_next(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        await all_demoted(volume)
        through(volume, DiesAt(bucket, 6, arrives=False))
        with pytest.raises(CloudUnavailable):
            await publishing.publish(volume)
        assert volume.tier.went_cold
        through(volume, bucket)
        await publishing.publish(volume)
        assert not volume.tier.went_cold


async def test_another_volumes_bucket_is_not_written_to(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "a"), bucket) as volume:
        await publishing.publish(volume)
    before = dict(bucket.objects)
    async with opened_with(format_in(tmp_path / "b"), bucket) as volume:
        with pytest.raises(CloudRefused, match="another volume"):
            await publishing.publish(volume)
    assert bucket.objects == before


async def test_as_long_as_a_copy_is_there_a_row_names_it(tmp_path: Path) -> None:
    """Else what it alone names would go before it (I5)."""
    bucket, looked = MemBucket(), 0
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:

        def look() -> None:
            nonlocal looked
            looked += 1
            there, named = whole_copies(bucket), epochs_published(volume)
            assert set(there) <= {*named, max(there, default=0)}, "the newest may have no row yet"

        through(volume, Watched(bucket, look))
        for number in range(publishing.KEPT + 2):
            await write_file(volume, b"%d" % number, b"x")
            await publishing.publish(volume)
        through(volume, Undeletable(bucket))
        await write_file(volume, b"f", b"x")
        with pytest.raises(CloudUnavailable):
            await publishing.publish(volume)
        assert epochs_published(volume) == whole_copies(bucket) and len(whole_copies(bucket)) == publishing.KEPT + 1
    assert looked > 20


class Undeletable(WrappedBucket):
    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        return send()

    def delete(self, keys: Sequence[str]) -> None:
        raise CloudUnavailable("not now")


async def test_newer_metadata_in_the_bucket_is_not_gone_behind_unless_a_person_restored(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await publishing.publish(volume)
        ((name, keys),) = layout.copies(bucket.objects).items()
        newer = layout.copy_name(10_000, bytes.fromhex(name[17:]) + bytes(20))
        bucket.put(layout.manifest_key(newer), b"whatever", placement=Placement.STANDARD)
        await write_file(volume, b"f", b"x")
        with pytest.raises(CloudRefused, match="10000"):
            await publishing.publish(volume)
        assert set(keys) <= set(bucket.objects)
        with pytest.raises(CloudRefused, match="another host"):
            await rounds.run_round(volume)  # the mover leaves it alone, too
        volume.tier.fenced, volume.metadata.running.may_take_over = None, 1  # the next life, of restored metadata
        await publishing.publish(volume)
        assert max(epochs_published(volume)) > 10_000


async def test_at_unmount_a_dead_network_holds_nobody_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await write_file(volume, b"f", b"x")
        through(volume, hanging := Hanging(bucket))
    hanging.go.set()
    assert not whole_copies(bucket)


class Hanging(WrappedBucket):
    """Answers nothing until `go`."""

    def __init__(self, inner: Bucket) -> None:
        super().__init__(inner)
        self.go = threading.Event()

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        assert self.go.wait(30)
        raise CloudUnavailable("too late")


async def test_an_outage_is_told_once_however_its_errors_differ(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened_with(format_in(tmp_path / "v"), MemBucket()) as volume:
        autojump_clock.autojump_threshold = 0.05  # a worker that works is no reason to jump
        through(volume, failing := Failing(MemBucket()))
        with trio.move_on_after(600):
            await run_publisher(volume)
        volume.tier.door = None
    assert failing.count > 5
    assert caplog.text.count("tried again every minute") == 1


class Failing(WrappedBucket):
    """Each time with another request id."""

    count = 0

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        self.count += 1
        raise CloudUnavailable(f"cannot answer now, request {self.count}")


async def test_at_unmount_what_changed_is_published(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await write_file(volume, b"f", b"x")
    assert len(whole_copies(bucket)) == 1
