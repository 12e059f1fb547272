"""Which bytes a `Range` header asks for, in both behaviours of OSS. Pure."""

import re

from tests.oss_server import errors

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z")


def requested_range(header: str, size_bytes: int, *, standard: bool) -> tuple[int, int] | None:
    """Offset and size of the part, or None for the whole object (200).

    standard   `x-oss-range-behavior: standard` was sent: a range that begins behind the end is refused, and one that
               ends behind it is cut. Without, both give the whole object.
    Raises InvalidRange.
    """
    found = _RANGE.match(header.replace(" ", ""))
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        count = int(found[2])
        first, last = max(0, size_bytes - count), size_bytes - 1
        if count > size_bytes and not standard:
            return None
    else:
        first, last = int(found[1]), int(found[2]) if found[2] else size_bytes - 1
        if found[2] and first > last:
            return None  # no range at all: HTTP says to ignore it (RFC 9110 §14.1.1)
    if standard:
        last = min(last, size_bytes - 1)
    if first > last or last >= size_bytes:
        if standard:
            raise errors.invalid_range()
        return None
    return first, last - first + 1
