"""A database whose disk does not give a page back is no sound one, and keeps nobody from the ways to help it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rustfsfs.errors import DamagedVolume
from rustfsfs.meta import checks, database
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.soundness import is_sound
from tests.faults import Fault, Faults, FaultyVfs

KEY = bytes(range(32))
VFS = FaultyVfs("faulty-soundness", "", Faults())
UNREADABLE = Fault(action="xRead", word="metadata.db", count=1 << 30)


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = database.create(str(tmp_path / "metadata.db"), KEY)
    database.settle(made)
    made.close()
    VFS.faults.plan()
    return made.path


@pytest.fixture
def metadata(path: str) -> Iterator[Metadata]:
    found = database.open_(path, KEY, vfs=VFS.sealed)
    yield found
    VFS.faults.plan()
    found.close()


def fail(metadata: Metadata) -> None:
    metadata.run("PRAGMA shrink_memory")
    VFS.faults.plan(UNREADABLE)


def test_it_is_not_sound(metadata: Metadata) -> None:
    assert is_sound(metadata)
    fail(metadata)
    assert not is_sound(metadata)


def test_it_is_a_finding_of_fsck(metadata: Metadata) -> None:
    fail(metadata)
    assert any("cannot read its file" in finding.text for finding in checks.check(metadata))


def test_opening_says_what_is_wrong(path: str) -> None:
    """DamagedVolume is what fsck --restore-metadata goes on from."""
    for skip in range(100):
        VFS.faults.plan(Fault(action="xRead", word="metadata.db", skip=skip, count=1 << 30))
        try:
            database.open_(path, KEY, vfs=VFS.sealed).close()
        except DamagedVolume:
            continue
        break
    assert 0 < skip < 99
