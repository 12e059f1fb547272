"""The metadata of a volume whose file system is read-only: SQLite opens a copy, since it cannot do without writing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from rustfsfs.errors import MachineTrouble


@contextmanager
def writable(database: str, *, is_frozen: bool) -> Iterator[str]:
    """Where SQLite can open the database: where it is, or if that `is_frozen`, a copy that is gone afterwards.

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
        yield copy


def _copy(source: str, target: str, folder: str) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as exc:
        above = os.path.dirname(folder)
        raise MachineTrouble(
            f"a copy of {source} is needed and does not fit in {above} ({exc.strerror}); set TMPDIR to where it fits"
        ) from exc
