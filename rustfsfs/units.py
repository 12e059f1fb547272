"""Sizes, and the types of numbers that must not be swapped. A leaf: imports nothing of ours."""

from typing import NewType

Inode = NewType("Inode", int)  # 1 is the root; never reused
Fork = NewType("Fork", int)  # one generation of a file's contents; the seq of the op that made it
ChunkNo = NewType("ChunkNo", int)  # row number of a chunk; never reused within one life of a process
ChunkId = NewType("ChunkId", bytes)  # 32 bytes: keyed BLAKE3 of the plain bytes
PackNo = NewType("PackNo", int)  # from 1
DiskNo = NewType("DiskNo", int)  # from 1
SegmentNo = NewType("SegmentNo", int)  # from 1; 0 in an extent means "in a chunk"
Seq = NewType("Seq", int)  # number of a journal record, from 1, without gaps
Nanoseconds = NewType("Nanoseconds", int)  # since 1970-01-01 UTC, or a span

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

ROOT = Inode(1)  # FUSE_ROOT_ID
NAME_SIZE_MAX = 255  # bytes; NAME_MAX
SYMLINK_SIZE_MAX = 4095  # bytes; PATH_MAX less the terminator
FILE_SIZE_MAX = (1 << 63) - 1 - (1 << 20)  # bytes; off_t, less one largest write
LINK_COUNT_MAX = 1 << 31
XATTR_NAME_SIZE_MAX = 255  # bytes; XATTR_NAME_MAX
XATTR_VALUE_SIZE_MAX = 64 * KIB  # XATTR_SIZE_MAX

WRITE_SIZE_MAX = MIB  # largest write the kernel sends through FUSE
PIECE_SIZE = 32 * KIB  # plain bytes sealed together inside a journal record (DESIGN.md §2)
SECOND_NS = 1_000_000_000

SIZE_UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB, "PiB": 1024 * TIB}
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def format_size(size_bytes: int) -> str:
    """A size for people: `format_size(3 * MIB) == "3.0 MiB"`; exact bytes below 1 KiB."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:
            return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} PiB"


def format_duration(seconds: float) -> str:
    """A duration for people, in its largest unit: `format_duration(5400) == "1.5 h"`."""
    unit = max((unit for unit in DURATION_UNITS if DURATION_UNITS[unit] <= seconds), key=_length, default="ms")
    return f"{seconds / DURATION_UNITS[unit]:.3g} {unit}"


def _length(unit: str) -> float:
    return DURATION_UNITS[unit]
