"""A lost database, or a lost host, comes back from the bucket; what cannot is said, and nothing is overwritten."""

import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rustfsfs.errors import CloudRefused, CloudUnavailable, DamagedVolume, InUse, NotAVolume, UsageError, WrongKey
from rustfsfs.store import manifest as layout
from rustfsfs.store.cold import HEADER, pack_key
from rustfsfs.volume import checking, collecting, commands, names, publishing, recalling, rounds, snapshots, tiering
from rustfsfs.volume.from_bucket import MARKER, Rebuilt, rebuild_from_bucket
from rustfsfs.volume.offline import accept_restored, find
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, contents, opened_with, sealed
from tests.volume.on_disk import DIRECTORY, Key, format_in, write_file
from tests.volume.test_publishing import DiesAt

DATA = NOISE.randbytes(300_000)


def with_bucket(path: Path, bucket: MemBucket, work: Callable[[Volume], Awaitable[object]]) -> None:
    async def main() -> None:
        async with opened_with(path, bucket) as volume:
            await work(volume)

    trio.run(main)


def killed_with(path: Path, bucket: MemBucket, work: Callable[[Volume], Awaitable[object]]) -> None:
    """As `with_bucket`, and at the end neither a snapshot is taken nor anything published."""

    async def main() -> None:
        async with opened_with(path, bucket) as volume:
            await work(volume)
            volume.health.read_only_reason = "the process was killed"

    trio.run(main)


async def uploaded(volume: Volume) -> None:
    facts = await tiering.gather(volume)
    await rounds.upload_all(volume, [pack for pack in facts.packs if pack.closed and pack.object is None])


async def filled(volume: Volume) -> None:
    """Files of each kind, packs in the bucket, the metadata there too."""
    inner = names.create(volume, 1, b"inner", mode=DIRECTORY, uid=0, gid=0)
    await sealed(volume, b"f", DATA)
    await write_file(volume, b"g", DATA[::-1], parent=inner.inode)
    await commands.seal(volume, {}, collecting.no_progress)
    await uploaded(volume)
    await publishing.publish(volume)


def tree(path: Path, bucket: MemBucket) -> dict[str, bytes]:
    """What a reader finds, and nothing is wrong with it."""
    found: dict[str, bytes] = {}

    async def read(volume: Volume) -> None:
        assert volume.health.read_only_reason is None
        for name in ("f", "inner/g"):
            found[name] = await contents(volume, find(volume, name).inode)
        lines = checking.check_all(
            volume.metadata,
            volume.disks,
            volume.journal,
            volume.keys,
            volume.header.uuid,
            data=True,
            step=lambda _done, _total, _what: None,
        )
        assert lines == []

    killed_with(path, bucket, read)
    return found


WHOLE = {"f": DATA, "inner/g": DATA[::-1]}


@pytest.fixture
def bucket() -> MemBucket:
    return MemBucket()


@pytest.fixture
def volume(tmp_path: Path, bucket: MemBucket) -> Path:
    path = format_in(tmp_path / "v")
    (path / "config.toml").write_text("# mine\n")
    with_bucket(path, bucket, filled)
    return path


KEY = Key()


def rebuilt(path: Path, bucket: MemBucket, key: Key = KEY) -> Rebuilt:
    return rebuild_from_bucket(str(path), key, bucket)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_a_host_that_burned_comes_back_whole_from_bucket_and_key(
    volume: Path, bucket: MemBucket, is_there: bool
) -> None:
    shutil.rmtree(volume)
    if is_there:
        volume.mkdir()
    done = rebuilt(volume, bucket)
    assert done.lost == [] and "epoch" in done.done
    assert "packs: 0 on disks, 2 in the bucket only, 0 nowhere" in done.notes
    assert (volume / "config.toml").read_text() == "# mine\n"
    assert (volume / "disks").read_text() == ".\n"
    assert not (volume / MARKER).exists()
    assert {oct(path.stat().st_mode & 0o77) for path in volume.iterdir()} == {"0o0"}
    assert tree(volume, bucket) == WHOLE


