"""Journals to test with, on the power-cut double: short names for what a volume does to one."""

import itertools
import random
from collections.abc import Collection

from rustfsfs import ops
from rustfsfs.journal import recovery
from rustfsfs.journal.journal import Journal
from rustfsfs.journal.recovery import Scan
from tests.crash import nonces
from tests.crash.disk import CrashFiles

KEY, UUID, FOLDER = b"k" * 32, b"u" * 16, "/v/journal"
SEGMENT_BYTES = 8192  # room for 4096 bytes of records
NEARLY_ALL = 3000  # bytes of data: two such records do not fit into one segment

_lives = itertools.count()


def disk() -> CrashFiles:
    files = CrashFiles()
    files.mkdir("/v")
    files.mkdir(FOLDER)
    return files


def scan(files: CrashFiles, *, last_seq: int = 0, watermark: int = 0, skip_seq: int | None = None) -> Scan:
    return recovery.scan(files, FOLDER, key=KEY, uuid=UUID, last_seq=last_seq, watermark=watermark, skip_seq=skip_seq)


def start(
    files: CrashFiles, found: Scan | None = None, *, segment_bytes: int = SEGMENT_BYTES, named: Collection[int] = ()
) -> Journal:
    """A life that goes on behind what was found; the first life of a disk if nothing is said."""
    nonces.begin_life(files)
    return recovery.start(
        files,
        FOLDER,
        scan(files) if found is None else found,
        key=KEY,
        uuid=UUID,
        segment_bytes=segment_bytes,
        random_bytes=random.Random(next(_lives)).randbytes,
        epoch=0,
        named=named,
    )


def append(journal: Journal, op: bytes, data: bytes = b"") -> ops.Address:
    address = journal.next_address(len(op), len(data))
    journal.append(address, op, [data] if data else [])
    return address


def barrier(journal: Journal) -> None:
    """Raises JournalFailed."""
    job = journal.sync_work()
    job.run()
    journal.finish(job)


def found_ops(found: Scan) -> list[bytes | None]:
    return [record.op for record in found.records()]


def since(journal: Journal, seq: int) -> list[bytes | None]:
    return [record.op for record in journal.records_since(seq)]


def path_of(files: CrashFiles, segment: int, incarnation: int = 0) -> str:
    wanted = f"{segment:016x}.{incarnation:04x}."
    return next(f"{FOLDER}/{name}" for name in files.names(FOLDER) if name.startswith(wanted))


def spoil(files: CrashFiles, path: str, position: int, size: int = 1) -> None:
    """Bytes of a file rot."""
    fd = files.open(path, write=True)
    rotten = bytes(byte ^ 0x55 for byte in files.pread(fd, size, position))
    files.pwrite(fd, rotten, position)
    files.sync(fd)
    files.close(fd)


def spoil_op(files: CrashFiles, address: ops.Address) -> None:
    """The op of a record rots; its lengths stay."""
    spoil(files, path_of(files, address.segment), address.data_position - 1)


def drop_dead(journal: Journal, committed_seq: int, named: set[int] | None = None) -> None:
    for segment in journal.droppable(committed_seq, named or set()):
        journal.delete(journal.drop(segment))
