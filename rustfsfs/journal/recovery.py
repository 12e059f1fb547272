"""Reading the journal after a stop, orderly or not: what counts, where it ends, what is damaged (DESIGN.md §2).

Every file is synced first, its pages dropped, and then read, so that what is replayed is what the disk holds. Recovery
writes to no existing file; the segment it begins names the cut, and what lies beyond a named cut never counts again.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from rustfsfs import ops
from rustfsfs.errors import DamagedData, MachineTrouble
from rustfsfs.journal import layout, segments
from rustfsfs.journal.journal import Journal
from rustfsfs.journal.layout import HEADER_SIZE, Cipher, Header
from rustfsfs.journal.segments import Record, SegmentFile
from rustfsfs.world import Files

NO_TAG = bytes(16)  # before the first record
NO_CUT = 1 << 62


@dataclass(slots=True)
class Scan:
    """What the journal holds behind `last_seq`. `replay` is contiguous: last_seq + 1, last_seq + 2, ..."""

    files: list[SegmentFile]
    replay: list[Record] = field(default_factory=list)  # `op` is None for one that a person let go
    last_seq: int = 0  # where replay begins, less one
    cut_seq: int = 0  # the last record that counts
    cut_tag: bytes = NO_TAG
    watermark: int = 0  # greatest durable seq that anything authentic names
    blocked_at: int | None = None  # a durable record that is damaged: nothing behind it can be replayed
    damage: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)  # files without a good header and without a record

    def records(self) -> Iterator[Record]:
        """The records to replay, in order."""
        yield from self.replay


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
    op sets `blocked_at`. `skip_seq`: a person said to go on without the damaged ones up to it. Raises MachineTrouble.
    """
    found = Scan(files=[], last_seq=last_seq, watermark=watermark)
    _open_all(files, folder, found, key=key, uuid=uuid)
    records, broken = _collect(files, found, last_seq)
    found.watermark = max([watermark, *_watermarks(files, found)])
    if records:
        found.watermark = max(found.watermark, *(record.watermark for _file, record in records.values()))
    _choose(files, found, records, broken, skip_seq or 0)
    for file in found.files:
        file.last_seq = min(file.last_seq, found.cut_seq)
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
            block = segments.read(files, fd, HEADER_SIZE, 0)
        except OSError as exc:
            raise MachineTrouble(f"the journal {path} cannot be read ({exc.strerror}); check the disk") from exc
        cipher = Cipher(key, uuid, name)
        try:
            header = layout.decode_header(block, key, uuid, name)
        except DamagedData as exc:
            header = Header(first_seq=0, cut=None, from_position=HEADER_SIZE, watermark=0, epoch=0)
            start = segments.first_position(files, SegmentFile(name, path, fd, cipher, header), files.size(path))
            if start is None:
                files.close(fd)
                found.unusable.append(path)
                continue
            header = msgspec.structs.replace(header, from_position=start)
            found.damage.append(f"{path}: {exc}; going on without its header")
        found.files.append(SegmentFile(name, path, fd, cipher, header))


def _collect(
    files: Files, found: Scan, last_seq: int
) -> tuple[dict[int, tuple[SegmentFile, Record]], list[tuple[SegmentFile, str]]]:
    """Every authentic record behind `last_seq` that no cut makes void, by seq; and where files were damaged."""
    records: dict[int, tuple[SegmentFile, Record]] = {}
    broken: list[tuple[SegmentFile, str]] = []
    firsts = [_first_seq(files, file) for file in found.files]
    before = 0
    for index, file in enumerate(found.files):
        void_above = _void_above(found.files, firsts, index)
        if void_above <= last_seq:
            before = file.last_seq = void_above  # what counts of it is committed: it is kept for its data only
            continue
        for record in segments.walk(files, file, file.header.from_position, _limit(files, found, index), seq=before):
            if isinstance(record, DamagedData):
                broken.append((file, str(record)))
                continue
            seq = record.address.seq
            if seq > void_above:
                break
            before = file.last_seq = seq
            file.end = segments.behind(record)
            if seq > last_seq:
                records[seq] = (file, record)
    return records, broken