def test_what_came_back_goes_on_writing_and_publishing(volume: Path, bucket: MemBucket) -> None:
    shutil.rmtree(volume)
    before = [layout.epoch_of(name) for name in layout.copies(bucket.objects)]
    rebuilt(volume, bucket)
    packs = [key for key in bucket.objects if key.startswith("packs/")]

    async def more(opened: Volume) -> None:
        await sealed(opened, b"new", NOISE.randbytes(100_000))
        await uploaded(opened)
        await publishing.publish(opened)

    with_bucket(volume, bucket, more)
    assert set(packs) <= set(bucket.objects)
    after = [layout.epoch_of(name) for name in layout.copies(bucket.objects)]
    assert max(after) > max(before) and len(after) <= publishing.KEPT
    shutil.rmtree(volume)
    assert rebuilt(volume, bucket).lost == []
    assert tree(volume, bucket) == WHOLE


def test_packs_that_lie_on_disks_stay_there_and_the_others_are_cold(volume: Path, bucket: MemBucket) -> None:
    with_bucket(volume, bucket, lambda opened: sealed(opened, b"h", DATA[:99_999]))
    lose_database(volume)
    gone = sorted(volume.rglob("*.pack"))[0]
    gone.unlink()
    done = rebuilt(volume, bucket)
    assert done.lost == []
    assert "packs: 2 on disks, 1 in the bucket only, 0 nowhere" in done.notes
    assert tree(volume, bucket) == WHOLE


def lose_database(path: Path) -> None:
    for file in path.glob("metadata.*"):
        file.unlink()
    shutil.rmtree(path / "snapshots", ignore_errors=True)


def test_the_journal_behind_the_copy_is_replayed(volume: Path, bucket: MemBucket) -> None:
    async def more(opened: Volume) -> None:
        await write_file(opened, b"before", b"before")
        await publishing.publish(opened)
        names.link(opened, find(opened, "f").inode, 1, b"again")
        names.unlink(opened, 1, b"again")
        await write_file(opened, b"later", b"later")

    killed_with(volume, bucket, more)
    lose_database(volume)
    rebuilt(volume, bucket)
    assert tree(volume, bucket) == WHOLE

    async def look(opened: Volume) -> None:
        assert await contents(opened, find(opened, "later").inode) == b"later"

    killed_with(volume, bucket, look)


def test_a_damaged_database_is_kept_and_a_sound_one_is_left_alone(volume: Path, bucket: MemBucket) -> None:
    before = (volume / "metadata.db").read_bytes()
    with pytest.raises(UsageError, match="sound"):
        rebuilt(volume, bucket)
    assert (volume / "metadata.db").read_bytes() == before
    (volume / "metadata.db").write_bytes(b"x" * 8192)
    with pytest.raises(UsageError, match="--restore-metadata") as refused:
        snapshot_later(volume, bucket)
        (volume / "metadata.db").write_bytes(b"x" * 8192)
        rebuilt(volume, bucket)
    assert "newer" in str(refused.value)
    shutil.rmtree(volume / "snapshots")
    rebuilt(volume, bucket)
    assert (volume / "metadata.db.damaged").read_bytes() == b"x" * 8192


def snapshot_later(path: Path, bucket: MemBucket) -> None:
    """The disks have a snapshot that is newer than what the bucket has."""
    lose_database(path)
    rebuilt(path, bucket)

    async def more(opened: Volume) -> None:
        await write_file(opened, b"more", b"more")
        await snapshots.take(opened)

    killed_with(path, bucket, more)


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


