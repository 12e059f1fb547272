"""Disks that are detached from a volume with a bucket: what is in the bucket too is read from there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cold.scene import CONFIG, Scene
from tests.long.cold.place import ANY_DISK, ColdVolume, wait_until
from tests.oss_server import OssServer

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # mounts, and processes


@pytest.fixture
def scene(tmp_path: Path, oss: OssServer) -> Iterator[Scene]:
    """A volume over two disks, mounted, with the bucket behind it."""
    volume = ColdVolume(tmp_path)
    volume.name_place(oss)
    volume.format("--disk", tmp_path / "disk", "--disk", tmp_path / "other")
    (volume.volume / "config.toml").write_text(ANY_DISK + CONFIG)
    volume.run("bucket", "attach", volume.volume, *volume.place, "--key-file", volume.key)
    try:
        volume.mount()
        yield Scene(volume, oss)
    finally:
        volume.clean_up()


def test_what_the_bucket_has_of_a_detached_disk_is_read_from_there(scene: Scene, tmp_path: Path) -> None:
    volume = scene.volume
    numbers = []
    while not list((tmp_path / "disk").rglob("*.pack")):
        numbers.append(scene.write())
        volume.seal()
        assert len(numbers) < 20, "nothing lies on the disk"
    scene.wait_for_uploads()
    volume.umount()
    (tmp_path / "disk").rename(tmp_path / "detached")
    done = volume.run("mount", volume.volume, volume.point, "--key-file", volume.key, check=False)
    assert done.returncode == 6 and done.stderr.count("\n") == 1 and "--degraded" in done.stderr, done
    volume.mount("--degraded")
    for number in numbers:
        scene.read(number)
    scene.lives()
    assert not volume.status()["healthy"]
    volume.umount()
    (tmp_path / "detached").rename(tmp_path / "disk")
    volume.mount()
    wait_until(lambda: volume.status()["healthy"], within_s=10.0, otherwise="it is back, and yet not healthy")
    volume.umount()
    assert volume.fsck("--data") == []
