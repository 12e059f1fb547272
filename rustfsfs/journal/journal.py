"""The journal of a running volume: append, make durable, read back, prepare and drop segments.

One thread appends (trio's). `read*`, `prepare` and `SyncJob.run` may run in workers at the same time.
"""

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from rustfsfs import ops
from rustfsfs.content.aead import NONCE_SIZE, TAG_SIZE
from rustfsfs.errors import DamagedData, JournalFailed, NoSpace, StoreUnavailable
from rustfsfs.journal import layout, segments
from rustfsfs.journal.buffers import Buffers
from rustfsfs.journal.layout import HEADER_SIZE, PREFIX, Cut, Header, SegmentName
from rustfsfs.journal.segments import Record, SegmentFile
from rustfsfs.units import KIB, PIECE_SIZE, SegmentNo
from rustfsfs.world import Files

log = logging.getLogger("rustfsfs")
PREPARED = 2  # segments that exist beforehand, so that an fsync is one fdatasync (DESIGN.md §2)
AHEAD_ZEROS = bytes(64 * KIB)  # as much as 15 fsyncs of 4 KiB take


class Held(NamedTuple):
    """A record above the watermark, kept so that it can be written to a new file (I10)."""

    seq: int
    file: SegmentFile
    position: int
    op_size: int
    data_size: int
    sealed: memoryview | bytes  # a memoryview is of `Buffers`


class SyncJob:
    """One group sync: every unsynced file, as of when it was made. `run` blocks and may run in a worker."""

    def __init__(self, files: Files, target_seq: int, appended_bytes: int, unsynced: Sequence[SegmentFile]) -> None:
        self._files = files
        self.target_seq = target_seq
        self.appended_bytes = appended_bytes
        self.unsynced = tuple(unsynced)
        self.failed: list[SegmentFile] = []
        self.trouble: OSError | None = None

    def run(self) -> None:
        """fdatasync each file. Errors are kept, not raised: `Journal.finish` deals with them."""
        for file in self.unsynced:
            try:
                self._files.sync(file.fd)
            except OSError as exc:
                self.failed.append(file)
                self.trouble = exc


