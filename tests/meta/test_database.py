"""Connections to the database."""

from pathlib import Path

import apsw
import pytest

from rustfsfs.meta import database, extents

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
