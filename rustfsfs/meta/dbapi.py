"""A thin DB-API face over apsw, so that sqlite-utils works on a sealed connection: schema, migrations, reports.

The hot path calls apsw directly. What sqlite-utils needs beyond apsw's cursors (measured on 4.2): `lastrowid`, and a
`description` that is still there when the rows have been read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    import sqlite_utils

Parameters = Sequence[Any] | Mapping[str, Any]


class Cursor:
    """PEP 249's cursor, as far as sqlite-utils uses it. The rows are read at once: no statement stays open."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.lastrowid: int | None = None
        self.rowcount = -1

    def execute(self, sql: str, parameters: Parameters = ()) -> "Cursor":
        """Raises apsw.Error."""
        cursor = self._db.cursor()
        names: list[tuple[str, ...]] = []

        def described(at: apsw.Cursor, statement: str, bindings: object) -> bool:
            names[:] = [column[:1] for column in at.get_description()]
            return True

        cursor.exec_trace = described
        before = self._db.total_changes()
        self._rows = iter(cursor.execute(sql, parameters).fetchall())
        cursor.close()
        self.description = tuple((name, *[None] * 6) for (name,) in names) or None
        self.lastrowid = self._db.last_insert_rowid()
        self.rowcount = self._db.total_changes() - before
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def close(self) -> None:
        self._rows = iter(())


class Connection:
    """PEP 249's connection over one of apsw's. Transactions are begun by hand, as everywhere in `meta`."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.isolation_level: str | None = None  # no transaction is begun behind our back

    def cursor(self) -> Cursor:
        return Cursor(self._db)

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> Cursor:
        self._db.executemany(sql, rows)
        return self.cursor()

    def executescript(self, sql: str) -> Cursor:
        return self.execute(sql)

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    @property
    def total_changes(self) -> int:
        return self._db.total_changes()

    def commit(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rollback() if kind else self.commit()

    def close(self) -> None:
        """The connection belongs to `meta.database`, which closes it."""


def utils(db: apsw.Connection) -> "sqlite_utils.Database":
    """sqlite-utils on a sealed connection."""
    import sqlite_utils  # here: it takes a fifth of the time in which a mount starts, and few need it

    connection: Any = Connection(db)
    return sqlite_utils.Database(connection, execute_plugins=False, recursive_triggers=False)
