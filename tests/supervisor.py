"""systemd's end of a notify socket, for tests."""

import socket
from pathlib import Path

TIMEOUT_S = 60.0


class Supervisor:
    """A notify socket at `path`; what is not read stays in its queue."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> "Supervisor":
        self._socket.bind(str(self.path))
        self._socket.settimeout(TIMEOUT_S)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def hear(self) -> dict[str, str]:
        """The next message, by its keys. Raises TimeoutError."""
        lines = self._socket.recv(1 << 16).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def hear_of(self, key: str) -> dict[str, str]:
        """The next message that has this key."""
        while key not in (found := self.hear()):
            pass
        return found

    def heard(self) -> list[dict[str, str]]:
        """All messages that are there by now."""
        self._socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.hear())
        except BlockingIOError:
            return found
        finally:
            self._socket.settimeout(TIMEOUT_S)