@pytest.mark.parametrize("what", ["manifest", "000000"])
@pytest.mark.parametrize("spoil", [flipped, lambda body: body[: len(body) // 2], None], ids=["bit", "cut", "gone"])
def test_a_damaged_copy_is_passed_over_and_that_is_said(
    volume: Path, bucket: MemBucket, what: str, spoil: Callable[[bytes], bytes] | None
) -> None:
    with_bucket(volume, bucket, lambda opened: write_file(opened, b"more", b"more"))
    *_older, newest = layout.copies(bucket.objects)
    key = f"meta/{newest}/{what}"
    if spoil is None:
        del bucket.objects[key]
    else:
        bucket.objects[key] = replace(bucket.objects[key], body=spoil(bucket.objects[key].body))
    shutil.rmtree(volume)
    done = rebuilt(volume, bucket)
    told = [line for line in done.notes if str(layout.epoch_of(newest)) in line and "not whole" in line]
    assert len(told) == (0 if (what, spoil) == ("manifest", None) else 1)
    assert tree(volume, bucket) == WHOLE


def test_parts_of_two_copies_are_no_copy(volume: Path, bucket: MemBucket) -> None:
    with_bucket(volume, bucket, lambda opened: write_file(opened, b"more", b"more"))
    older, newest = list(layout.copies(bucket.objects))[-2:]
    bucket.objects[f"meta/{newest}/000000"] = bucket.objects[f"meta/{older}/000000"]
    shutil.rmtree(volume)
    assert "not whole" in rebuilt(volume, bucket).notes[0]


def test_an_older_copy_under_a_newer_name_is_none(volume: Path, bucket: MemBucket) -> None:
    (name, *_), *_ = layout.copies(bucket.objects).items()
    newer = layout.copy_name(1 << 40, bytes.fromhex(name[17:]))
    for key in [key for key in bucket.objects if name in key]:
        bucket.objects[key.replace(name, newer)] = bucket.objects[key]
    shutil.rmtree(volume)
    assert "not whole" in rebuilt(volume, bucket).notes[0]


def test_nothing_changes_when_it_cannot_be(tmp_path: Path, volume: Path, bucket: MemBucket) -> None:
    new, mine = tmp_path / "new", tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    with pytest.raises(InUse):
        rebuilt(mine, bucket)
    with pytest.raises(WrongKey):
        rebuilt(new, bucket, Key(value=b"w" * 32))
    with pytest.raises(NotAVolume, match="prefix"):
        rebuilt(new, MemBucket())
    for key in [key for key in bucket.objects if "manifest" in key]:
        del bucket.objects[key]
    with pytest.raises(DamagedVolume, match="there is none"):
        rebuilt(new, bucket)
    assert not new.exists()
    mine.joinpath("file").unlink()
    with pytest.raises(DamagedVolume):
        rebuilt(mine, bucket)
    assert os.listdir(mine) == []


def test_the_bucket_of_another_volume_is_refused(tmp_path: Path, volume: Path, bucket: MemBucket) -> None:
    other, others = format_in(tmp_path / "other"), MemBucket()
    with_bucket(other, others, filled)
    lose_database(other)
    before = sorted(os.listdir(other))
    with pytest.raises(UsageError, match="another volume"):
        rebuilt(other, bucket)
    assert sorted(os.listdir(other)) == before
    del bucket.objects[HEADER]
    with pytest.raises(DamagedVolume, match="of another volume"):
        rebuilt(other, bucket)


def test_cut_at_any_request_it_can_be_done_again(volume: Path, bucket: MemBucket) -> None:
    shutil.rmtree(volume)
    for number in range(100):
        try:
            rebuild_from_bucket(str(volume), Key(), DiesAt(bucket, number, arrives=False))
        except CloudUnavailable:
            assert not volume.exists()
            continue
        break
    assert number > 5
    assert tree(volume, bucket) == WHOLE


def test_a_directory_in_which_it_was_killed_is_taken_up_again(volume: Path, bucket: MemBucket) -> None:
    kept = volume.with_name("kept")
    shutil.rmtree(volume)
    rebuilt(volume, bucket)
    volume.rename(kept)
    for left in (["lock"], ["journal", "packs"], sorted(os.listdir(kept))):
        volume.mkdir()
        (volume / MARKER).touch()
        for name in left:
            copy = shutil.copytree if (kept / name).is_dir() else shutil.copy
            copy(kept / name, volume / name)
        (volume / "header").unlink(missing_ok=True)
        rebuilt(volume, bucket)
        assert tree(volume, bucket) == WHOLE
        shutil.rmtree(volume)


def test_packs_uploaded_after_the_copy_are_found_by_their_names(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v")

    async def fill(volume: Volume) -> None:
        await filled(volume)
        await sealed(volume, b"h", DATA[:77_777])
        await publishing.publish(volume)
        await uploaded(volume)
        await sealed(volume, b"unknown", NOISE.randbytes(50_000))
        await uploaded(volume)

    killed_with(path, bucket, fill)
    shutil.rmtree(path)
    done = rebuilt(path, bucket)
    assert done.lost == []
    assert any("1 packs were put into the bucket after the copy" in line for line in done.notes), done.notes
    assert any("1 packs in the bucket" in line and "newer" in line for line in done.notes), done.notes
    assert tree(path, bucket) == WHOLE
    newest_pack = max(int(key[-18:-2], 16) for key in bucket.objects if key.startswith("packs/"))

    async def look(volume: Volume) -> None:
        assert await contents(volume, find(volume, "h").inode) == DATA[:77_777]
        assert volume.numbers.pack > newest_pack

    killed_with(path, bucket, look)


def test_what_is_nowhere_is_named(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v")

    async def fill(volume: Volume) -> None:
        await filled(volume)
        await sealed(volume, b"lost", NOISE.randbytes(60_000))
        await write_file(volume, b"hot", b"h" * 5000)
        await publishing.publish(volume)

    killed_with(path, bucket, fill)
    shutil.rmtree(path)
    done = rebuilt(path, bucket)
    assert [line for line in done.lost if "nor in the bucket: /lost" in line]
    assert [line for line in done.lost if line.endswith("4.9 KiB were in the journal only: /hot")]
    assert not [line for line in done.lost if "/f" in line or "/inner/g" in line]


def test_chunks_that_were_moved_to_a_newer_pack_are_found_there(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v")

    async def fill(volume: Volume) -> None:
        inner = names.create(volume, 1, b"inner", mode=DIRECTORY, uid=0, gid=0)
        await sealed(volume, b"f", DATA)
        await write_file(volume, b"g", DATA[::-1], parent=inner.inode)
        await commands.seal(volume, {}, collecting.no_progress)
        await publishing.publish(volume)
        await collecting.empty_pack(volume, 1, 1)
        await collecting.empty_pack(volume, 2, 1)
        await commands.seal(volume, {}, collecting.no_progress)
        await uploaded(volume)

    killed_with(path, bucket, fill)
    shutil.rmtree(path)
    done = rebuilt(path, bucket)
    assert done.lost == [] and any("found in packs that only newer" in line for line in done.notes), done
    assert tree(path, bucket) == WHOLE


def test_an_object_that_is_not_the_pack_is_not_taken_for_it(volume: Path, bucket: MemBucket) -> None:
    key = pack_key(1, 1)
    bucket.objects[key] = replace(bucket.objects[key], body=bucket.objects[key].body[:-5])
    shutil.rmtree(volume)
    lost = rebuilt(volume, bucket).lost
    assert [line for line in lost if line.endswith(": /f")] and not [line for line in lost if "/g" in line]


def test_of_several_disks_that_are_gone_volume_is_one_from_then_on(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v", tmp_path / "d1", tmp_path / "d2", copies=2)
    with_bucket(path, bucket, filled)
    for folder in ("v", "d1", "d2"):
        shutil.rmtree(tmp_path / folder)
    done = rebuilt(path, bucket)
    assert [line for line in done.notes if "in place of" in line and "d1" in line]
    assert [line for line in done.notes if "d2" in line and "gone" in line]
    assert tree(path, bucket) == WHOLE


def test_disks_that_are_still_there_are_used(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v", tmp_path / "d1")
    with_bucket(path, bucket, filled)
    shutil.rmtree(path)
    done = rebuilt(path, bucket)
    assert "packs: 2 on disks, 0 in the bucket only, 0 nowhere" in done.notes
    assert (path / "disks").read_text() == f"{tmp_path / 'd1'}\n"
    assert tree(path, bucket) == WHOLE


def test_a_cold_pack_that_the_bucket_lost_is_on_its_disk_if_it_came_back_there(volume: Path, bucket: MemBucket) -> None:
    """The copy says cold; since then it was recalled, and lost in the bucket."""

    async def demoted(opened: Volume) -> None:
        keys = await all_demoted(opened)
        await publishing.publish(opened)
        assert await recalling.recall(opened, keys[0])
        del bucket.objects[pack_key(*keys[0])]

    killed_with(volume, bucket, demoted)
    lose_database(volume)
    for segment in (volume / "journal").iterdir():
        segment.unlink()
    done = rebuilt(volume, bucket)
    assert done.lost == [] and "packs: 1 on disks, 1 in the bucket only, 0 nowhere" in done.notes
    assert tree(volume, bucket) == WHOLE


def test_a_newer_copy_that_is_not_whole_is_kept_until_a_person_gives_it_up(volume: Path, bucket: MemBucket) -> None:
    with_bucket(volume, bucket, lambda opened: write_file(opened, b"x", b"x"))
    newest = list(layout.copies(bucket.objects))[-1]
    part = layout.part_key(newest, 0)
    bucket.objects[part] = replace(bucket.objects[part], body=b"x" * len(bucket.objects[part].body))
    shutil.rmtree(volume)
    assert any("--accept-restored" in note for note in rebuilt(volume, bucket).notes)

    async def publish(opened: Volume) -> None:
        await write_file(opened, b"%d" % opened.metadata.running.epoch, b"y")
        await publishing.publish(opened)

    with pytest.raises(CloudRefused, match="newer metadata"):
        killed_with(volume, bucket, publish)
    assert part in bucket.objects
    accept_restored(str(volume), KEY)
    killed_with(volume, bucket, publish)
    assert part not in bucket.objects


def goes_on(path: Path, bucket: MemBucket, name: bytes) -> None:
    """The volume, wherever it is now: new data in the bucket only, and snapshots that its disks know of."""

    async def work(volume: Volume) -> None:
        for _ in range(3):
            await write_file(volume, name + b"%d" % volume.metadata.running.epoch, b"x")
            await snapshots.take(volume)
        await sealed(volume, name, name * 20_000)
        await all_demoted(volume)
        await publishing.publish(volume)

    with_bucket(path, bucket, work)


def look_at(path: Path, bucket: MemBucket, name: bytes) -> None:
    async def look(volume: Volume) -> None:
        assert await contents(volume, find(volume, name.decode()).inode) == name * 20_000
        await write_file(volume, b"written here", b"x")
        assert volume.health.read_only_reason is None

    killed_with(path, bucket, look)


@pytest.mark.parametrize("several", [False, True], ids=["one disk", "several"])
def test_a_volume_that_went_on_elsewhere_comes_back_a_second_time(
    tmp_path: Path, bucket: MemBucket, several: bool
) -> None:
    path, second = format_in(tmp_path / "v", *[tmp_path / "d1"] * several), tmp_path / "n2"
    with_bucket(path, bucket, filled)
    if several:
        (tmp_path / "d1").rename(tmp_path / "elsewhere")
    rebuilt(second, bucket)
    if several:
        (tmp_path / "elsewhere").rename(tmp_path / "d1")
    goes_on(path, bucket, b"newer")
    if several:
        shutil.rmtree(tmp_path / "d1")
    done = rebuilt(second, bucket)
    assert done.lost == [], done
    look_at(second, bucket, b"newer")
    assert tree(second, bucket) == WHOLE
    goes_on(second, bucket, b"here")


def test_packs_of_another_life_are_not_taken_for_those_of_the_same_number(tmp_path: Path, bucket: MemBucket) -> None:
    path, first, second = format_in(tmp_path / "v"), tmp_path / "n1", tmp_path / "n2"
    with_bucket(path, bucket, filled)
    rebuilt(first, bucket)
    rebuilt(second, bucket)
    killed_with(second, bucket, lambda volume: sealed(volume, b"gone", NOISE.randbytes(140_000)))
    goes_on(first, bucket, b"newer")
    done = rebuilt(second, bucket)
    assert done.lost == [] and any("1 packs on disks are others" in note for note in done.notes), done
    look_at(second, bucket, b"newer")
    assert tree(second, bucket) == WHOLE


def test_a_disk_that_is_missing_is_a_finding(tmp_path: Path, bucket: MemBucket) -> None:
    path = format_in(tmp_path / "v", tmp_path / "d1")
    with_bucket(path, bucket, filled)
    lose_database(path)
    shutil.rmtree(tmp_path / "d1" / "snapshots", ignore_errors=True)
    (tmp_path / "d1").rename(tmp_path / "away")
    (line,) = rebuilt(path, bucket).lost
    assert line.startswith("a disk is missing") and "d1" in line
