"""A network of this thread's own, as a container has: loopback, and addresses that the machine itself has not."""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x4000_0000  # sched.h
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 0x1  # netdevice(7)


@contextmanager
def network_of_its_own(*addresses: str) -> Iterator[None]:
    """What is started inside the block lives there: sockets, threads, processes. Needs root, as mounts do."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(libc.unshare(CLONE_NEWNET))
        try:
            _set_up(addresses)
            yield
        finally:
            _check(libc.setns(ours, CLONE_NEWNET))
    finally:
        os.close(ours)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _set_up(addresses: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
        for number, address in enumerate(addresses):
            name, packed = f"lo:{number}".encode(), socket.inet_aton(address)
            fcntl.ioctl(some, SIOCSIFADDR, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, packed))
