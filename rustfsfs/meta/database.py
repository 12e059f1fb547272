"""Opening SQLite: every page sealed, one writing connection, and the settings DESIGN.md §2 gives.

`Metadata` is the writing connection together with what is kept running beside it: totals that are never summed,
and the state that `COMMIT` writes. The only module that connects.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import apsw

from rustfsfs.errors import DamagedMetadata, DamagedVolume, NoSpace, StoreUnavailable
from rustfsfs.meta import dbapi, schema

SHM_TROUBLE = (apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_SHMMAP)  # the -shm file finds no room: a full disk
PAGE_SIZE = 4096
SQLITE_VERSION = apsw.sqlite_lib_version()
BUSY_MS = 10_000  # how long one connection waits for the other
SHORT_BUSY_MS = 50  # or, with the gate shut, for statements of a few ms
DAMAGE = (apsw.CorruptError, apsw.NotADBError)  # a page that does not open, or is not what it should be
SEEN_MAX = 64  # rows: those of the last few requests
Bindings = Sequence[int | float | str | bytes | None]
Seen = int | tuple[int, bytes]  # an inode, or a name in a directory

FILE_PRAGMAS = f"""
PRAGMA page_size = {PAGE_SIZE};
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
"""  # kept in the file, so set once
PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA temp_store = MEMORY;
PRAGMA secure_delete = OFF;
PRAGMA cell_size_check = ON;
PRAGMA mmap_size = 0;
PRAGMA trusted_schema = OFF;
PRAGMA cache_size = -32768;
"""  # temp_store: names would leak to /var/tmp otherwise (measured)
PACKS_APART = 1 << 32  # more packs than any volume makes


@dataclass(slots=True)
class Running:
    """Numbers kept beside the tables: changed by `apply`, written by COMMIT, read back after a ROLLBACK."""

    last_seq: int = 0  # of the newest op applied
    changed_seq: int = 0  # of the newest that is not only bookkeeping
    epoch: int = 0  # COMMITs so far
    committed_ns: int = 0  # when
    watermark: int = 0  # durable seq known at COMMIT
    inode_limit: int = 2  # numbers below may have been given out
    next_inode: int = 2  # where numbering goes on after a clean stop
    next_chunk: int = 1  # chunk numbers are never given out twice: an old row names the old content or nothing
    next_pack: int = 1  # nor are those of packs: the bucket may still have an object of that name
    clean: int = 0  # 1: this COMMIT was the last of an orderly stop
    restored: int = 0  # 1: older metadata took its place just now; 2: and was committed since, or its index was rebuilt
    restored_packs: int = 0  # packs below this number, that no row names, newer metadata may name: they are kept
    restored_epoch: int = 0  # of that metadata, until the bucket was taken; 0: there is nothing to decide any more
    files: int = 0  # inodes that are not directories
    directories: int = 0
    logical_bytes: int = 0  # mapped bytes of all files
    hot_bytes: int = 0  # plain bytes of hot extents
    unique_bytes: int = 0  # plain bytes of chunks
    stored_bytes: int = 0  # bytes of their frames, all copies
    pack_bytes: int = 0  # bytes of all packs' frames, dead ones too
    doomed_bytes: int = 0  # bytes of dropped packs whose files are still there
    bad_chunks: int = 0  # chunks found damaged, not seen good since
    scrub_begun_ns: int = 0  # as `ops.Scrubbed` says
    scrub_ended_ns: int = 0
    scrub_disk: int = 0
    scrub_pack: int = 0
    scrub_bytes: int = 0
    scrub_found: int = 0
    scrub_repaired: int = 0
    cold_bytes: int = 0  # of pack_bytes: those that are in the bucket only
    object_bytes: int = 0  # of packs in the bucket, as they lie there
    doomed_object_bytes: int = 0  # of dropped packs whose objects are still there
    may_take_over: int = 0  # 1: a person has put this metadata in its place: its next term is behind whoever's

    @property
    def dead_bytes(self) -> int:
        """What nothing needs, and is yet on the disks."""
        return self.pack_bytes - self.stored_bytes + self.doomed_bytes

    def is_spared(self, pack: int) -> bool:
        """May newer metadata than what was restored name it? Then nothing of it goes because no row names it."""
        return bool(self.restored) and pack < self.restored_packs


