"""SQLite transactions, in both of its journal modes, as an application makes them."""

import os
import sqlite3
from contextlib import closing

from rustfsfs.bench.figures import Measured, Metric
from rustfsfs.bench.job import Job
from rustfsfs.bench.timing import timed

METRICS = (
    Metric("sqlite_wal", "SQLite transactions, WAL", "commits/s"),
    Metric("sqlite_rollback", "SQLite transactions, rollback journal", "commits/s"),
)
MODES = {"sqlite_wal": "WAL", "sqlite_rollback": "DELETE"}


def transactions(job: Job) -> Measured:
    """`transaction_count` commits of one row of 100 bytes each, synchronous = FULL: every commit is synced."""
    for key, mode in MODES.items():
        os.sync()
        path = f"{job.place.root}/{key}.db"
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA journal_mode = {mode}")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, data BLOB)")
            with timed() as timer:
                for number in range(job.scale.transaction_count):
                    with db:
                        db.execute("INSERT INTO rows VALUES (?, ?)", (number, bytes(100)))
        os.unlink(path)
        yield key, job.scale.transaction_count / timer.s
