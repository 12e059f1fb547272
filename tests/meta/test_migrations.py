"""Steps from older formats to today's: which are needed, and all or none of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils

from rustfsfs.errors import DamagedVolume, NewerFormat, OpeningError
from rustfsfs.meta import database, migrations, objects
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.migrations import MIGRATIONS, TODAYS, Migration, format_of
from tests.meta import older


@pytest.fixture
def metadata(tmp_path: Path) -> Iterator[Metadata]:
    made = database.create(str(tmp_path / "m.db"), b"k" * 32)
    yield made
    made.close()


def schema_of(metadata: Metadata) -> dict[str, list[str]]:
    names = [name for (name,) in metadata.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {name: sorted(row[1] for row in metadata.rows(f"PRAGMA table_info({name})")) for name in names}


@pytest.mark.parametrize("version", TODAYS)
def test_todays_formats_need_nothing(version: int) -> None:
    assert migrations.needed(version) == []


@pytest.mark.parametrize(
    ("version", "kind", "says"),
    [
        pytest.param(9, NewerFormat, "has format 9, this rustfsfs knows 2; install a newer", id="newer"),
        pytest.param(0, DamagedVolume, "has format 0, which no rustfsfs ever wrote", id="never written"),
    ],
)
def test_what_cannot_be_is_refused_and_says_both_numbers(version: int, kind: type[OpeningError], says: str) -> None:
    with pytest.raises(kind, match=says):
        migrations.needed(version)


@pytest.mark.parametrize("generations", [1, 2])
@pytest.mark.parametrize("is_tiered", [False, True])
def test_all_steps_in_their_order(metadata: Metadata, generations: int, is_tiered: bool) -> None:
    if is_tiered:
        objects.attach(metadata)
    wanted = schema_of(metadata)
    metadata.run("INSERT INTO overlaid VALUES (7, 5000000000)")
    version = older.put_back(metadata, generations=generations)
    with older.known():
        metadata.run("BEGIN IMMEDIATE")
        migrations.run(metadata)
        metadata.run("COMMIT")
    assert version < 1 and format_of(metadata) == TODAYS[is_tiered] and metadata.is_tiered == is_tiered
    assert schema_of(metadata) == wanted
    assert metadata.rows("SELECT since_ns FROM overlaid") == [(5000000000,)]


def test_a_step_that_fails_leaves_the_older_one_whole(metadata: Metadata) -> None:
    def broken(db: sqlite_utils.Database) -> None:
        older.draining(db)
        raise ZeroDivisionError

    version = older.put_back(metadata)
    before = schema_of(metadata)
    MIGRATIONS[version] = Migration(version + 2, broken)
    try:
        metadata.run("BEGIN IMMEDIATE")
        with pytest.raises(ZeroDivisionError):
            migrations.run(metadata)
        metadata.run("ROLLBACK")
    finally:
        del MIGRATIONS[version]
    assert format_of(metadata) == version and schema_of(metadata) == before