class _Blind(dict[Seen, Any]):
    """Of a connection that changes nothing: others may, at any time."""

    def __setitem__(self, what: Seen, row: Any) -> None:
        pass


def damaged(exc: apsw.Error) -> DamagedMetadata:
    return DamagedMetadata(f"the metadata is damaged ({exc}); fsck --rebuild-index, or else --restore-metadata, helps")


class Metadata:
    """The database as verbs and `apply` see it. One thread uses it; COMMIT runs elsewhere with the gate shut.

    All statements go through one long-lived cursor and are read to their end at once: an unfinished SELECT would
    hold the WAL, and apsw 3.54 leaks a list entry for every short-lived cursor that overlaps another (measured:
    50 us a statement after 20 000 of them).

    When a disk fails under any statement, a SELECT too, SQLite may throw the whole open transaction away by itself
    (sqlite.org/lang_transaction.html §3), and what follows would be committed statement by statement. So `rolled_back`
    is called at once, to bring it back; if that cannot be, `lost` says why, and no statement answers any more.

    Statements raise NoSpace and StoreUnavailable for what a disk does, DamagedMetadata where a page does not open;
    apsw.Error otherwise.

    `seen` is what was read since the last change: while our write transaction is open nobody else changes anything, and
    the requests of one program ask for the same few rows, as does `apply` for what its verb has just looked at.
    """

    def __init__(self, db: apsw.Connection, path: str, key: bytes) -> None:
        self.db = db
        self.path = path
        self.key = key
        self.running = Running()
        self.in_commit = False  # a worker has the connection; asserts that nobody came past the gate
        self.rolled_back: Callable[[Exception], None] | None = None
        self.lost: str | None = None
        self.is_tiered = False  # has it the tables of a volume with a bucket?
        self.seen: dict[Seen, Any] = _Blind()
        self._cursor = db.cursor()

    def begin(self, *, spills: bool) -> None:
        self.run(f"PRAGMA cache_spill = {'ON' if spills else 'OFF'}")  # SQLite takes it outside a transaction only
        self.run("BEGIN IMMEDIATE")
        self.seen = {}

    def run(self, sql: str, bindings: Bindings = ()) -> None:
        assert not self.in_commit, sql
        self.seen.clear()
        if self.lost is not None:
            raise StoreUnavailable(self.lost)
        try:
            self._cursor.execute(sql, bindings)
        except apsw.Error as exc:
            self._failed(exc)

    def run_many(self, sql: str, bindings: Iterable[Bindings]) -> None:
        assert not self.in_commit, sql
        self.seen.clear()
        if self.lost is not None:
            raise StoreUnavailable(self.lost)
        try:
            self._cursor.executemany(sql, bindings)
        except apsw.Error as exc:
            self._failed(exc)

    def rows(self, sql: str, bindings: Bindings = ()) -> list[tuple[Any, ...]]:
        """Of a SELECT: what changes something is for `run`."""
        assert not self.in_commit, sql
        if len(self.seen) > SEEN_MAX:
            self.seen.clear()
        if self.lost is not None:
            raise StoreUnavailable(self.lost)
        try:
            return self._cursor.execute(sql, bindings).fetchall()
        except apsw.Error as exc:
            self._failed(exc)

    def _failed(self, exc: apsw.Error) -> NoReturn:
        self.seen.clear()
        trouble = trouble_of(exc)
        if trouble is None:
            raise exc
        if self.rolled_back is not None and not self.db.in_transaction:
            self.rolled_back(trouble)
        raise trouble from exc

    def row(self, sql: str, bindings: Bindings = ()) -> tuple[Any, ...] | None:
        """The first row, of a statement that has few."""
        found = self.rows(sql, bindings)
        return found[0] if found else None

    def commit(self) -> None:
        """Blocking: durable on return. For a worker: whoever called it brings back what a failure rolled back."""
        self.in_commit, self.seen = True, _Blind()
        try:
            self._cursor.execute("COMMIT")
        except apsw.Error as exc:
            if (trouble := trouble_of(exc)) is not None:
                raise trouble from exc
            raise
        finally:
            self.in_commit = False

    @contextmanager
    def changed_past_us(self) -> Iterator[None]:
        """Around statements of `db` itself, in the open transaction; their errors are as those of `run`."""
        self.seen.clear()
        try:
            yield
        except apsw.Error as exc:
            self._failed(exc)

    def changed(self) -> int:
        """Rows the last INSERT, UPDATE or DELETE touched."""
        return self.db.changes()

    def pages_written(self) -> int:
        """By COMMIT, since this was asked last."""
        return int(self.db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, True)[0])

    def close(self) -> None:
        """What was not committed is rolled back."""
        self.rolled_back = None
        self._cursor.close()
        self.db.close()


