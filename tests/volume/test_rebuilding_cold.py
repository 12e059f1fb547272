"""The chunk index of a volume with a bucket comes back too, and nothing goes from the bucket for it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedVolume
from rustfsfs.meta import chunks, objects
from rustfsfs.meta.database import Metadata
from rustfsfs.store.bucket import Bucket
from rustfsfs.units import ROOT
from rustfsfs.volume import (
    checking,
    collecting,
    commands,
    demoting,
    epochs,
    names,
    offline,
    publishing,
    reaping,
    rounds,
    sweeping,
    tiering,
)
from rustfsfs.volume.rebuilding import rebuild_index
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import all_demoted, contents, packs_there
from tests.volume.on_disk import Key, change, format_in, write_file
from tests.volume.test_from_bucket import killed_with, uploaded, with_bucket
from tests.volume.test_rebuilding import CONTENTS, fill, lose, spoil, with_metadata


@pytest.fixture
def bucket() -> MemBucket:
    return MemBucket(now_s=lambda: 1_000_000_000.0)  # long ago, as a sweep sees it


@pytest.fixture
def cold(tmp_path: Path, bucket: MemBucket) -> Path:
    """Of four sealed files two are in the bucket only, one there too; the metadata is there."""
    path = format_in(tmp_path / "v")

    async def fill_cold(opened: Volume) -> None:
        for name in "ab":
            await write_file(opened, name.encode(), CONTENTS[name])
            await commands.seal(opened, {}, collecting.no_progress)
        assert len(await all_demoted(opened)) == 2
        await write_file(opened, b"c", CONTENTS["c"])
        await commands.seal(opened, {}, collecting.no_progress)
        await uploaded(opened)
        await write_file(opened, b"d", CONTENTS["d"])
        await commands.seal(opened, {}, collecting.no_progress)
        await publishing.publish(opened)

    with_bucket(path, bucket, fill_cold)
    return path


def refuses() -> Bucket:
    raise CloudUnavailable("no answer")


def all_there(path: Path, bucket: MemBucket) -> None:
    """Every file reads, nothing is wrong, and whatever works in the background, nothing goes from the bucket."""
    before = dict(bucket.objects)

    async def look(opened: Volume) -> None:
        assert opened.health.read_only_reason is None and opened.metadata.is_tiered
        await no_findings(opened)
        await rounds.run_round(opened)
        await sweeping.sweep(opened)
        await write_file(opened, b"more", b"x")
        await publishing.publish(opened)
        await collecting.collect_now(opened, live_share=0.5)
        await rounds.run_round(opened)
        await sweeping.sweep(opened)
        await no_findings(opened)

    with_bucket(path, bucket, look)
    gone = before.keys() - bucket.objects.keys()
    assert not [key for key in gone if not key.startswith("meta/terms/")], gone


async def no_findings(opened: Volume) -> None:
    for name, data in CONTENTS.items():
        assert await contents(opened, offline.find(opened, name).inode) == data
    found = checking.check_all(
        opened.metadata,
        opened.disks,
        opened.journal,
        opened.keys,
        opened.header.uuid,
        data=True,
        step=lambda _done, _total, _what: None,
    )
    assert found == []


def wrong_live_bytes(of: str) -> Callable[[Metadata], None]:
    return lambda metadata: metadata.run(f"UPDATE packs SET live_bytes = live_bytes + 1 WHERE {of}")


def test_rows_of_cold_packs_are_taken_over_without_asking_the_bucket(cold: Path, bucket: MemBucket) -> None:
    with_metadata(cold, wrong_live_bytes("NOT closed & 2"))
    lines = rebuild_index(str(cold), Key(), bucket=refuses)
    assert len(lines) == 1 and "2 that only the bucket has" in lines[0], lines
    all_there(cold, bucket)


@pytest.mark.parametrize(
    "work",
    [
        wrong_live_bytes("closed & 2"),
        lambda metadata: metadata.run("UPDATE places SET offset = 100 WHERE pack = 1"),
        lambda metadata: metadata.run("UPDATE packs SET closed = 1"),
    ],
    ids=["live bytes", "overlapping frames", "not cold"],
)
def test_where_they_contradict_themselves_the_bucket_is_asked(
    cold: Path, bucket: MemBucket, work: Callable[[Metadata], None]
) -> None:
    with_metadata(cold, work)
    with_metadata(cold, wrong_live_bytes("NOT closed & 2"))  # without that, not every one of them is noticed
    assert len(rebuild_index(str(cold), Key(), bucket=lambda: bucket)) == 1
    all_there(cold, bucket)


LOST = [
    ("packs",),
    ("objects", "packs"),
    ("places", "packs", "objects", "doomed_objects", "heat"),
    ("chunks", "places", "packs", "objects"),
]


@pytest.mark.parametrize("tables", LOST, ids=lambda tables: "+".join(tables))
def test_lost_rows_of_cold_packs_come_back_from_the_bucket(
    cold: Path, bucket: MemBucket, tables: tuple[str, ...]
) -> None:
    with_metadata(cold, lose(*tables))
    lines = rebuild_index(str(cold), Key(), bucket=lambda: bucket)
    assert len(lines) == 1 and "2 that only the bucket has" in lines[0], lines
    all_there(cold, bucket)


@pytest.mark.parametrize("tables", LOST[-2:], ids=lambda tables: "+".join(tables))
def test_damaged_pages_of_cold_packs_come_back_from_the_bucket(
    cold: Path, bucket: MemBucket, tables: tuple[str, ...]
) -> None:
    spoil(cold, *tables)
    assert len(rebuild_index(str(cold), Key(), bucket=lambda: bucket)) == 1
    all_there(cold, bucket)


@pytest.mark.parametrize("reach", [None, refuses])
def test_a_bucket_that_does_not_answer_is_waited_for(
    cold: Path, bucket: MemBucket, reach: Callable[[], Bucket] | None
) -> None:
    with_metadata(cold, lose("places"))
    before = (cold / "metadata.db").read_bytes()
    with pytest.raises(CloudUnavailable, match="only the bucket has") as refused:
        rebuild_index(str(cold), Key(), bucket=reach)
    assert ("try again" if reach else "put it back") in str(refused.value)
    assert (cold / "metadata.db").read_bytes() == before
    assert not list(cold.glob("*.new*")) and not list(cold.glob("*.damaged*"))


def test_a_frozen_pack_is_no_lost_one(cold: Path, bucket: MemBucket) -> None:
    with_metadata(cold, lose("places"))
    for key in packs_there(bucket):
        bucket.objects[key] = replace(bucket.objects[key], placement=Placement.ARCHIVE)
    with pytest.raises(CloudRefused, match="frozen"):
        rebuild_index(str(cold), Key(), bucket=lambda: bucket)


def test_what_names_copies_in_the_bucket_must_be_whole(cold: Path, bucket: MemBucket) -> None:
    """Else what they name could go."""
    spoil(cold, "published", "places")
    with pytest.raises(DamagedVolume, match="published is too"):
        rebuild_index(str(cold), Key(), bucket=lambda: bucket)


def test_a_pack_that_is_nowhere_is_named(cold: Path, bucket: MemBucket) -> None:
    with_metadata(cold, lose("places"))
    for key in packs_there(bucket):
        del bucket.objects[key]
    _done, *lost = rebuild_index(str(cold), Key(), bucket=lambda: bucket)
    assert {line.rpartition(" ")[2] for line in lost} == {"/a", "/b"}


@pytest.mark.parametrize("is_attached", [True, False])
def test_what_the_journal_demoted_behind_the_index_is_found_there(
    tmp_path: Path, bucket: MemBucket, is_attached: bool
) -> None:
    """Copied as a crash would leave it: uploads, demotions, or even that there is a bucket, are in the journal only."""
    path, crashed = format_in(tmp_path / "v"), tmp_path / "crashed"
    change(path, fill)

    async def work(opened: Volume) -> None:
        if is_attached:
            await epochs.commit(opened)
        facts = await tiering.gather(opened)
        await rounds.upload_all(opened, facts.packs)
        await demoting.demote(opened, [pack.key for pack in facts.packs[:2]])
        await opened.barriers.barrier()
        shutil.copytree(path, crashed, ignore=shutil.ignore_patterns("ballast"))

    killed_with(path, bucket, work)
    with_metadata(
        crashed, lambda metadata: lose("places", "packs")(metadata) if is_attached else lose("places")(metadata)
    )
    assert len(rebuild_index(str(crashed), Key(), bucket=lambda: bucket)) == 1
    all_there(crashed, bucket)


def test_what_was_dropped_is_not_in_the_bucket_twice(cold: Path, bucket: MemBucket) -> None:
    """A dropped pack whose object is there yet comes back only if something needs it."""

    async def drop(opened: Volume) -> None:
        inode = offline.find(opened, "a").inode
        names.unlink(opened, ROOT, b"a")
        opened.handles.free.append(inode)
        await reaping.reap(opened)
        await collecting.collect_now(opened, live_share=0.5)
        assert objects.doomed(opened.metadata, 10)
        await epochs.commit(opened)

    with_bucket(cold, bucket, drop)
    with_metadata(cold, lose("places"))
    rebuild_index(str(cold), Key(), bucket=lambda: bucket)

    async def look(opened: Volume) -> None:
        assert len(objects.doomed(opened.metadata, 10)) == 1
        assert sum(row.is_cold for row in chunks.packs(opened.metadata)) == 1

    killed_with(cold, bucket, look)
