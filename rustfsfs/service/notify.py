"""What systemd hears of the daemon (sd_notify(3)): datagrams to $NOTIFY_SOCKET. Without one, nothing happens.

Only the standard library, so that nothing here can fail for want of another part. What is said when is decided in
service/supervision.py and mount.py.
"""

import enum
import os
import socket
import time
from collections.abc import MutableMapping
from struct import pack

MICRO = 1_000_000
READY_WAIT_S = 5  # systemd reads at once, unless it is busy itself
LINE_LENGTH_MAX = 500  # of a status line


class Phase(enum.Enum):
    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Notifier:
    """The daemon's end of the notify socket, and which phase it has told of.

    Trouble with the socket is nobody's business but systemd's: nothing here raises, and nothing but `ready` waits.
    """

    def __init__(self, address: str | None, *, watchdog_s: float | None = None) -> None:
        """
        address      a path, or "@name" in the abstract namespace; None: nobody listens
        watchdog_s   how often at the least `alive` is expected; None: never
        """
        self.watchdog_s = watchdog_s
        self.phase = Phase.STARTING
        self._address = "\0" + address[1:] if address is not None and address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address is not None and address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, pack("@ll", READY_WAIT_S, 0))  # a timeval

    @property
    def is_heard(self) -> bool:
        return self._socket is not None

    def ready(self, status: str) -> None:
        """It serves. Blocks for READY_WAIT_S at the most: to be called from a thread."""
        if self.phase is Phase.STOPPING:
            return
        self.phase = Phase.SERVING
        self._send("READY=1", _status(status), may_wait=True)

    def alive(self, status: str) -> None:
        """The watchdog's bone, if there is one, and how things are."""
        self._send(*(["WATCHDOG=1"] if self.watchdog_s is not None else []), _status(status))

    def reloading(self) -> None:
        """The settings are read anew; `ready` says when they were. The time tells systemd which SIGHUP this answers."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self, status: str) -> None:
        """It will end. Only the first call says so."""
        if self.phase is not Phase.STOPPING:
            self.phase = Phase.STOPPING
            self._send("STOPPING=1", _status(status))

    def more_time(self, seconds: float, status: str) -> None:
        """Starting or stopping goes on, and this will be said again within so many seconds."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * MICRO)}", _status(status))

    def _send(self, *lines: str, may_wait: bool = False) -> None:
        """A thread may wait here while the loop sends too."""
        if self._socket is None or self._address is None:
            return
        try:
            flags = 0 if may_wait else socket.MSG_DONTWAIT
            self._socket.sendto("\n".join(lines).encode(), flags, self._address)
        except OSError:
            pass  # nobody there, or it does not read


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:LINE_LENGTH_MAX]}"


def from_environment(environment: MutableMapping[str, str]) -> Notifier:
    """What systemd set for this process; taken away, so that no child speaks in its name."""
    address = environment.pop("NOTIFY_SOCKET", None)
    wanted = environment.pop("WATCHDOG_USEC", "")
    pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
    watched = wanted.isdecimal() and int(wanted) > 0 and pid == str(os.getpid())
    return Notifier(address or None, watchdog_s=int(wanted) / MICRO if watched else None)
