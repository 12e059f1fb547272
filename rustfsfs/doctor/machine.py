"""The machine: kernel, FUSE, limits, swap, clock, versions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rustfsfs.doctor.finding import Finding, note, problem, stuck, warning, well

KERNEL_MIN = (5, 10)  # the oldest that Debian 11 to 13 and ECS images boot; older ones were not tried
FILES_MIN = 4096  # the daemon raises its own limit to the hard one: disks, packs, connections
STRICT_OVERCOMMIT = 2  # vm.overcommit_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    path: str
    is_in_ram: bool  # zram
    is_encrypted: bool | None  # by dm-crypt; None: it cannot be seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    kernel: str  # its release, as uname(1) says it
    is_root: bool
    fuse_trouble: str | None  # why /dev/fuse cannot be opened
    fuse_is_known: bool  # to the kernel: /proc/filesystems names it
    fusermount: str | None  # its path
    allow_other: bool  # /etc/fuse.conf lets users say it
    files_hard: int  # RLIMIT_NOFILE; -1: none
    overcommit: int | None  # vm.overcommit_memory
    swaps: tuple[Swap, ...]
    clock_is_synchronised: bool | None  # None: the kernel does not say
    versions: tuple[tuple[str, str], ...]  # of what is installed: name, version
    stuck: tuple[str, ...] = ()  # what was asked and did not answer
    patience_s: float = 0.0


def findings(machine: Machine) -> list[Finding]:
    return [
        *_kernel(machine),
        *_fuse(machine),
        *_limits(machine),
        *_swap(machine),
        *_clock(machine),
        well("versions", ", ".join(f"{name} {version}" for name, version in machine.versions)),
        *(stuck(about, machine.patience_s) for about in machine.stuck),
    ]


def _kernel(machine: Machine) -> Iterator[Finding]:
    found = re.match(r"(\d+)\.(\d+)", machine.kernel)
    if found is not None and (int(found[1]), int(found[2])) < KERNEL_MIN:
        wanted = ".".join(map(str, KERNEL_MIN))
        text = f"Linux {machine.kernel} is older than {wanted}, with which nobody has tried rustfsfs"
        yield warning("kernel", text, "boot a newer kernel")
    else:
        yield well("kernel", f"Linux {machine.kernel}")


def _fuse(machine: Machine) -> Iterator[Finding]:
    if not machine.fuse_is_known:
        yield problem("FUSE", "the kernel has no FUSE", "as root: modprobe fuse; in a container, on its host")
    elif machine.fuse_trouble is not None:
        text = f"/dev/fuse cannot be opened ({machine.fuse_trouble})"
        yield problem("FUSE", text, "as root: chmod 666 /dev/fuse; a container has to be given the device")
    else:
        yield well("FUSE", "/dev/fuse can be opened")
    if machine.is_root:
        return
    if machine.fusermount is None:
        yield problem("fusermount3", "it is not there, and only root mounts without", "install the package fuse3")
    elif not machine.allow_other:
        text = "-o allow_other is refused to users other than root"
        yield note("fuse.conf", text, "write user_allow_other into /etc/fuse.conf if others are to see the mount")


def _limits(machine: Machine) -> Iterator[Finding]:
    if 0 <= machine.files_hard < FILES_MIN:
        text = f"a process may have {machine.files_hard} files open, and a mount needs up to {FILES_MIN}"
        yield warning("limits", text, "raise the hard limit: LimitNOFILE= of the unit, /etc/security/limits.conf")
    else:
        yield well("limits", f"{'any number of' if machine.files_hard < 0 else machine.files_hard} open files")
    if machine.overcommit == STRICT_OVERCOMMIT:
        text = "vm.overcommit_memory is 2: memory that is only reserved counts, and a mount may be refused some"
        yield note("memory", text, "if mounts end for want of memory, set it to 0")


def _swap(machine: Machine) -> Iterator[Finding]:
    bare = [swap for swap in machine.swaps if not swap.is_in_ram and swap.is_encrypted is not True]
    for swap in bare:
        known = "is not encrypted" if swap.is_encrypted is False else "may not be encrypted"
        text = f"{swap.path} {known}: what is in memory, keys and plain data too, may be written there"
        yield warning("swap", text, "encrypt it (crypttab(5), with a random key at each start), or swapoff")
    if not bare:
        yield well("swap", "none, or none that keeps plain memory on a disk")


def _clock(machine: Machine) -> Iterator[Finding]:
    if machine.clock_is_synchronised is None:
        yield note("clock", "the kernel does not say whether it is kept right")
    elif machine.clock_is_synchronised:
        yield well("clock", "it is kept right")
    else:
        text = "nobody keeps it right; a bucket refuses requests from 15 minutes on"
        yield warning("clock", text, "install chrony or systemd-timesyncd")