def _watermarks(files: Files, found: Scan) -> Iterator[int]:
    """What each header knows to be durable, of what still counts: a seq beyond a cut was given to another record."""
    firsts = [_first_seq(files, file) for file in found.files]
    for index, file in enumerate(found.files):
        yield min(file.header.watermark, _void_above(found.files, firsts, index))


def _void_above(found: Sequence[SegmentFile], firsts: Sequence[int], index: int) -> int:
    """The greatest seq that can count in a file: before every cut made later, and before each later file's first."""
    cuts = [other.header.cut for other in found if other.header.cut is not None]
    above = [cut.seq for cut in cuts if found[index].name.segment < cut.segment]
    above += [first - 1 for first in firsts[index + 1 :] if first]
    return min(above, default=NO_CUT)


def _limit(files: Files, found: Scan, index: int) -> int:
    """Where the records of a file end at the latest: there the next incarnation took over."""
    file = found.files[index]
    later = [other for other in found.files[index + 1 :] if other.name.segment == file.name.segment]
    starts = [other.header.from_position for other in later if other.name.incarnation > file.name.incarnation]
    return min([*starts, files.size(file.path)])


def _first_seq(files: Files, file: SegmentFile) -> int:
    """Of the first record in a file; 0 if there is none that opens."""
    try:
        record = segments.read_record(files, file, file.header.from_position)
    except DamagedData:
        return file.header.first_seq
    return 0 if record is None else record.address.seq


def _choose(
    files: Files,
    found: Scan,
    records: dict[int, tuple[SegmentFile, Record]],
    broken: Sequence[tuple[SegmentFile, str]],
    skip_seq: int,
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
            found.replay.append(record)
            found.cut_seq, found.cut_tag = seq, record.tag
        elif seq <= min(skip_seq, found.watermark):
            found.damage.append(f"record {seq} is damaged and left out, as asked")
            found.replay.append(Record(ops.Address(seq, 0, 0), None, 0, 0, 0, NO_TAG))
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
        if file.header.cut is not None and file.header.cut.seq == seq:
            return file.header.cut.tag
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
    named: Collection[int] = (),
) -> Journal:
    """A journal that goes on behind the cut, in a new segment whose header names it; durable on return.

    Old segments stay, readable, until they can be dropped. `named`: those that metadata and its snapshots name, so that
    none of them goes, nor a lost file's number is used for another. Raises NoSpace.
    """
    number = max([0, *named, *(file.name.segment for file in found.files)])
    for path in found.unusable:
        files.unlink(path)
    _drop_spare(files, found, named)
    journal = _journal(
        files,
        folder,
        found,
        key=key,
        uuid=uuid,
        segment_bytes=segment_bytes,
        random_bytes=random_bytes,
        epoch=epoch,
        number=number,
    )
    try:
        journal.begin()
    except BaseException:
        journal.close()
        raise
    return journal


def _drop_spare(files: Files, found: Scan, named: Collection[int]) -> None:
    """Segments that were prepared and never used go first: on a full disk their room is what recovery needs.

    Keeps: of the newest cut, one header that names it; whatever rows name, and whatever is damaged rather than empty:
    the data of a record opens without its op.
    """
    cuts = [(file.header.cut.segment, file.last_seq > 0, file.name) for file in found.files if file.header.cut]
    keeper = max(cuts, default=(0, False, None))[-1]
    for file in list(found.files):
        if file.name.segment not in named and file.name != keeper and file.header.cut and _is_unused(files, file):
            found.files.remove(file)
            files.close(file.fd)
            files.unlink(file.path)


def _is_unused(files: Files, file: SegmentFile) -> bool:
    """Not one record was ever begun in it, however it looks now."""
    return segments.first_position(files, file, files.size(file.path)) is None


def open_read_only(files: Files, folder: str, found: Scan, *, key: bytes, uuid: bytes) -> Journal:
    """A journal to read hot data from; it never appends."""
    journal = _journal(
        files, folder, found, key=key, uuid=uuid, segment_bytes=0, random_bytes=_no_randomness, epoch=0, number=0
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
    number: int,
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
        number=number,
        old=found.files,
    )
