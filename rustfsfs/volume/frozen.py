"""The metadata of a volume that SQLite must not open where it is: a copy is opened instead.

Since the file system is read-only, and SQLite cannot do without writing; or since pages of it are not to be believed.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rustfsfs.errors import MachineTrouble
from rustfsfs.meta.database import PAGE_SIZE
from rustfsfs.meta.pages import page_offset


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
        for suffix in ("", "-wal"):
            if os.path.exists(database + suffix):
                _copy(database + suffix, copy + suffix, folder)
        _spoil(copy, without)
        yield copy


def _spoil(copy: str, numbers: Sequence[int]) -> None:
    with open(copy, "r+b") as file:
        for number in numbers:
            file.seek(page_offset(number))
            file.write(b"\xff" * PAGE_SIZE)


def _copy(source: str, target: str, folder: str) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as exc:
        above = os.path.dirname(folder)
        raise MachineTrouble(
            f"a copy of {source} is needed and does not fit in {above} ({exc.strerror}); set TMPDIR to where it fits"
        ) from exc
