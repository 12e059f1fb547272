"""What to read ahead of a reader who goes through a file in order. Pure."""

from typing import NamedTuple

from rustfsfs.units import KIB, MIB

SLACK = 2 * MIB  # bytes; of one reader's requests, one of the largest may come before the one it follows
STEADY = 256 * KIB  # bytes read in order before it is believed
WINDOW_MIN, WINDOW_MAX = 2 * MIB, 8 * MIB  # bytes ahead of the reader, growing as it goes on
GROWTH = 2


class Reader(NamedTuple):
    """What is known of a file's reader from the reads so far."""

    at: int  # where it goes on if it reads in order
    steady: int = 0  # bytes it has read in order
    ahead: int = 0  # what lies before this was asked for already


class Range(NamedTuple):
    start: int
    end: int


def plan_ahead(
    reader: Reader | None, start: int, end: int, *, size: int, window_max: int = WINDOW_MAX, growth: int = GROWTH
) -> tuple[Reader, Range | None]:
    """What is known of the reader after a read of [start, end), and which range of the file to read ahead now, if any.

    size     bytes of the file
    growth   the window is so many times what was read in order, up to `window_max`
    Asked for half a window at a time: one half is decoded while the other is read. Who jumps begins anew; a read of
    the beginning is believed at once, since most files are read as a whole.
    """
    if reader is None or abs(start - reader.at) > SLACK:
        reader = Reader(at=end, steady=0 if start else end)
    else:
        reader = Reader(max(reader.at, end), reader.steady + end - start, reader.ahead)
    window = min(window_max, max(WINDOW_MIN, growth * reader.steady))
    known, wanted = max(reader.ahead, reader.at), min(reader.at + window, size)
    if reader.steady < STEADY or known >= wanted or known - reader.at > window // 2:
        return reader, None
    return reader._replace(ahead=wanted), Range(known, wanted)
