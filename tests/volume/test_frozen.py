"""The copy of a database that cannot be opened where it is: what of it cannot be read does not open, all else does."""

import errno
import os

import pytest

from rustfsfs.meta.database import PAGE_SIZE
from rustfsfs.volume.frozen import NO_PAGE, STEP, pieces

DATA = os.urandom(STEP + 3 * PAGE_SIZE)


def read(size: int, offset: int) -> bytes:
    """A disk on which the second page cannot be read."""
    if offset < 2 * PAGE_SIZE and offset + size > PAGE_SIZE:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return DATA[offset : offset + size]


def test_pages_that_cannot_be_read_are_no_pages() -> None:
    copied = b"".join(pieces(read, len(DATA), bears_damage=True))
    assert copied == DATA[:PAGE_SIZE] + NO_PAGE + DATA[2 * PAGE_SIZE :]


def test_of_a_wal_all_is_needed() -> None:
    with pytest.raises(OSError):
        list(pieces(read, len(DATA), bears_damage=False))
