"""What only the bucket has is verified by `fsck --data`, and what was not looked at is said."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudUnavailable
from rustfsfs.store.cold import pack_key
from rustfsfs.volume import coldchecking, commands, offline
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.volume import Volume
from tests.store.membucket import MemBucket
from tests.volume.on_bucket import NOISE, all_demoted, opened_with, sealed
from tests.volume.on_disk import Key, format_in

DATA = NOISE.randbytes(300_000)
MIDDLE = 150_000  # in a frame


async def fsck(volume: Volume) -> list[str]:
    return (await commands.fsck(volume, {"data": True}, no_progress))["findings"]


async def filled(volume: Volume) -> list[str]:
    """One file in each of three packs of the bucket; their objects' names."""
    keys = list[str]()
    for number in range(3):
        await sealed(volume, b"f%d" % number, NOISE.randbytes(len(DATA)))
        (key,) = {pack_key(*key) for key in await all_demoted(volume)} - {*keys}
        keys.append(key)
    return keys


def spoil(bucket: MemBucket, key: str, body: bytes) -> None:
    bucket.objects[key] = replace(bucket.objects[key], body=body)


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


async def test_damage_in_the_bucket_is_found_and_names_its_files(tmp_path: Path) -> None:
    bucket, steps = MemBucket(), list[str]()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        one, other, third = await filled(volume)
        found = await commands.fsck(volume, {"data": True}, lambda _done, _total, text: steps.append(text))
        assert found["findings"] == [] and coldchecking.VERIFYING in steps
        whole = bucket.objects[one].body
        spoil(bucket, one, flipped(whole, MIDDLE))
        spoil(bucket, other, b"")
        gone = bucket.objects.pop(third)
        lines = await fsck(volume)
        for number, key in enumerate((one, other, third)):
            mine = [line for line in lines if line.endswith(f": /f{number}")]
            assert mine and all("in the bucket" in line for line in mine), (key, lines)
        assert (await commands.fsck(volume, {}, no_progress))["findings"] == [], "without --data nothing is asked for"
        bucket.objects[third] = gone
        spoil(bucket, other, b"")
        spoil(bucket, one, flipped(whole, len(whole) - 1))  # behind the last frame
        lines = await fsck(volume)
        assert any("CRC-64" in line and "readable all the same" in line for line in lines)
        assert not any(line.endswith(("/f0", "/f2")) for line in lines)


async def test_of_an_object_that_was_cut_the_rest_is_good(tmp_path: Path) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        await sealed(volume, b"f", DATA)
        (key,) = await all_demoted(volume)
        whole = bucket.objects[pack_key(*key)].body
        spoil(bucket, pack_key(*key), whole[: len(whole) - 100])
        (line,) = await fsck(volume)
        assert "shorter" in line and "readable all the same" in line
        spoil(bucket, pack_key(*key), whole[:MIDDLE])
        assert all(line.endswith(": /f") for line in await fsck(volume))


async def test_what_could_not_be_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = MemBucket()
    async with opened_with(format_in(tmp_path / "v"), bucket) as volume:
        one, *_others = await filled(volume)
        bucket.objects[one] = replace(bucket.objects[one], placement=Placement.ARCHIVE)
        (line,) = await fsck(volume)
        assert "KiB in the bucket could not be looked at" in line and "frozen" in line
        asked = []

        def away(key: str, offset: int, size: int) -> bytes:
            asked.append(key)
            raise CloudUnavailable("it is away")

        monkeypatch.setattr(bucket, "get", away)
        (line,) = await fsck(volume)
        assert line.endswith("KiB in the bucket could not be looked at: it is away")
        assert len(asked) == 1, "each would take its deadline"
        assert (await commands.scrub(volume, {}, no_progress))["cold_bytes"] == volume.metadata.running.cold_bytes > 0


async def test_a_volume_that_is_not_mounted_is_verified_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, path = MemBucket(), format_in(tmp_path / "v")
    async with opened_with(path, bucket) as volume:
        one, *_others = await filled(volume)
    spoil(bucket, one, flipped(bucket.objects[one].body, MIDDLE))

    def offline_fsck() -> list[str]:
        return offline.fsck(str(path), Key(), data=True)

    lines = await trio.to_thread.run_sync(offline_fsck)
    assert any("could not be looked at" in line and "bucket.toml" in line for line in lines)
    monkeypatch.setattr(coldchecking, "way_of", lambda _volume: coldchecking.Way(bucket=bucket))
    lines = await trio.to_thread.run_sync(offline_fsck)
    assert any(line.endswith(": /f0") for line in lines) and not any("/f1" in line for line in lines)
