"""Where the metrics of a mount are served: a loopback address or a unix socket, and nowhere else. Pure."""

import ipaddress
from dataclasses import dataclass

from rustfsfs.errors import UsageError

UNIX = "unix:"
PATH_BYTES_MAX = 107  # sockaddr_un, less the terminator; unix(7)
PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Loopback:
    """An address that only this host reaches; everybody on it does."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A socket that only its owner and root may use."""

    path: str

    def __str__(self) -> str:
        return UNIX + self.path


Listen = Loopback | UnixSocket


def parse_listen(text: str) -> Listen | None:
    """`127.0.0.1:9464`, `[::1]:9464` or `unix:/run/NAME.sock`; "" is None: nothing is served. Raises UsageError."""
    if not text:
        return None
    if text.startswith(UNIX):
        return _unix(text.removeprefix(UNIX))
    host, _colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(
            f"{text!r} is no place to serve metrics; write 127.0.0.1:9464, [::1]:9464 or unix:/run/NAME.sock"
        ) from None
    if not address.is_loopback:
        raise UsageError(
            f"metrics are not served on {text}, which other hosts could reach; name a loopback address, 127.0.0.1:9464"
        )
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= PORT_MAX):
        raise UsageError(f"{text!r} is no place to serve metrics: its port is not between 1 and {PORT_MAX}")
    return Loopback(str(address), int(port))


def _unix(path: str) -> UnixSocket:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise UsageError(
            f"unix:{path} is no place to serve metrics; name the socket's absolute path, as unix:/run/rustfsfs.sock"
        )
    if len(path.encode()) > PATH_BYTES_MAX:
        raise UsageError(f"the path of the socket for metrics has at most {PATH_BYTES_MAX} bytes")
    return UnixSocket(path)
