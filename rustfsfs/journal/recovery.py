"""Reading the journal after a stop, orderly or not: what counts, where it ends, what is damaged (DESIGN.md §2).

Every file is synced first, its pages dropped, and then read, so that what is replayed is what the disk holds. Recovery
writes to no existing file; the segment it begins names the cut, and what lies beyond a named cut never counts again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rustfsfs import ops
from rustfsfs.errors import DamagedData, MachineTrouble
from rustfsfs.journal import layout, segments
from rustfsfs.journal.journal import Journal
from rustfsfs.journal.layout import HEADER_SIZE, Cipher, Header
from rustfsfs.journal.segments import Record, SegmentFile
from rustfsfs.world import Files

NO_TAG = bytes(16)  # before the first record


@dataclass(slots=True)
class Scan:
    """What the journal holds behind `last_seq`. `replay` is contiguous: last_seq + 1, last_seq + 2, ..."""

    files: list[SegmentFile]
    replay: list[tuple[SegmentFile, Record]] = field(default_factory=list)
    last_seq: int = 0  # where replay begins, less one
    cut_seq: int = 0  # the last record that counts
    cut_tag: bytes = NO_TAG
    watermark: int = 0  # greatest durable seq that anything authentic names
    blocked_at: int | None = None  # a durable record that is damaged: nothing behind it can be replayed
    damage: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)  # files without a good header and without a record

    def records(self) -> Iterator[Record]:
        """The records to replay, in order; `op` is None for one that a person let go."""
        for _file, record in self.replay:
            yield record


def scan(
    files: Files,
    folder: str,
    *,
    key: bytes,
    uuid: bytes,
    last_seq: int,
    watermark: int,
    skip_seq: int | None = None,
) -> Scan:
    """Find what counts behind `last_seq`, the seq of the last COMMIT. Changes nothing. Blocking.

    Damage above the watermark is a torn tail: cut, and noted. Damage below: a bad piece is noted (it reads EIO), a bad
    op sets `blocked_at`, unless it is `skip_seq`, which a person said to go on without. Raises MachineTrouble.
    """
    found = Scan(files=[], last_seq=last_seq, watermark=watermark)
    _open_all(files, folder, found, key=key, uuid=uuid)
    found.watermark = max([watermark, *(file.header.watermark for file in found.files)])
    records, broken = _collect(files, found, last_seq)
    if records:
        found.watermark = max(found.watermark, *(record.watermark for _file, record in records.values()))
    _choose(files, found, records, broken, skip_seq)
    return found


def _open_all(files: Files, folder: str, found: Scan, *, key: bytes, uuid: bytes) -> None:
    """Open every segment file, oldest first; read its header, or do without: the name gives the key."""
    names = sorted(name for text in files.names(folder) if (name := layout.parse_name(text)) is not None)
    for name in names:
        path = f"{folder}/{name}"
        try:
            fd = files.open(path)
            files.sync(fd)
            files.forget_pages(fd)
            block = files.pread(fd, HEADER_SIZE, 0)
        except OSError as exc:
            raise MachineTrouble(f"the journal {path} cannot be read ({exc.strerror}); check the disk") from exc
        cipher = Cipher(key, uuid, name)
        try:
            header = layout.decode_header(block, key, uuid, name)
        except DamagedData as exc:
            header = Header(first_seq=0, cut=None, from_position=HEADER_SIZE, watermark=0, epoch=0)
            if not _has_records(files, fd):
                files.close(fd)
                found.unusable.append(path)
                continue
            found.damage.append(f"{path}: {exc}; going on without its header")
        found.files.append(SegmentFile(name, path, fd, cipher, header))


def _has_records(files: Files, fd: int) -> bool:
    return any(files.pread(fd, 16, HEADER_SIZE))


def _collect(
    files: Files, found: Scan, last_seq: int
) -> tuple[dict[int, tuple[SegmentFile, Record]], list[tuple[SegmentFile, str]]]:
    """Every authentic record behind `last_seq` that no cut makes void, by seq; and where files were damaged."""
    records: dict[int, tuple[SegmentFile, Record]] = {}
    broken: list[tuple[SegmentFile, str]] = []
    firsts = [_first_seq(files, file) for file in found.files]
    for index, file in enumerate(found.files):
        later = found.files[index + 1 :]
        void_above = min((other.header.cut[0] for other in later if other.header.cut), default=1 << 62)
        limit = min(
            (other.header.from_position for other in later if other.name.segment == file.name.segment), default=1 << 62
        )
        following = [first for first in firsts[index + 1 :] if first]
        if following and min(following) <= last_seq + 1 and firsts[index] <= last_seq:
            file.last_seq = min(following) - 1  # all of it is committed: it is kept for its data only
            if file.last_seq <= last_seq:
                continue
        file.last_seq = 0
        end = min(limit, files.size(file.path))
        for record in segments.walk(files, file, max(HEADER_SIZE, file.header.from_position), end):
            if isinstance(record, DamagedData):
                broken.append((file, str(record)))
                continue
            seq = record.address.seq
            if seq > void_above:
                break
            file.last_seq = max(file.last_seq, seq)
            file.end = record.position + 1
            if seq > last_seq:
                records[seq] = (file, record)
    return records, broken


def _first_seq(files: Files, file: SegmentFile) -> int:
    """Of the first record in a file; 0 if there is none that opens."""
    try:
        record = segments.read_record(files, file, max(HEADER_SIZE, file.header.from_position))
    except DamagedData:
        return file.header.first_seq
    return 0 if record is None else record.address.seq


def _choose(
    files: Files,
    found: Scan,
    records: dict[int, tuple[SegmentFile, Record]],
    broken: Sequence[tuple[SegmentFile, str]],
    skip_seq: int | None,
) -> None:
    """The longest run from last_seq + 1 on, and why it ends."""
    seq = found.last_seq
    found.cut_seq, found.cut_tag = seq, _committed_tag(found, seq)
    while True:
        seq += 1
        if seq in records:
            file, record = records[seq]
            bad_piece = segments.first_bad_piece(files, file, record) if record.data_size else None
            if bad_piece is not None and seq > found.watermark:
                found.damage.append(f"record {seq}: its data is torn; the journal ends before it")
                break
            if bad_piece is not None:
                found.damage.append(f"record {seq}: piece {bad_piece} of its data is damaged; that range reads EIO")
            found.replay.append((file, record))
            found.cut_seq, found.cut_tag = seq, record.tag
        elif seq == skip_seq and any(other > seq for other in records):
            found.damage.append(f"record {seq} is damaged and left out, as asked")
            nothing = Record(ops.Address(seq, 0, 0), None, 0, 0, 0, NO_TAG)
            found.replay.append((found.files[-1], nothing))
            found.cut_seq = seq
        else:
            break
    if seq <= found.watermark:
        found.blocked_at = seq
    for file, why in broken:
        if found.blocked_at is not None:
            found.damage.append(f"{file.path}: {why}")
        else:
            found.damage.append(f"{file.path}: {why}, behind record {found.cut_seq}: a torn tail, cut")


def _committed_tag(found: Scan, seq: int) -> bytes:
    """The tag of a record that is committed already is not needed to tell it from others: its seq is enough."""
    for file in found.files:
        if file.header.cut is not None and file.header.cut[0] == seq:
            return file.header.cut[1]
    return NO_TAG


def start(
    files: Files,
    folder: str,
    found: Scan,
    *,
    key: bytes,
    uuid: bytes,
    segment_bytes: int,
    random_bytes: Callable[[int], bytes],
    epoch: int,
) -> Journal:
    """A journal that goes on behind the cut, in a new segment whose header names it; durable on return.

    Old segments stay, readable, until they can be dropped. Raises NoSpace.
    """
    for path in found.unusable:
        files.unlink(path)
    journal = _journal(
        files, folder, found, key=key, uuid=uuid, segment_bytes=segment_bytes, random_bytes=random_bytes, epoch=epoch
    )
    journal.begin()
    return journal


def open_read_only(files: Files, folder: str, found: Scan, *, key: bytes, uuid: bytes) -> Journal:
    """A journal to read hot data from; it never appends."""
    journal = _journal(
        files, folder, found, key=key, uuid=uuid, segment_bytes=0, random_bytes=_no_randomness, epoch=0
    )
    journal.failed = True
    return journal


def _no_randomness(size: int) -> bytes:
    raise AssertionError("a journal that is only read draws no nonces")


def _journal(
    files: Files,
    folder: str,
    found: Scan,
    *,
    key: bytes,
    uuid: bytes,
    segment_bytes: int,
    random_bytes: Callable[[int], bytes],
    epoch: int,
) -> Journal:
    for file in found.files:
        file.failed = True  # written by an earlier life: never again
    return Journal(
        files,
        folder,
        key=key,
        uuid=uuid,
        segment_bytes=segment_bytes,
        random_bytes=random_bytes,
        seq=found.cut_seq,
        tag=found.cut_tag,
        epoch=epoch,
        old=found.files,
    )

