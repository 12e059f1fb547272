"""Every volume that a release made opens: nothing is lost, nothing is found, with each of its keys."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.golden.make import PASSPHRASE
from tests.golden.tree import described
from tests.mounted import Mounted

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