def connect(path: str, key: bytes, *, create: bool = False, vfs: str | None = None) -> apsw.Connection:
    """A connection to a sealed database. Raises DamagedVolume: not ours, or its first pages do not open."""
    assert len(key) == 32, len(key)
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    try:
        db = apsw.Connection(path, flags=flags, vfs=vfs, statementcachesize=200)
        _unlock(db, key)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else the values bound have statements prepared anew each time
        db.set_busy_timeout(BUSY_MS)
        if create:
            db.execute(FILE_PRAGMAS).fetchall()
        db.execute(PRAGMAS).fetchall()  # to the end: the cursor stops at every statement that answers
    except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.IOError) as exc:
        raise DamagedVolume(f"the metadata {path} cannot be opened ({exc}); try fsck --restore-metadata") from exc
    return db


def _unlock(db: apsw.Connection, key: bytes) -> None:
    """`raw:` takes the key as it is: it is random, and the cipher's own derivation would take 30 ms (measured)."""
    db.pragma("cipher", "aegis")
    db.pragma("key", f"raw:{key.hex()}")


def create(path: str, key: bytes, *, vfs: str | None = None) -> Metadata:
    """A new, empty database with its tables, committed; for its owner only. Raises FileExistsError."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))  # -wal and -shm do the same
    db = connect(path, key, create=True, vfs=vfs)
    db.execute("BEGIN IMMEDIATE")
    dbapi.utils(db).executescript(schema.TABLES)
    db.execute(f"PRAGMA user_version = {schema.FORMAT}")
    metadata = Metadata(db, path, key)
    write_running(metadata)
    db.execute("COMMIT")
    return metadata


def open_(path: str, key: bytes, *, vfs: str | None = None) -> Metadata:
    """An existing database, its running numbers read. No transaction is open yet."""
    metadata = Metadata(connect(path, key, vfs=vfs), path, key)
    try:
        read_running(metadata)
    except (apsw.SQLError, DamagedMetadata, StoreUnavailable) as exc:
        metadata.close()
        if not isinstance(exc, apsw.SQLError):
            raise DamagedVolume(f"{path} cannot be read: {exc}") from exc
        raise DamagedVolume(f"the metadata {path} is damaged ({exc}); try fsck --restore-metadata") from exc
    return metadata


def read_running(metadata: Metadata) -> None:
    """Set `running` to what the last COMMIT wrote, in place: others hold the object."""
    metadata.is_tiered = schema.is_tiered(metadata.rows("PRAGMA user_version")[0][0])
    stored = dict(metadata.rows("SELECT name, value FROM state"))
    fresh = Running()
    for item in fields(Running):
        setattr(metadata.running, item.name, stored.get(item.name, getattr(fresh, item.name)))


def write_running(metadata: Metadata) -> None:
    metadata.run_many(
        "INSERT OR REPLACE INTO state VALUES (?, ?)",
        [(item.name, getattr(metadata.running, item.name)) for item in fields(Running)],
    )


def begin(metadata: Metadata, *, spills: bool = False) -> None:
    """Begin a transaction. Unless it `spills`, none of its pages is written before COMMIT, however many there are.

    Epochs are short, and their statements shall not meet a full disk; a replay at opening may be long.
    """
    metadata.begin(spills=spills)


def commit(metadata: Metadata) -> None:
    """COMMIT, durable on return. Blocking; called in a worker with the gate shut. Raises NoSpace, StoreUnavailable."""
    metadata.commit()


def rollback(metadata: Metadata) -> None:
    """Back to the last COMMIT, running numbers too. SQLite may have rolled back by itself already."""
    if metadata.db.in_transaction:
        metadata.run("ROLLBACK")
    read_running(metadata)


def trouble_of(exc: apsw.Error) -> NoSpace | StoreUnavailable | DamagedMetadata | None:
    """What a disk did to the database, as elsewhere; None if it was none of a disk's doing."""
    if isinstance(exc, DAMAGE):
        return damaged(exc)
    if isinstance(exc, apsw.FullError) or getattr(exc, "extendedresult", 0) in SHM_TROUBLE:
        return NoSpace(f"the metadata cannot grow ({exc})")
    if isinstance(exc, apsw.IOError | apsw.CantOpenError):
        return StoreUnavailable(f"the metadata's disk fails ({exc})")
    return None


