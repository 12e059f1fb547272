"""The metadata of a volume that SQLite must not open where it is: a copy is opened instead.

Since the file system is read-only, and SQLite cannot do without writing; or since pages of it are not to be believed.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rustfsfs.errors import MachineTrouble
from rustfsfs.meta.database import PAGE_SIZE
from rustfsfs.meta.pages import page_offset
from rustfsfs.units import MIB

STEP = MIB
NO_PAGE = b"\xff" * PAGE_SIZE  # its seal does not open


@contextmanager
def writable(database: str, *, is_frozen: bool, without: Sequence[int] = ()) -> Iterator[str]:
    """Where SQLite can open the database: where it is, or if that `is_frozen`, a copy that is gone afterwards.

    without   pages that are not to be believed: in the copy they do not open

    Journal replay needs a transaction, so SQLite's `immutable=1` would not do. A copy is as sealed as the original.
    Raises MachineTrouble (no room for it).
    """
    if not is_frozen or not os.path.exists(database):
        yield database
        return
    with tempfile.TemporaryDirectory(prefix="rustfsfs-") as folder:
        copy = f"{folder}/{os.path.basename(database)}"
        _copy(database, copy, folder, bears_damage=True)
        if os.path.exists(database + "-wal"):  # without a part of it older pages would count
            _copy(database + "-wal", copy + "-wal", folder, bears_damage=False)
        _spoil(copy, without)
        yield copy


def _spoil(copy: str, numbers: Sequence[int]) -> None:
    with open(copy, "r+b") as file:
        for number in numbers:
            file.seek(page_offset(number))
            file.write(NO_PAGE)


def _copy(source: str, target: str, folder: str, *, bears_damage: bool) -> None:
    with open(source, "rb") as old, open(target, "wb") as new:
        for data in pieces(partial(os.pread, old.fileno()), os.path.getsize(source), bears_damage=bears_damage):
            try:
                new.write(data)
                new.flush()
            except OSError as exc:
                above = os.path.dirname(folder)
                raise MachineTrouble(
                    f"a copy of {source} is needed and does not fit in {above} ({exc.strerror});"
                    " set TMPDIR to where it fits"
                ) from exc


def pieces(read: Callable[[int, int], bytes], size_bytes: int, *, bears_damage: bool) -> Iterator[bytes]:
    """All of a file by `read(size, offset)`; with `bears_damage` pages that cannot be read are such as do not open.

    Raises OSError.
    """
    for offset in range(0, size_bytes, STEP):
        try:
            data = read(STEP, offset)
        except OSError:
            if not bears_damage:
                raise
            data = b"".join(_page(read, at) for at in range(offset, min(offset + STEP, size_bytes), PAGE_SIZE))
        yield data


def _page(read: Callable[[int, int], bytes], offset: int) -> bytes:
    try:
        return read(PAGE_SIZE, offset)
    except OSError:
        return NO_PAGE
