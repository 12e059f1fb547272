"""What a run was made on, so that its figures can be judged later."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rustfsfs import __version__
from rustfsfs.units import KIB, format_size
from rustfsfs.volume.mountinfo import file_system_of

PACKAGES = ("pyfuse3", "trio", "apsw-sqlite3mc", "cryptography", "zstandard")


def describe(folder: Path) -> dict[str, str]:
    """Facts by name. `folder` lies on the disk that is measured."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": platform.release(),
        "processors": f"{os.cpu_count()} x {processor(_text('/proc/cpuinfo'))}",
        "memory": format_size(memory_bytes(_text("/proc/meminfo"))),
        "file system": file_system_of(str(folder)),
        "rustfsfs": __version__,
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor(cpuinfo: str) -> str:
    """The model's name in /proc/cpuinfo, where the architecture has one."""
    found = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.machine()


def memory_bytes(meminfo: str) -> int:
    found = re.search(r"^MemTotal:\s*([0-9]+) kB$", meminfo, re.MULTILINE)
    return int(found[1]) * KIB if found else 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
