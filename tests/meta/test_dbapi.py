"""sqlite-utils on a sealed connection: what schema, migrations and reports need of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils

from rustfsfs.meta import database
from rustfsfs.meta.dbapi import utils
from rustfsfs.meta.schema import FORMAT


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite_utils.Database]:
    metadata = database.create(str(tmp_path / "m.db"), b"k" * 32)
    yield utils(metadata.db)
    metadata.close()


def test_the_schema_is_seen(db: sqlite_utils.Database) -> None:
    assert {"inodes", "entries", "extents", "chunks"} <= set(db.table_names())
    assert [column.name for column in db["orphans"].columns] == ["inode"]
    assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_rows_go_in_and_come_out_as_dictionaries(db: sqlite_utils.Database) -> None:
    table = db["report"]
    table.insert({"name": "a", "bytes": 1})  # type: ignore[union-attr]
    table.insert_all([{"name": "b", "bytes": 2}, {"name": "c", "bytes": 3}])  # type: ignore[union-attr]
    assert list(db.query("SELECT name, sum(bytes) AS total FROM report GROUP BY 1 ORDER BY 1")) == [
        {"name": "a", "total": 1},
        {"name": "b", "total": 2},
        {"name": "c", "total": 3},
    ]
    assert table.count == 3


def test_a_migration_changes_a_table_and_keeps_its_rows(db: sqlite_utils.Database) -> None:
    db["old"].insert({"id": 1, "size": "12"}, pk="id")  # type: ignore[union-attr]
    db["old"].transform(types={"size": int}, rename={"size": "size_bytes"})  # type: ignore[union-attr]
    assert list(db["old"].rows) == [{"id": 1, "size_bytes": 12}]


def test_a_failed_migration_leaves_nothing(db: sqlite_utils.Database) -> None:
    def broken() -> None:
        with db.conn:
            db.conn.execute("BEGIN")
            db.conn.execute("CREATE TABLE half (x)")
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        broken()
    assert "half" not in db.table_names()
