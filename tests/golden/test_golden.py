"""Every volume that a release made opens: nothing is lost, nothing is found, with each of its keys."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from rustfsfs.meta import database
from rustfsfs.meta.migrations import format_of
from rustfsfs.meta.schema import FORMAT_TIERED
from rustfsfs.volume.header import unlocked
from rustfsfs.world import real_world
from tests.golden.make import PASSPHRASE
from tests.golden.tree import described
from tests.mounted import Mounted
from tests.volume.on_disk import Key

FOLDER = Path(__file__).parent
RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz"))


@pytest.fixture(params=RELEASES)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Mounted]:
    """(release, its volume as the kill left it)."""
    mounted = Mounted(tmp_path)
    mounted.volume.mkdir(mode=0o700)
    with tarfile.open(FOLDER / f"{request.param}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # since 3.11.4 it has to be named
        archive.extractall(mounted.volume)
    return request.param, mounted


def test_there_is_one_for_each_release() -> None:
    assert RELEASES


def test_one_has_had_a_bucket(tmp_path: Path) -> None:
    """Its packs are on the disk too, and its tables have rows."""
    with tarfile.open(FOLDER / "0.1.0-bucket.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        for name in ("header", "metadata.db", "metadata.db-wal"):
            archive.extract(name, tmp_path)
    _header, keys = unlocked(real_world(), str(tmp_path), Key())
    metadata = database.open_(f"{tmp_path}/metadata.db", keys.database)
    assert format_of(metadata) == FORMAT_TIERED
    for table in ("objects", "terms", "pinned"):
        assert metadata.rows(f"SELECT count(*) FROM {table}")[0][0] > 0, table
    metadata.close()


@pytest.mark.slow  # unpacks and opens volumes
def test_it_opens_without_a_change_and_all_is_there(kept: tuple[str, Mounted]) -> None:
    release, mounted = kept
    assert mounted.fsck("--data") == []
    secret = mounted.base / "passphrase"
    secret.write_bytes(PASSPHRASE)
    mounted.run("export", mounted.volume, "/", mounted.base / "out", "--passphrase-file", secret)
    wanted = json.loads((FOLDER / f"{release}.json").read_text())
    if os.geteuid() != 0:
        pytest.skip("only root can bring back owners and device nodes")
    assert described(mounted.base / "out") == wanted


@pytest.mark.slow
@pytest.mark.fuse
def test_it_mounts_and_goes_on(kept: tuple[str, Mounted]) -> None:
    release, mounted = kept
    try:
        mounted.mount("-o", "dev,suid")
        assert described(mounted.point) == json.loads((FOLDER / f"{release}.json").read_text())
        (mounted.point / "new").write_bytes(b"written by a later version")
        mounted.seal()
        mounted.run("collect", mounted.point)
        mounted.umount()
        assert mounted.fsck("--data") == []
    finally:
        mounted.clean_up()