@contextmanager
def no_space_said() -> Iterator[None]:
    """A full disk under a connection is NoSpace, as elsewhere."""
    try:
        yield
    except apsw.Error as exc:
        trouble = trouble_of(exc)
        if isinstance(trouble, NoSpace):
            raise trouble from exc
        raise


def wal_state(db: apsw.Connection) -> tuple[int, int]:
    """(frames in the WAL, how many of them the database file has already). Changes nothing."""
    frames, done = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    return max(frames, 0), max(done, 0)


def wal_size(db: apsw.Connection) -> int:
    """Bytes of WAL not yet checkpointed away; checkpoints what it can without waiting (PASSIVE)."""
    frames, _done = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    return max(frames, 0) * PAGE_SIZE


def restart_wal(db: apsw.Connection) -> None:
    """Checkpoint all and let the next writer begin the WAL anew. Only while no write transaction is open.

    Raises apsw.BusyError, soon, while a connection reads what an older COMMIT left.
    """
    db.set_busy_timeout(SHORT_BUSY_MS)
    try:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    finally:
        db.set_busy_timeout(BUSY_MS)


def mark_restored(metadata: Metadata, *, newest_epoch: int) -> None:
    """For a snapshot that takes the place of a lost database; durable in its one file on return.

    newest_epoch   that any disk has seen: epochs go on behind it, since a person has decided

    Keeps: no number is given out that a pack has which newer metadata may name, wherever that lies.
    """
    running = metadata.running
    running.restored = running.may_take_over = 1
    running.next_pack += PACKS_APART
    running.restored_packs = running.next_pack
    running.restored_epoch = min(running.restored_epoch or running.epoch, running.epoch)
    running.epoch = max(running.epoch, newest_epoch)
    metadata.run("BEGIN IMMEDIATE")
    write_running(metadata)
    metadata.run("COMMIT")
    settle(metadata)


def settle(metadata: Metadata) -> None:
    """All that was committed lies in the one file, and its WAL is empty. Only while no transaction is open."""
    metadata.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def copied(db: apsw.Connection, temporary: str, key: bytes, *, step: int) -> Iterator[bytes]:
    """A sealed copy of what the connection sees now, as bytes, at most `step` at a time. Blocking.

    By way of the file `temporary`, which is gone afterwards. Raises NoSpace, StoreUnavailable.
    """
    try:
        copy_to(db, temporary, key)
        with open(temporary, "rb") as file:
            while data := file.read(step):
                yield data
    finally:
        remove_files(temporary)


def copy_to(db: apsw.Connection, target: str, key: bytes) -> None:
    """A sealed copy of what the connection sees now, in a new file. Blocking. Raises NoSpace, StoreUnavailable."""
    remove_files(target)
    with _copying(target), closing(apsw.Connection(target)) as made:
        _unlock(made, key)
        with made.backup("main", db, "main") as backup:
            while not backup.done:
                backup.step(1000)


def compact(path: str, key: bytes) -> None:
    """Without the free pages of a database that nobody has open. Cut off, it is void. Blocking.

    Raises NoSpace, StoreUnavailable. Measured, of 97 MiB with a sixth free: 0.05 s and 81 MiB, after 0.25 s for the
    copy. VACUUM INTO: 0.38 s and 61 MiB, but it cannot read what a transaction of ours sees.
    """
    with _copying(path), closing(apsw.Connection(path)) as made:
        _unlock(made, key)
        for pragma in ("synchronous = OFF", "journal_mode = OFF", "incremental_vacuum", "journal_mode = WAL"):
            made.execute(f"PRAGMA {pragma}").fetchall()


@contextmanager
def _copying(target: str) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as exc:
        raise NoSpace(f"no room for a copy of the metadata at {target}") from exc
    except apsw.Error as exc:
        raise StoreUnavailable(f"the metadata could not be copied ({exc})") from exc


def remove_files(path: str) -> None:
    """A database that nobody has open, and what SQLite left beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(path + suffix).unlink(missing_ok=True)
