"""What a daemon has cost, from /proc (proc(5))."""

import os
import select
from contextlib import suppress
from pathlib import Path

from rustfsfs.units import KIB


def parse_cpu_ticks(stat: str) -> int:
    """User and system time of a process, in clock ticks, from /proc/PID/stat. Its name may hold spaces and brackets."""
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[11]) + int(fields[12])  # utime and stime are fields 14 and 15 of all


def parse_field(text: str, name: str) -> int:
    """The number behind `name:`, from /proc/PID/status (kB) or /proc/PID/io (bytes)."""
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))


def cpu_s(pid: int) -> float:
    ticks = parse_cpu_ticks(Path(f"/proc/{pid}/stat").read_text())
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_bytes_max(pid: int) -> int:
    """The most that was ever resident (VmHWM)."""
    return parse_field(Path(f"/proc/{pid}/status").read_text(), "VmHWM") * KIB


def written_bytes(pid: int) -> int:
    """What it made the kernel write to disks, or will: pages made dirty count at once."""
    return parse_field(Path(f"/proc/{pid}/io").read_text(), "write_bytes")


def wait_for_end(pid: int, s_max: float) -> bool:
    """Of any process, not only a child. Is it gone?"""
    with suppress(ProcessLookupError):
        watch = os.pidfd_open(pid)
        try:
            return bool(select.select([watch], [], [], s_max)[0])
        finally:
            os.close(watch)
    return True
