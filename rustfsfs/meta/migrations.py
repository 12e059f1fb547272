"""From the tables of older formats to today's: a step for each format that was released and is no longer written.

A format is the number in `user_version`; there are two of each kind of tables: odd without a bucket, and the even one
behind it with (`schema`). So a step leads from odd to odd, or from even to even. None is here yet: 1 and 2 are all
there ever were.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from rustfsfs.errors import DamagedVolume, NewerFormat
from rustfsfs.meta import dbapi, schema
from rustfsfs.meta.database import Metadata

if TYPE_CHECKING:
    import sqlite_utils

TODAYS = (schema.FORMAT, schema.FORMAT_TIERED)


class Migration(NamedTuple):
    to: int
    change: "Callable[[sqlite_utils.Database], None]"  # tables and rows; it neither begins nor ends a transaction


MIGRATIONS: dict[int, Migration] = {}  # by the format it begins with


def format_of(metadata: Metadata) -> int:
    return int(metadata.rows("PRAGMA user_version")[0][0])


def needed(version: int) -> list[Migration]:
    """The steps from a format to today's, none for today's own. Raises NewerFormat, DamagedVolume (no such format)."""
    if version > max(TODAYS):
        raise NewerFormat(
            f"the metadata has format {version}, this rustfsfs knows {max(TODAYS)}; install a newer rustfsfs"
        )
    steps: list[Migration] = []
    at = version
    while at not in TODAYS:
        if at not in MIGRATIONS:
            raise DamagedVolume(
                f"the metadata has format {version}, which no rustfsfs ever wrote: it is damaged;"
                " fsck --restore-metadata helps"
            )
        steps.append(MIGRATIONS[at])
        assert steps[-1].to > at and (steps[-1].to - at) % 2 == 0, (at, steps[-1].to)
        at = steps[-1].to
    return steps


def run(metadata: Metadata) -> None:
    """All steps, inside the transaction that is open: with its COMMIT the database is of today's format.

    Nothing happens to one that is. Raises NewerFormat, DamagedVolume, DamagedMetadata, NoSpace, StoreUnavailable.
    """
    for step in needed(format_of(metadata)):
        with metadata.changed_past_us():
            step.change(dbapi.utils(metadata.db))
        assert metadata.db.in_transaction, "a step of a migration must not end the transaction"
        metadata.run(f"PRAGMA user_version = {step.to}")
    metadata.is_tiered = schema.is_tiered(format_of(metadata))
