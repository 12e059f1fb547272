"""The sums of the database's pages, kept true through checkpoints, and what they say of the file (`meta.pages`).

Order: COMMIT → the sums of the pages in the WAL durably unknown → checkpoint copies them into the database file → their
new sums written. No COMMIT comes between (`volume.commit_lock`). Cut anywhere, a page is either of unknown sum, or is
the one its sum says; what the WAL holds a version of is not judged, since SQLite does not read the file's own.
"""

import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress

from rustfsfs.meta import pages
from rustfsfs.meta.database import PAGE_SIZE
from rustfsfs.meta.pages import UNKNOWN, Sums
from rustfsfs.units import KIB, MIB
from rustfsfs.world import Files, opened

log = logging.getLogger("rustfsfs")
SUFFIX = ".pages"  # behind the name of the database without its own
AT_ONCE = 128 * KIB  # bytes of the database read at once: page faults of 1 MiB take as long as its reading
SLICE_BYTES = 16 * MIB  # and between two checkpoints


def sums_path(database: str) -> str:
    return database.removesuffix(".db") + SUFFIX


class PageSums:
    """The sums of the database at `path`. All calls block; one at a time."""

    def __init__(self, files: Files, path: str, key: bytes) -> None:
        self.path = path
        self.damaged_blocks = 0  # of the file of sums, when it was read
        self._files = files
        self._sums = Sums(key)
        self._file = sums_path(path)
        self._read()

    def _read(self) -> None:
        if not self._files.exists(self._file):
            return
        with opened(self._files, self._file) as fd:
            for at in range(0, self._files.size(self._file), pages.BLOCK_SIZE):
                data = b""  # of a block that cannot be read nothing is known, as of a damaged one
                with suppress(OSError):
                    data = self._files.pread(fd, pages.BLOCK_SIZE, at)
                self.damaged_blocks += not self._sums.decode(data)

    def in_wal(self, first: int = 0, end: int | None = None) -> set[int]:
        """Pages in the frames of the WAL from `first` on (0-based), up to `end` or its last."""
        found: set[int] = set()
        wal = self.path + "-wal"
        if first == end or not self._files.exists(wal):
            return found
        with opened(self._files, wal) as fd:
            salts = pages.wal_salts(self._files.pread(fd, pages.WAL_HEADER_SIZE, 0))
            number = None if salts is None else 0
            while salts is not None and number is not None and first != end:
                header = self._files.pread(fd, pages.FRAME_HEADER_SIZE, pages.frame_offset(first))
                number = pages.wal_page(header, salts)
                found |= {number} if number is not None else set()
                first += 1
        return found

    def stale(self, *, adopt: bool) -> list[int]:
        """Pages of the file that are not those that were written last, before anybody has opened the database.

        adopt   take the sum of pages of which none is known, as they are

        Pages that cannot be read are not judged: SQLite meets that error itself, if it ever needs them.
        """
        found: list[int] = []
        at: int | None = 0
        unjudged = self.in_wal()
        while at is not None:
            at, more = self.stale_from(at, unjudged, adopt=adopt)
            found += more
        return found

    def stale_from(self, offset: int, unjudged: Set[int], *, adopt: bool) -> tuple[int | None, list[int]]:
        """As `stale`, for some MiB from `offset` on; and where to go on, None at the end.

        unjudged   pages of which the WAL has a version that the file has not
        """
        size_bytes = self._files.size(self.path) if self._files.exists(self.path) else 0
        end = min(offset + SLICE_BYTES, size_bytes)
        found: list[int] = []
        if offset < end:
            with opened(self._files, self.path) as fd:
                for at, data in self._readable(fd, offset, end):
                    found += self._judged(data, at, unjudged, adopt=adopt)
        return end if end < size_bytes else None, found

    def _readable(self, fd: int, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of stretches of the file; past what cannot be read, page by page."""
        for begin in range(offset, end, AT_ONCE):
            try:
                stretches = [(begin, self._files.pread(fd, min(AT_ONCE, end - begin), begin))]
            except OSError:
                stretches = []
                for at in range(begin, min(begin + AT_ONCE, end), PAGE_SIZE):
                    with suppress(OSError):
                        stretches.append((at, self._files.pread(fd, PAGE_SIZE, at)))
            yield from stretches

    def _judged(self, data: bytes, offset: int, unjudged: Set[int], *, adopt: bool) -> Iterator[int]:
        numbers = pages.page_numbers(offset, len(data))
        if pages.tails(data) == self._sums.known(numbers):
            return  # as nearly always
        for number in numbers:
            if number in unjudged:
                continue
            known = self._sums.get(number)
            if known == UNKNOWN and not adopt:
                continue
            at = pages.page_offset(number) - offset
            found = pages.sum_of(data[at : at + PAGE_SIZE])
            if known == UNKNOWN:
                self._sums.put(number, found)
            elif known != found:
                yield number

    @contextmanager
    def kept(self, wal_frames: int, done_frames: int) -> Iterator[None]:
        """Around a checkpoint that copies the WAL's frames from `done_frames` up to `wal_frames`.

        Raises OSError: neither could the sums be changed nor let go, so there must be no checkpoint.
        """
        copied = self.in_wal(done_frames, wal_frames)
        for number in copied:
            self._sums.put(number, UNKNOWN)
        self.save(durably=True)
        try:
            yield
        finally:
            self._renew(copied)
            self.save(durably=False)

    def _renew(self, numbers: Set[int]) -> None:
        if not numbers or not self._files.exists(self.path):
            return
        with opened(self._files, self.path) as fd:
            for number in numbers:
                page = self._files.pread(fd, PAGE_SIZE, pages.page_offset(number))
                self._sums.put(number, pages.sum_of(page) if len(page) == PAGE_SIZE else UNKNOWN)

    def save(self, *, durably: bool) -> None:
        """Write what changed. When it cannot be: no sums at all rather than wrong ones. Raises OSError, as `kept`."""
        try:
            self._write(durably=durably)
        except OSError as exc:
            log.warning("the sums of the metadata's pages cannot be written (%s): done without", exc)
            forget(self._files, self.path)
            self._sums.change_all()

    def _write(self, *, durably: bool) -> None:
        if not self._sums.changed:
            return
        is_there = self._files.exists(self._file)  # a new one's name need not last: without it nothing is known
        fd = self._files.open(self._file, write=True) if is_there else self._files.create(self._file)
        try:
            for block in sorted(self._sums.changed):
                data = self._sums.encode(block)
                if self._files.pwrite(fd, data, block * pages.BLOCK_SIZE) != len(data):
                    raise OSError("there is no room")
            if durably:
                self._files.sync(fd)
        finally:
            self._files.close(fd)
        self._sums.changed.clear()


def forget(files: Files, path: str) -> None:
    """Another database comes to `path`: nothing is known of its pages. Durable on return. Raises OSError."""
    files.unlink(sums_path(path))
    files.sync_dir(path.rpartition("/")[0])
