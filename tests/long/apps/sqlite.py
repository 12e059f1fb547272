"""SQLite under SIGKILL of the daemon, in WAL and rollback modes: whole, and with every acknowledged transaction.

Two writers and a reader share a database. Nothing acknowledged is lost by SIGKILL, so synchronous = OFF has to do too.
"""

import sqlite3
import sys
import time
from pathlib import Path

from tests.long.apps.place import Place, end, ran, start
from tests.long.apps.sqlite_writer import SCHEMA, digest_of, parts_of

PROGRAMS = ("sqlite3",)
MODES = ("WAL", "DELETE", "TRUNCATE", "PERSIST")
SYNCHRONOUS = ("FULL", "OFF")
WRITERS = (1, 2)
ACKNOWLEDGED_MIN = 4  # by each writer, before a kill counts
READY_S_MAX = 60.0
ENDS_S_MAX = 60.0  # a writer whose mount is gone


def cover(place: Place) -> dict[str, int]:
    kills = transactions = 0
    for mode in MODES:
        database = place.folder(mode) / "database"
        ran("sqlite3", database, f"PRAGMA page_size = 4096; {SCHEMA}")
        for synchronous in SYNCHRONOUS:
            transactions += one_kill(place, database, mode, synchronous)
            kills += 1
    return {"kills": kills, "transactions": transactions}


def one_kill(place: Place, database: Path, mode: str, synchronous: str) -> int:
    """The number of transactions acknowledged in this life."""
    notes = {writer: place.scratch / f"{mode}-{writer}" for writer in WRITERS}  # each goes on where it was
    before = {writer: acknowledged(note) for writer, note in notes.items()}
    command: list[str | Path] = [sys.executable, "-m", "tests.long.apps.sqlite_writer", database, mode, synchronous]
    children = [start(*command, str(writer), output=note) for writer, note in notes.items()]
    children.append(start("sqlite3", database, reading(), output=place.scratch / "reader"))
    try:
        wait_for_transactions(notes, before)
        time.sleep(place.draw.random() * 1.5)
        place.mounted.kill()
        for child in children:
            child.wait(ENDS_S_MAX)
    finally:
        for child in children:
            end(child)
    place.mount()
    assert (integrity := ran("sqlite3", database, "PRAGMA integrity_check").strip()) == "ok", integrity
    for writer, note in notes.items():
        trouble = missing(database, writer, acknowledged(note))
        assert trouble is None, f"{mode}, synchronous = {synchronous}: {trouble}"
    return sum(acknowledged(note) - before[writer] for writer, note in notes.items())


def wait_for_transactions(notes: dict[int, Path], before: dict[int, int]) -> None:
    deadline_s = time.monotonic() + READY_S_MAX
    while any(acknowledged(note) < before[writer] + ACKNOWLEDGED_MIN for writer, note in notes.items()):
        told = "; ".join(note.read_text()[-300:] for note in notes.values())
        assert time.monotonic() < deadline_s, f"the writers do not get on: {told}"
        time.sleep(0.05)


def reading() -> str:
    return "PRAGMA busy_timeout = 60000; " + "SELECT count(*), sum(length(data)) FROM rows; " * 500


def acknowledged(note: Path) -> int:
    """The newest number a writer has said; 0 if none. What follows (an error message) is no number."""
    numbers = [line for line in note.read_text().splitlines() if line.isdigit()] if note.exists() else []
    return int(numbers[-1]) if numbers else 0


def missing(database: Path, writer: int, said: int) -> str | None:
    """What is not as the writer was told, or None. One transaction more may have been committed than it could say."""
    with sqlite3.connect(database) as db:
        rows = db.execute(
            "SELECT number, data, digest FROM rows WHERE writer = ? ORDER BY number", (writer,)
        ).fetchall()
        newest = db.execute("SELECT number FROM newest WHERE writer = ?", (writer,)).fetchone()[0]
    db.close()
    if newest not in (said, said + 1):
        return f"writer {writer} was told of {said}, and {newest} is the newest"
    if [row[0] for row in rows] != [number for number in range(1, newest + 1) for _ in range(parts_of(number))]:
        return f"writer {writer}: rows are missing or too many, among {len(rows)}"
    if any(digest_of(data) != digest for _number, data, digest in rows):
        return f"writer {writer}: a row holds other bytes"
    return None
