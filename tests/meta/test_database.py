"""Connections to the database."""

from pathlib import Path

import apsw
import pytest

from rustfsfs import ops
from rustfsfs.meta import database, entries, extents, inodes
from rustfsfs.meta.apply import apply
from rustfsfs.meta.database import Metadata

KEY = b"k" * 32
SETTINGS = [
    pytest.param("synchronous", 2, id="COMMIT is durable"),
    pytest.param("wal_autocheckpoint", 0, id="no checkpoint on the trio thread"),
    pytest.param("temp_store", 2, id="no names in /var/tmp"),
    pytest.param("secure_delete", 0, id="deleted pages are not written once more"),
    pytest.param("cell_size_check", 1, id="damage is noticed early"),
    pytest.param("mmap_size", 0, id="every page is opened"),
    pytest.param("trusted_schema", 0, id="a schema calls no functions"),
    pytest.param("cache_size", -32768, id="a cache of 32 MiB"),
    pytest.param("auto_vacuum", 2, id="pages can be given back"),
    pytest.param("journal_mode", "wal", id="readers see the last COMMIT"),
]


@pytest.mark.parametrize(("name", "wanted"), SETTINGS)
def test_every_setting_is_in_force(tmp_path: Path, name: str, wanted: object) -> None:
    path = str(tmp_path / "m.db")
    database.create(path, KEY).close()
    db = database.connect(path, KEY)
    found = db.pragma(name)
    db.close()
    assert found == wanted


def test_a_statement_is_compiled_once_whatever_it_is_asked_for(tmp_path: Path) -> None:
    """Without the planner's stability guarantee SQLite looks at the values: 5 us more for each SELECT with a range."""
    metadata = database.create(str(tmp_path / "m.db"), KEY)
    compiled: list[int] = []

    def asked_while_compiling(*_what: object) -> int:
        compiled.append(1)
        return apsw.SQLITE_OK

    metadata.db.authorizer = asked_while_compiling
    extents.covering(metadata, 1, 0, 10)
    assert compiled
    compiled.clear()
    for start in range(10):
        extents.covering(metadata, 2 + start, start, start + 1)
    metadata.close()
    assert not compiled


ROOT_ROW = ops.Create(1, b"", 1, 0o40755, 0, 0, 0, b"", 5)


def opened(tmp_path: Path) -> Metadata:
    """With a root directory, in an open transaction."""
    metadata = database.create(str(tmp_path / "m.db"), KEY)
    database.begin(metadata)
    apply(metadata, ROOT_ROW, ops.Address(1, 1, 5000))
    database.write_running(metadata)
    return metadata


def test_what_was_read_is_not_read_again_until_something_changes(tmp_path: Path) -> None:
    metadata = opened(tmp_path)
    asked: list[str] = []
    metadata.db.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: asked.append(event["sql"]))
    for _ in range(2):
        assert entries.find_attributes(metadata, 1, b"absent") is None and entries.find(metadata, 1, b"absent") is None
        assert inodes.get(metadata, 1).mtime_ns == 5
    assert len(asked) == 2
    metadata.run("UPDATE inodes SET mtime_ns = 6 WHERE inode = 1")
    assert inodes.get(metadata, 1).mtime_ns == 6
    metadata.close()


def test_who_only_reads_sees_what_others_change(tmp_path: Path) -> None:
    """Whatever a connection has read outside its own write transaction may be another's to change."""
    metadata = opened(tmp_path)
    metadata.commit()
    reader = database.open_(str(tmp_path / "m.db"), KEY)
    assert inodes.get(reader, 1).mtime_ns == inodes.get(metadata, 1).mtime_ns == 5
    assert entries.find(reader, 1, b"f") is None and entries.find_attributes(reader, 1, b"f") is None
    database.begin(metadata)
    apply(metadata, ops.Create(1, b"f", 2, 0o100644, 0, 0, 0, b"", 7), ops.Address(2, 1, 9000))
    metadata.commit()
    assert inodes.get(reader, 1).mtime_ns == inodes.get(metadata, 1).mtime_ns == 7
    assert entries.find(reader, 1, b"f") == 2
    reader.close()
    metadata.close()


def test_what_was_rolled_back_is_not_remembered(tmp_path: Path) -> None:
    metadata = opened(tmp_path)
    metadata.commit()
    database.begin(metadata)
    apply(metadata, ops.SetAttributes(1, 0o40700, None, None, None, None, 9), ops.Address(2, 1, 9000))
    assert inodes.get(metadata, 1).mode == 0o40700
    database.rollback(metadata)
    assert inodes.get(metadata, 1).mode == 0o40755
    metadata.close()


def test_little_is_remembered(tmp_path: Path) -> None:
    metadata = opened(tmp_path)
    for number in range(3 * database.SEEN_MAX):
        assert entries.find_attributes(metadata, 1, b"%d" % number) is None
    assert len(metadata.seen) <= database.SEEN_MAX + 2
    metadata.close()
