"""Shared by all tests: skips that count in CI, and a mounted volume whose daemon is another process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.hanging import ending_daemons
from tests.mounted import Mounted
from tests.oss_server import OssServer, serving

settings.register_profile("shared machine", deadline=None)  # an example may wait for a processor
settings.load_profile("shared machine")


def can_mount() -> str | None:
    """Why mounts cannot be tested here, or None."""
    if os.geteuid() != 0:
        return "mounting needs root here"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = can_mount()
    for item in items:
        if "fuse" in item.keywords and reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip is a failure: a machine that cannot mount proves nothing."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if "fuse" not in item.keywords:
        return (yield)
    factory: pytest.TempPathFactory = item.config._tmp_path_factory  # type: ignore[attr-defined]
    with ending_daemons(factory.getbasetemp()):
        return (yield)


@pytest.fixture
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A new volume, mounted; unmounted whatever happens."""
    base: Path = tmp_path_factory.mktemp("v")
    volume = Mounted(base)
    volume.format()
    volume.mount()
    try:
        yield volume
    finally:
        volume.clean_up()


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[OssServer]:
    """An OSS-compatible server with an empty bucket "packs"; its data lie in `oss.folder`."""
    with serving(tmp_path / "oss") as server:
        yield server
