"""Connections to the database."""

from pathlib import Path

import pytest

from rustfsfs.meta import database

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
