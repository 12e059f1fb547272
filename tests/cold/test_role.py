"""Credentials of an instance's RAM role, end to end, on a network that has the metadata service where ECS has it."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rustfsfs.store.imds import METADATA_SERVICE, UNUSED_BEFORE_S
from tests.cold.network import network_of_its_own
from tests.cold.scene import CONFIG, Scene
from tests.long.cold.place import ANY_DISK, PREFIX, ColdVolume, wait_until
from tests.oss_server import OssServer, serving
from tests.oss_server.ecs import ROLE_PATH, TOKEN_PATH, Ecs, ecs_serving

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # mounts, and processes

ADDRESS = urlsplit(METADATA_SERVICE).hostname or ""
SHORT_S = UNUSED_BEFORE_S + 4.0  # keys that are given out for four seconds


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[OssServer]:
    """On the network of the instance, so that whatever is started by the test is there too."""
    with network_of_its_own(ADDRESS), serving(tmp_path / "oss") as server:
        yield server


@pytest.fixture
def ecs(oss: OssServer) -> Iterator[Ecs]:
    with ecs_serving(oss, address=ADDRESS, port=80) as service:
        yield service


@pytest.fixture
def volume(tmp_path: Path, oss: OssServer) -> Iterator[ColdVolume]:
    """Formatted, and no more."""
    made = ColdVolume(tmp_path)
    made.format()
    (made.volume / "config.toml").write_text(ANY_DISK + CONFIG)
    made.place = [f"oss://packs/{PREFIX}", "--endpoint", oss.endpoint, "--region", oss.region]
    try:
        yield made
    finally:
        made.clean_up()


def attach(volume: ColdVolume, *, credentials: str = "ecs", check: bool = True) -> str:
    """What it says: on success, or as the refusal it is then."""
    more = ["--credentials", credentials, "--key-file", str(volume.key)]
    done = volume.run("bucket", "attach", volume.volume, *volume.place, *more, check=check)
    if not check:
        assert done.returncode == 8 and done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.stdout + done.stderr


def test_a_mount_lives_on_keys_that_expire_and_are_renewed(volume: ColdVolume, oss: OssServer, ecs: Ecs) -> None:
    assert "is the bucket of" in attach(volume)
    oss.keys.clear()  # only what the mount gets from the service will do
    ecs.life_s = SHORT_S
    volume.mount()
    scene = Scene(volume, oss)
    scene.write_cold(3)
    used = dict(oss.keys)
    usable_s = max(key.expires_s for key in used.values()) - UNUSED_BEFORE_S
    wait_until(lambda: time.time() > usable_s, within_s=10.0, otherwise="the clock stands still")
    oss.keys.clear()
    scene.read(scene.unread())
    assert oss.keys.keys().isdisjoint(used)
    assert ecs.asked[-3:] == [f"PUT {TOKEN_PATH}", f"GET {ROLE_PATH}", f"GET {ROLE_PATH}{ecs.role}"]
    used |= oss.keys
    oss.keys.clear()  # before their time, as when the role was changed: the refusal has them renewed
    scene.read(scene.unread())
    assert volume.status()["healthy"]
    used |= oss.keys
    ecs.status = 500
    oss.keys.clear()
    number = scene.unread()
    with pytest.raises(OSError) as caught:
        scene.read(number)
    assert caught.value.errno == errno.EIO and "does not know the access key id" in volume.tier()["last_error"]
    scene.lives()
    ecs.status = 200
    wait_until(lambda: can_read(scene, number), within_s=10.0, otherwise="the service is back, and it does not read")
    for key in (used | oss.keys).values():
        assert key.secret not in volume.log and key.token not in volume.log


def can_read(scene: Scene, number: int) -> bool:
    try:
        scene.read(number)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("spoil", "credentials", "words"),
    [
        pytest.param({"has_tokens": False}, "ecs", "IMDSv2", id="version 1 only"),
        pytest.param({"role": ""}, "ecs", "attach one to it", id="no role"),
        pytest.param({}, "ecs:another", "no such RAM role", id="another role"),
        pytest.param({"status": 500}, "ecs", "answered 500", id="out of order"),
    ],
)
def test_a_service_that_has_no_keys_is_told(
    volume: ColdVolume, ecs: Ecs, spoil: dict[str, object], credentials: str, words: str
) -> None:
    for name, value in spoil.items():
        setattr(ecs, name, value)
    assert words in attach(volume, credentials=credentials, check=False)


def test_without_a_metadata_service_the_user_reads_that_this_is_no_instance(volume: ColdVolume) -> None:
    began_s = time.monotonic()
    said = attach(volume, check=False)
    assert "no metadata service at http://100.100.100.200" in said and "is this an ECS instance?" in said
    assert time.monotonic() - began_s < 10.0