class Journal:
    """See the module. Keeps: seqs have no gaps; a failed file is never written or synced again; I10."""

    def __init__(
        self,
        files: Files,
        folder: str,
        *,
        key: bytes,
        uuid: bytes,
        segment_bytes: int,
        random_bytes: Callable[[int], bytes],
        seq: int,
        tag: bytes,
        epoch: int,
        number: int,
        old: Sequence[SegmentFile],
    ) -> None:
        """`seq`, `tag`: of the last good record; `number`: of the last segment; `old`: the files. See `recovery`."""
        self._files = files
        self._folder = folder
        self._key = key
        self._uuid = uuid
        self._segment_bytes = segment_bytes
        self._random_bytes = random_bytes
        self._epoch = epoch
        self._lock = threading.Lock()  # of preparing
        self._prepared: deque[SegmentFile] = deque()
        self._segments: dict[int, list[SegmentFile]] = {}  # number -> incarnations, oldest first
        self._number = number
        self._cuts: list[Cut] = []  # of this life
        for file in sorted(old, key=lambda f: f.name):
            self._segments.setdefault(file.name.segment, []).append(file)
        self._current: SegmentFile | None = None
        self._unsynced: dict[SegmentFile, None] = {}  # in the order of first use
        self._held: deque[Held] = deque()
        self._buffers = Buffers()
        self._appended_bytes = 0
        self._synced_bytes = 0
        self._pins: dict[int, int] = {}
        self._tag = tag
        self.appended_seq = seq
        self.durable_seq = seq
        self.failed = False

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def appended_bytes(self) -> int:
        """Sealed bytes of this life's records."""
        return self._appended_bytes

    @property
    def unsynced_bytes(self) -> int:
        return self._appended_bytes - self._synced_bytes

    @property
    def used_bytes(self) -> int:
        """Disk space of the segments in use; the prepared ones not counted."""
        return len(self._segments) * self._segment_bytes

    @property
    def end(self) -> tuple[int, int]:
        """(segment, position) behind the last record: whatever is appended from now on lies at or past it."""
        file = self._current
        assert file is not None
        return file.name.segment, file.end

    @property
    def segments(self) -> list[int]:
        return sorted(self._segments)

    # --- append --------------------------------------------------------------------------------------------------

    def next_address(self, op_size: int, data_size: int) -> ops.Address:
        """Where the next record will lie. Nothing is reserved until `append`. Raises NoSpace, JournalFailed."""
        if self.failed:
            raise JournalFailed("the journal failed before and takes nothing more")
        current = self._current
        size = layout.record_size(op_size, data_size)
        assert HEADER_SIZE + size <= self._segment_bytes, size
        if current is None or current.failed or current.end + size > self._segment_bytes:
            current = self._roll()
        position = layout.data_position(current.end, op_size)
        return ops.Address(self.appended_seq + 1, current.name.segment, position)

    def append(self, address: ops.Address, op: bytes, data: Sequence[memoryview | bytes] = ()) -> None:
        """Seal and write one record at the address just given. Raises JournalFailed: it did not happen.

        Then this file is never written again and its end is here. The next file's header says so, durably, before the
        error is told: else a record that did reach the disk whole would happen after all at the next recovery.
        """
        file = self._current
        assert file is not None and address.seq == self.appended_seq + 1 and not file.failed
        joined = data[0] if len(data) == 1 else b"".join(data)
        position = file.end
        sealed = self._sealed(file, position, address.seq, op, joined)
        try:
            done = self._files.pwrite(file.fd, sealed, position)
        except OSError as exc:
            self._end(file)
            raise JournalFailed(f"the journal cannot be written ({exc.strerror})") from exc
        if done != len(sealed):
            self._end(file)
            raise JournalFailed("the journal took only part of a record")
        file.end = position + len(sealed)
        file.last_seq = address.seq
        self.appended_seq = address.seq
        self._appended_bytes += len(sealed)
        self._tag = _tag(sealed, len(op))
        self._unsynced[file] = None
        self._held.append(Held(address.seq, file, position, len(op), len(joined), sealed))

    def _sealed(
        self, file: SegmentFile, position: int, seq: int, op: bytes, data: memoryview | bytes
    ) -> memoryview | bytes:
        watermark, random = self.durable_seq, self._random_bytes(NONCE_SIZE * (1 + layout.piece_count(len(data))))
        if len(data) <= PIECE_SIZE:
            return layout.seal_small_record(
                file.cipher, position, seq=seq, watermark=watermark, op=op, data=data, random=random
            )
        sealed = self._buffers.take(layout.record_size(len(op), len(data)))
        view = memoryview(data)
        layout.seal_record_into(
            sealed, file.cipher, position, seq=seq, watermark=watermark, op=op, data=view, random=random
        )
        return sealed

    def _end(self, file: SegmentFile) -> None:
        """A file that failed takes nothing more. On a full disk its successor has to wait for the next record."""
        file.failed = True
        try:
            self._roll()
        except (NoSpace, JournalFailed) as exc:
            log.warning("the journal's next segment waits: %s", exc)

    def _roll(self) -> SegmentFile:
        """Begin the next segment: a prepared one, or after a failure a new one whose header names the cut."""
        with self._lock:
            if self._current is not None and self._current.failed:
                self._drop_prepared()
                made = self._make_behind_cut()
            elif self._prepared:
                made = self._prepared.popleft()
            else:
                made = self._make()
        self._segments[made.name.segment] = [made]
        self._current = made
        return made

    def begin(self) -> None:
        """The first segment of this life: its header names the recovery's cut. Raises NoSpace, JournalFailed."""
        with self._lock:
            made = self._make_behind_cut()
        self._segments[made.name.segment] = [made]
        self._current = made

    def _make_behind_cut(self) -> SegmentFile:
        """The segment behind the last good record; whatever lies beyond that in earlier ones is void once it exists."""
        self._cuts.append(Cut(self.appended_seq, self._tag, self._number + 1))
        return self._make(first_seq=self.appended_seq + 1)

    def _make(self, first_seq: int = 0) -> SegmentFile:
        self._number += 1  # also when it fails: what is left of it may come back
        name = SegmentName(self._number, 0, self._random_bytes(layout.SALT_SIZE))
        return self._make_file(name, first_seq=first_seq, from_position=HEADER_SIZE)

    def _make_file(self, name: SegmentName, *, first_seq: int, from_position: int) -> SegmentFile:
        header = Header(
            first_seq=first_seq,
            cut=self._cuts[-1],
            from_position=from_position,
            watermark=self.durable_seq,
            epoch=self._epoch,
        )
        try:
            return segments.make(
                self._files,
                self._folder,
                name,
                header,
                key=self._key,
                uuid=self._uuid,
                size=self._segment_bytes,
                nonce=self._random_bytes(NONCE_SIZE),
            )
        except OSError as exc:
            kind = NoSpace if exc.errno in (errno.ENOSPC, errno.EDQUOT) else JournalFailed
            raise kind(f"no journal segment can be made ({exc.strerror})") from exc

    # --- prepare and drop ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """See that the next two segments exist. Blocking; for a worker. Raises NoSpace, JournalFailed."""
        while len(self._prepared) < PREPARED:
            with self._lock:
                self._prepared.append(self._make())

    def _drop_prepared(self) -> None:
        """They never held a record; the numbers are not used again. What cannot be deleted, the next life deletes."""
        while self._prepared:
            file = self._prepared.pop()
            self._files.close(file.fd)
            try:
                self._files.unlink(file.path)
            except OSError as exc:
                log.warning("an unused segment could not be deleted: %s", exc)

    def droppable(self, committed_seq: int, named: set[int]) -> list[SegmentNo]:
        """Segments that nothing needs: all committed, no extent names them, nobody reads them."""
        return [
            SegmentNo(number)
            for number, found in sorted(self._segments.items())
            if number not in named
            and number not in self._pins
            and self._current not in found
            and all(file.last_seq <= committed_seq and file not in self._unsynced for file in found)
        ]

    def drop(self, segment: int) -> list[SegmentFile]:
        """Nobody finds the segment any more; its files are the caller's to `delete`."""
        return self._segments.pop(segment)

    def delete(self, dropped: Sequence[SegmentFile]) -> None:
        """Blocking; for a worker."""
        for file in dropped:
            self._files.close(file.fd)
            self._files.unlink(file.path)

    @contextmanager
    def pinned(self, numbers: set[int]) -> Iterator[None]:
        """These segments are not dropped inside the block."""
        for number in numbers:
            self._pins[number] = self._pins.get(number, 0) + 1
        try:
            yield
        finally:
            for number in numbers:
                self._pins[number] -= 1
                if not self._pins[number]:
                    del self._pins[number]

    # --- read ----------------------------------------------------------------------------------------------------

    def read(self, segment: int, base: int, total: int, skip: int, size: int) -> bytes:
        """Bytes [skip, skip + size) of the data of a write, verified. Blocking, from any thread.

        Raises DamagedData, StoreUnavailable.
        """
        file = self._file_at(segment, base)
        position, length = segments.data_range(base, total, skip, size)
        try:
            data = self._files.pread(file.fd, length, position)
        except OSError as exc:
            raise StoreUnavailable(f"journal segment {segment} cannot be read ({exc.strerror})") from exc
        return segments.read_data(file.cipher, data, base, total, skip, size)

    def read_into(self, out: memoryview, segment: int, base: int, total: int, skip: int) -> None:
        """As `read`, `len(out)` bytes into a buffer; what it holds after an error is void."""
        file = self._file_at(segment, base)
        position, length = segments.data_range(base, total, skip, len(out))
        try:
            data = self._files.pread(file.fd, length, position)
        except OSError as exc:
            raise StoreUnavailable(f"journal segment {segment} cannot be read ({exc.strerror})") from exc
        segments.read_data_into(file.cipher, data, base, total, skip, out)

    def read_cached(self, segment: int, base: int, total: int, skip: int, size: int) -> bytes | None:
        """As `read`, or None if the disk would have to be waited for."""
        file = self._file_at(segment, base)
        position, length = segments.data_range(base, total, skip, size)
        try:
            data = self._files.pread_cached(file.fd, length, position)
        except OSError:
            return None
        return None if data is None else segments.read_data(file.cipher, data, base, total, skip, size)

    def _file_at(self, segment: int, base: int) -> SegmentFile:
        """The newest incarnation that reaches down to a record whose data begins at `base`."""
        for file in reversed(self._segments.get(segment, ())):
            if base > file.header.from_position:
                return file
        raise DamagedData(f"journal segment {segment} is missing")

    def records_since(self, seq: int) -> Iterator[Record]:
        """Its own records above `seq`, read back, to be replayed after a ROLLBACK. Raises DamagedData."""
        wanted = seq + 1
        for number in self.segments:
            found = self._segments[number]
            if max(file.last_seq for file in found) < wanted:
                continue
            until = min((cut.seq for cut in self._cuts if number < cut.segment), default=self.appended_seq)
            for index, file in enumerate(found):
                limit = found[index + 1].header.from_position if index + 1 < len(found) else file.end
                start = max(HEADER_SIZE, file.header.from_position)
                for record in segments.walk(self._files, file, start, limit):
                    if isinstance(record, DamagedData):
                        continue  # if it was wanted, it will be missed
                    if record.address.seq > until:
                        break
                    if record.address.seq == wanted:
                        yield record
                        wanted += 1
        if wanted <= self.appended_seq:
            raise DamagedData(f"record {wanted} of the journal is missing")

    # --- durability ----------------------------------------------------------------------------------------------

    def write_ahead(self) -> None:
        """Zeros where the next small records will lie, for the sync that follows to make durable with what it is for.

        To sync into blocks that were allocated but never written, ext4 has to commit its own journal: 208 us for 4 KiB,
        130 where there were zeros (measured 2026-11; DESIGN.md §15). What a reader finds there is the same: zeros. A
        failure is no news: the next append or sync of the file will tell.
        """
        file = self._current
        if file is None or file.failed or file.end < file.written_end:
            return
        zeros = memoryview(AHEAD_ZEROS)[: self._segment_bytes - file.end]
        file.written_end = file.end + len(zeros)
        with suppress(OSError):
            self._files.pwrite(file.fd, zeros, file.end)

    def sync_work(self) -> SyncJob:
        """What has to be synced now to make everything appended so far durable."""
        return SyncJob(self._files, self.appended_seq, self._appended_bytes, list(self._unsynced))

    def finish(self, job: SyncJob) -> None:
        """A job ran: note what is durable. What failed is written anew elsewhere (I10). Raises JournalFailed."""
        if self.failed:
            raise JournalFailed("the journal failed before and cannot be made durable")
        if job.failed:
            self._rewrite(job)
        for file in job.unsynced:
            if file.last_seq <= job.target_seq:
                self._unsynced.pop(file, None)
        while self._held and self._held[0].seq <= job.target_seq:
            if isinstance(sealed := self._held.popleft().sealed, memoryview):
                self._buffers.give(sealed)
        self.durable_seq = max(self.durable_seq, job.target_seq)
        self._synced_bytes = max(self._synced_bytes, job.appended_bytes)

    def _rewrite(self, job: SyncJob) -> None:
        """Held bytes of failed files go to new files: same number and positions, next incarnation, new key.

        Rows that point there stay true. A second failure is final: read-only, and no sync is called good again.
        """
        try:
            for file in job.failed:
                self._rewrite_file(file)
        except (OSError, NoSpace, JournalFailed, DamagedData) as exc:
            self.failed = True
            raise JournalFailed(f"the disk of the journal fails ({job.trouble}); nothing more is accepted") from exc

    def _rewrite_file(self, old: SegmentFile) -> None:
        append_failed, old.failed = old.failed, True
        held = [one for one in self._held if one.file is old]
        if not held:
            self._unsynced.pop(old, None)
            return
        salt = self._random_bytes(layout.SALT_SIZE)
        name = SegmentName(old.name.segment, old.name.incarnation + 1, salt)
        new = self._make_file(name, first_seq=held[0].seq, from_position=held[0].position)
        moved: dict[int, Held] = {}
        for one in held:
            sealed = self._resealed(one, new)
            if self._files.pwrite(new.fd, sealed, one.position) != len(sealed):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            moved[one.seq] = one._replace(file=new, sealed=sealed)
        self._files.sync(new.fd)
        new.end, new.last_seq = old.end, old.last_seq
        new.failed = append_failed  # then a cut has to follow, as if it had gone on well
        self._held = deque(moved.get(one.seq, one) for one in self._held)
        old.last_seq = held[0].seq - 1
        if held[-1].seq == self.appended_seq:
            self._tag = _tag(moved[held[-1].seq].sealed, held[-1].op_size)
        self._segments[old.name.segment].append(new)
        self._unsynced.pop(old, None)
        if self._current is old:
            self._current = new

    def _resealed(self, one: Held, new: SegmentFile) -> memoryview:
        """A held record under the new file's key, with fresh nonces."""
        view = one.sealed
        op_end = PREFIX.size + one.op_size + TAG_SIZE
        prefix, sealed = bytes(view[: PREFIX.size]), bytes(view[PREFIX.size : op_end])
        op = layout.open_op(one.file.cipher, one.position, prefix, sealed)
        base = one.position + op_end
        data = b""
        if one.data_size:
            pieces = bytes(view[op_end:])
            data = segments.read_data(one.file.cipher, pieces, base, one.data_size, 0, one.data_size)
        record = layout.seal_record(
            new.cipher,
            one.position,
            seq=one.seq,
            watermark=self.durable_seq,
            op=op,
            data=memoryview(data),
            random=self._random_bytes(NONCE_SIZE * (1 + layout.piece_count(one.data_size))),
        )
        return memoryview(record)

    def close(self) -> None:
        """Close every file. Prepared segments go: the next life makes its own."""
        with self._lock:
            self._drop_prepared()
        for found in self._segments.values():
            for file in found:
                self._files.close(file.fd)
        self._segments.clear()


def _tag(sealed: memoryview | bytes, op_size: int) -> bytes:
    """The tag of a record's op."""
    return bytes(sealed[PREFIX.size + op_size : PREFIX.size + op_size + TAG_SIZE])
