"""Commits numbered transactions to a SQLite database until it fails, and says on stdout which: a process of its own.

python -m tests.long.apps.sqlite_writer DATABASE JOURNAL_MODE SYNCHRONOUS WRITER
"""

import hashlib
import random
import sqlite3
import sys

BUSY_S = 60
SIZES = [10, 200, 3000, 20_000]  # bytes of a row: some take overflow pages
SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (writer INTEGER, number INTEGER, part INTEGER, data BLOB, digest TEXT,
    PRIMARY KEY (writer, number, part));
CREATE INDEX IF NOT EXISTS digests ON rows (digest);
CREATE TABLE IF NOT EXISTS newest (writer INTEGER PRIMARY KEY, number INTEGER);
"""


def digest_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def parts_of(number: int) -> int:
    """The rows that a transaction adds."""
    return 1 + number % 4


def write(path: str, mode: str, synchronous: str, writer: int) -> None:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA cache_size = 20")  # pages: dirty ones reach the file before the commit
    db.execute("PRAGMA wal_autocheckpoint = 60")
    found = db.execute("SELECT number FROM newest WHERE writer = ?", (writer,)).fetchone()
    number = found[0] + 1 if found else 1
    draw = random.Random(f"{writer} {number}")
    while True:
        db.execute("BEGIN IMMEDIATE")
        for part in range(parts_of(number)):
            data = draw.randbytes(draw.choice(SIZES))
            db.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", (writer, number, part, data, digest_of(data)))
        if number % 7 == 0 and draw.random() < 0.5:
            db.execute("ROLLBACK")  # and once more
            continue
        db.execute("INSERT OR REPLACE INTO newest VALUES (?, ?)", (writer, number))
        db.execute("COMMIT")
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
