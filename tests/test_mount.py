"""What the composition root does to its own process, and what it tells the kernel."""

import gc
import weakref

import pytest

from rustfsfs.mount import MountOptions, fuse_options, spare_collector


class Node:
    """Garbage that only the collector can free, once it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_left_out_of_collections_and_what_comes_later_is_not() -> None:
    try:
        spare_collector()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1000
        later = weakref.ref(Node())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        pytest.param([], {"nosuid", "nodev"}, id="careful"),
        pytest.param(["suid", "dev"], {"suid", "dev"}, id="asked otherwise"),
        pytest.param(["suid", "nosuid", "dev", "nodev"], {"nosuid", "nodev"}, id="by one, and not by the other"),
        pytest.param(["noexec", "exec", "noatime", "ro"], {"nosuid", "nodev", "noexec", "noatime", "ro"}, id="more"),
    ],
)
def test_what_the_kernel_is_told(asked: list[str], told: set[str]) -> None:
    options = MountOptions(
        volume="/srv/a,b",
        mount_point="/mnt",
        foreground=False,
        read_only=False,
        config_path=None,
        options=frozenset(asked),
        degraded=False,
        skip_seq=None,
    )
    always = {"fsname=/srv/a\\,b", "subtype=rustfsfs", "default_permissions"}
    assert fuse_options(options) - {"allow_other"} == told | always
