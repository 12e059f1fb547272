"""The lock, and what it says of who has it."""

import fcntl
import os
import subprocess
import threading
from pathlib import Path

import pytest

from rustfsfs.errors import InUse
from rustfsfs.volume.locking import holder, is_locked, locked


def test_the_holder_is_named_as_long_as_it_holds(tmp_path: Path) -> None:
    path = str(tmp_path)
    assert not is_locked(path)
    with locked(path, mount_point="/mnt"):
        assert is_locked(path)
        assert holder(path) == {"pid": os.getpid(), "mount_point": "/mnt"}
        with (
            pytest.raises(InUse, match="mounts it on /mnt just now, or ends there: after a lazy unmount"),
            locked(path, mount_point=None),
        ):
            pass
    assert not is_locked(path)
    assert holder(path) == {}


def test_who_only_asks_is_waited_for(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.03, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        with locked(str(tmp_path), mount_point=None):
            assert holder(str(tmp_path))["pid"] == os.getpid()


def test_nobody_is_named_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(str(tmp_path), mount_point=None):
        raise RuntimeError
    assert holder(str(tmp_path)) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_on_a_read_only_file_system_readers_share_the_lock_and_the_kernel_knows_them(tmp_path: Path) -> None:
    volume, frozen = tmp_path / "v", tmp_path / "frozen"
    volume.mkdir()
    frozen.mkdir()
    (volume / "lock").write_text('{"pid": 1, "mount_point": "/long/gone"}')
    subprocess.run(["mount", "--bind", volume, frozen], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", frozen], check=True)
        path = str(frozen)
        with locked(path, mount_point=None, read_only=True), locked(path, mount_point=None, read_only=True):
            assert holder(path) == {"pid": os.getpid()}
            assert not is_locked(path)
        assert holder(path) == {}
    finally:
        subprocess.run(["umount", frozen], check=True)
