"""`rustfsfs fsck --rebuild-from-bucket`, as a person uses it after a fire, against the test server."""

import shutil
from pathlib import Path

import pytest
import trio

from rustfsfs.volume import publishing, rounds, tiering
from rustfsfs.volume.volume import Volume
from tests.cli.test_bucket import Home
from tests.oss_server import OssServer
from tests.oss_server.client import bucket_of
from tests.volume.on_bucket import NOISE, opened_with, sealed
from tests.volume.test_rebuilding import lose, with_metadata

DATA = NOISE.randbytes(200_000)


@pytest.fixture
def home(tmp_path: Path, oss: OssServer, capfd: pytest.CaptureFixture[str]) -> Home:
    """A volume with a bucket that has all of it."""
    made = Home(tmp_path, oss, capfd)
    assert made.attach().code == 0

    async def fill(volume: Volume) -> None:
        await sealed(volume, b"f", DATA)
        facts = await tiering.gather(volume)
        await rounds.upload_all(volume, [pack for pack in facts.packs if pack.closed])
        await publishing.publish(volume)

    async def main() -> None:
        async with opened_with(made.volume, None) as volume:
            await fill(volume)

    trio.run(main)
    return made


def where(home: Home) -> list[str | Path]:
    place = ["--bucket", "oss://packs/vol", "--endpoint", home.oss.endpoint, "--region", home.oss.region]
    return [*place, "--credentials", home.credentials]


def test_bucket_and_key_bring_back_what_burned(home: Home) -> None:
    shutil.rmtree(home.volume)
    done = home.run("fsck", home.volume, "--rebuild-from-bucket", "--key-file", home.key, *where(home))
    assert (done.code, done.error) == (0, ""), done
    assert "1 in the bucket only, 0 nowhere" in done.out and "the metadata is that of epoch" in done.out
    shutil.rmtree(home.volume)
    assert home.run("fsck", home.volume, "--rebuild-from-bucket", "--key-file", home.key, *where(home)).code == 0
    target = home.volume.with_name("out")
    target.mkdir()
    assert home.run("export", home.volume, "/", target, "--key-file", home.key).code == 0
    assert (target / "f").read_bytes() == DATA
    assert home.run("fsck", home.volume, "--data", "--key-file", home.key).code == 0


def test_a_lost_database_needs_no_address(home: Home) -> None:
    for path in home.volume.glob("metadata.*"):
        path.unlink()
    shutil.rmtree(home.volume / "snapshots")
    done = home.run("fsck", home.volume, "--rebuild-from-bucket", "--key-file", home.key)
    assert (done.code, done.error) == (0, ""), done
    again = home.run("fsck", home.volume, "--rebuild-from-bucket", "--key-file", home.key)
    assert again.code == 2 and "sound" in again.error


def test_a_snapshot_that_is_restored_is_compared_with_the_bucket(home: Home) -> None:
    for path in home.volume.glob("metadata.*"):
        path.unlink()
    done = home.run("fsck", home.volume, "--restore-metadata", "--key-file", home.key)
    assert (done.code, done.error) == (0, "") and "the bucket has none that is newer" in done.out, done
    done = home.run("fsck", home.volume, "--accept-restored", "--key-file", home.key)
    assert done.code == 0 and "is the volume now" in done.out, done
    again = home.run("fsck", home.volume, "--accept-restored", "--key-file", home.key)
    assert again.code == 2 and "nothing to accept" in again.error


def test_an_index_without_rows_of_cold_packs_needs_the_bucket(home: Home) -> None:
    with_metadata(home.volume, lose("places"))
    for pack in home.volume.rglob("*.pack"):
        pack.unlink()  # as if it had been demoted
    rebuild = ("fsck", home.volume, "--rebuild-index", "--key-file", home.key)
    (home.volume / "bucket.toml").rename(home.volume / "away")
    refused = home.run(*rebuild)
    assert refused.code == 8 and "put it back" in refused.error and refused.error.count("\n") == 1, refused
    (home.volume / "away").rename(home.volume / "bucket.toml")
    done = home.run(*rebuild)
    assert (done.code, done.error) == (0, "") and "1 that only the bucket has" in done.out, done
    assert home.run("fsck", home.volume, "--data", "--key-file", home.key).code == 0


def test_what_is_lost_is_named_and_is_a_finding(home: Home) -> None:
    bucket = bucket_of(home.oss)
    for found in list(bucket.list_objects_v2(prefix="vol/packs/").object_list):
        bucket.delete_object(found.key)
    shutil.rmtree(home.volume)
    done = home.run("fsck", home.volume, "--rebuild-from-bucket", "--key-file", home.key, *where(home))
    assert done.code == 7 and "nor in the bucket: /f" in done.out, done


def test_bad_input_is_one_sentence_and_changes_nothing(home: Home, tmp_path: Path) -> None:
    new = tmp_path / "new"
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"w" * 32)
    wrong.chmod(0o600)
    rebuild: list[str | Path] = ["fsck", new, "--rebuild-from-bucket", "--key-file"]
    elsewhere = [*where(home), "--bucket", "oss://packs/elsewhere"]
    for arguments, code, word in (
        ([*rebuild, home.key], 2, "--bucket"),
        ([*rebuild, home.key, "--endpoint", home.oss.endpoint], 2, "--bucket"),
        ([*rebuild, wrong, *where(home)], 3, "key"),
        ([*rebuild, home.key, *elsewhere], 4, "prefix"),
        (["fsck", tmp_path, "--rebuild-from-bucket", "--key-file", home.key, *where(home)], 5, "not empty"),
        (["fsck", home.volume, "--bucket", "oss://packs/vol", "--key-file", home.key], 2, "--rebuild-from-bucket"),
        (["fsck", home.volume, "--rebuild-from-bucket", "--rebuild-index", "--key-file", home.key], 2, "ways"),
    ):
        done = home.run(*arguments)
        assert done.code == code and word in done.error and done.error.count("\n") == 1, (arguments, done)
    assert not new.exists()
