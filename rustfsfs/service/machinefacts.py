"""What `doctor` is told of the machine. Nothing is changed, and nothing opened but /dev/fuse."""

import os
import platform
import resource
import shutil
import stat
from ctypes import CDLL, c_int, create_string_buffer
from importlib.metadata import PackageNotFoundError, version

from rustfsfs.doctor.machine import Machine, Swap
from rustfsfs.meta.database import SQLITE_VERSION
from rustfsfs.service import blockdevices
from rustfsfs.service.patience import Patience

FUSE = "/dev/fuse"
TIMEX_SIZE, STATUS_OFFSET = 256, 40  # struct timex of 64 bit: modes, offset, freq, maxerror, esterror, status
STA_UNSYNC = 0x0040  # timex.h
PACKAGES = ("rustfsfs", "pyfuse3", "apsw-sqlite3mc", "oss2")


def gather(patience: Patience) -> Machine:
    no_swaps: tuple[Swap, ...] = ()
    return Machine(
        kernel=platform.release(),
        is_root=os.geteuid() == 0,
        fuse_trouble=patience.ask(FUSE, _fuse_trouble, None),
        fuse_is_known=any(line.split()[-1:] == ["fuse"] for line in _lines("/proc/filesystems")),
        fusermount=shutil.which("fusermount3"),
        allow_other=any(line.strip() == "user_allow_other" for line in _lines("/etc/fuse.conf")),
        files_hard=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        overcommit=_number("/proc/sys/vm/overcommit_memory"),
        swaps=patience.ask("swap", _swaps, no_swaps),
        clock_is_synchronised=_clock(),
        versions=_versions(),
        stuck=tuple(patience.stuck),
        patience_s=patience.seconds,
    )


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _fuse_trouble() -> str | None:
    try:
        if not stat.S_ISCHR(os.stat(FUSE).st_mode):
            return "it is no device"
        os.close(os.open(FUSE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        return str(exc.strerror)
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _number(path: str) -> int | None:
    found = "".join(_lines(path))
    return int(found) if found.isdecimal() else None


def _swaps() -> tuple[Swap, ...]:
    """Of /proc/swaps: the first line is a heading, blanks in names are written as \\040."""
    found = []
    for line in _lines("/proc/swaps")[1:]:
        path = line.split()[0].replace("\\040", " ")
        is_in_ram = os.path.basename(path).startswith("zram")
        found.append(Swap(path=path, is_in_ram=is_in_ram, is_encrypted=_is_encrypted(path)))
    return tuple(found)


def _is_encrypted(path: str) -> bool | None:
    try:
        row = os.stat(path)
    except OSError:
        return None
    device = row.st_rdev if stat.S_ISBLK(row.st_mode) else row.st_dev
    return blockdevices.below(blockdevices.number(device)).is_encrypted


def _clock() -> bool | None:
    """adjtimex(2), asked to change nothing."""
    buffer = create_string_buffer(TIMEX_SIZE)
    if CDLL(None).adjtimex(buffer) < 0:
        return None
    return not c_int.from_buffer(buffer, STATUS_OFFSET).value & STA_UNSYNC


def _versions() -> tuple[tuple[str, str], ...]:
    found = [("Python", platform.python_version()), ("SQLite", SQLITE_VERSION), ("libfuse", _libfuse())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _libfuse() -> str:
    """Of the library that pyfuse3 is linked with: 314 is 3.14."""
    try:
        number = int(CDLL("libfuse3.so.3").fuse_version())
    except (OSError, AttributeError):
        return "is not found"
    return f"{number // 100}.{number % 100}"
