"""A careless user, and a careless owner of the bucket: a sentence each, and the mount lives."""

import errno
from collections.abc import Iterator

import pytest

from tests.cli.test_bucket import EXPIRES
from tests.cold.scene import Scene, scene
from tests.long.cold.place import wait_until
from tests.oss_server import Fault, Versioning, denied, serving

pytestmark = [pytest.mark.fuse, pytest.mark.slow]  # a mount for all tests of this file, and processes
TOLD_S = 20.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    base = tmp_path_factory.mktemp("misuse")
    with serving(base / "oss") as oss, scene(base, oss, cold=7) as made:
        yield made


def told(home: Scene, words: str) -> str:
    """What status says, once it says so, in its `last_error` or of the metadata."""
    found = ""

    def says() -> bool:
        nonlocal found
        tier = home.volume.tier()
        found = f"{tier['trouble']} {tier['last_error']} {tier['traffic']['last_error']} {tier['metadata']['error']}"
        return words in found

    wait_until(says, within_s=TOLD_S, otherwise=f"status does not say {words!r}")
    return found


def test_a_bucket_that_is_deleted_is_named_and_what_is_local_goes_on(home: Scene) -> None:
    with home.oss.store.lock:
        gone = home.oss.store.buckets.pop("packs")
    try:
        with pytest.raises(OSError) as caught:
            home.read(home.unread())
        assert caught.value.errno == errno.EIO
        assert "create it, or correct its name" in told(home, "does not exist")
        shown = home.volume.run("status", home.volume.point, check=False).stdout
        assert "REFUSES: oss://packs/v does not exist" in shown
        home.lives()
    finally:
        with home.oss.store.lock:
            home.oss.store.buckets["packs"] = gone
    home.attach()
    home.read(home.unread())


def test_credentials_that_may_only_read_stop_uploads_and_nothing_else(home: Scene) -> None:
    home.oss.faults.plan(Fault(effect=denied(), operation="PutObject", count=None))
    try:
        number = home.write()
        done = home.volume.run("tier", "demote", home.path(number), check=False)
        assert done.returncode == 8 and done.stderr.count("\n") == 1 and "PutObject" in done.stderr
        assert "have its owner allow" in told(home, "does not allow this")
        home.read(number)
        home.read(home.unread())
        home.lives()
    finally:
        home.oss.faults.plan()
    home.attach()
    home.wait_for_uploads()


def test_a_key_that_is_rotated_is_read_from_the_file_again(home: Scene) -> None:
    credentials = home.volume.base / "credentials"
    old = credentials.read_text()
    new = home.oss.issue_key()
    key = home.oss.keys.pop(home.oss.key_id)
    try:
        with pytest.raises(OSError):
            home.read(home.unread())
        assert "check the credentials" in told(home, "does not know the access key id")
        written = (
            f'access_key_id = "{new.key_id}"\naccess_key_secret = "{new.secret}"\nsecurity_token = "{new.token}"\n'
        )
        credentials.write_text(written)
        home.attach()
        home.read(home.unread())
    finally:
        home.oss.keys[home.oss.key_id] = key
        credentials.write_text(old)
    assert new.secret not in home.volume.log


def attached_anew(home: Scene) -> str:
    """What the command says; it is refused."""
    done = home.volume.run("bucket", "attach", home.volume.point, *home.volume.place, check=False)
    assert done.returncode == 8 and done.stdout == "" and done.stderr.count("\n") == 1, done
    return done.stderr


def test_versioning_that_is_switched_on_later_is_told_by_attaching_anew(home: Scene) -> None:
    bucket = home.oss.store.bucket("packs")
    bucket.versioning = Versioning.ENABLED
    try:
        assert "never had versioning" in attached_anew(home)
        home.read(home.unread())
    finally:
        bucket.versioning = Versioning.NEVER


def test_a_rule_that_expires_packs_is_told_by_attaching_anew(home: Scene) -> None:
    bucket = home.oss.store.bucket("packs")
    bucket.lifecycle = f"<LifecycleConfiguration>{EXPIRES}</LifecycleConfiguration>".encode()
    try:
        assert "lifecycle rule 'tidy'" in attached_anew(home)
        home.lives()
    finally:
        bucket.lifecycle = b""
