"""Formats that never were, older than any released: databases are put back to them, and brought up by steps as later
releases will have them.

-1 and 0 have no `disks.draining`; -3 and -2 have seconds in `overlaid` besides.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlite_utils

from rustfsfs.meta import migrations
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.migrations import MIGRATIONS, Migration, format_of


def draining(db: sqlite_utils.Database) -> None:
    db["disks"].add_column("draining", int, not_null_default=0)  # type: ignore[union-attr]


def nanoseconds(db: sqlite_utils.Database) -> None:
    db["overlaid"].transform(rename={"since": "since_ns"})  # type: ignore[union-attr]
    db.execute("UPDATE overlaid SET since_ns = since_ns * 1000000000")


STEPS = {-1: draining, 0: draining, -3: nanoseconds, -2: nanoseconds}


@contextmanager
def known() -> Iterator[None]:
    """They are in the registry for as long as the block."""
    assert not set(STEPS) & set(MIGRATIONS)
    MIGRATIONS.update({version: Migration(version + 2, step) for version, step in STEPS.items()})
    try:
        yield
    finally:
        for version in STEPS:
            del MIGRATIONS[version]


def put_back(metadata: Metadata, *, generations: int = 1) -> int:
    """A database of today's as an older rustfsfs would have left it; returns its format."""
    version = format_of(metadata) - 2 * generations
    metadata.run("BEGIN IMMEDIATE")
    metadata.run("ALTER TABLE disks DROP COLUMN draining")
    if generations == 2:
        metadata.run("ALTER TABLE overlaid RENAME COLUMN since_ns TO since")
        metadata.run("UPDATE overlaid SET since = since / 1000000000")
    metadata.run(f"PRAGMA user_version = {version}")
    metadata.run("COMMIT")
    assert max(migrations.TODAYS) - version >= 2
    return version
