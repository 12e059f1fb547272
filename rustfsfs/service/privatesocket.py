"""A listening unix socket that only its owner and root may use (mode 0600, from the first moment)."""

import os
import socket


def listen_privately(path: str, *, backlog: int) -> socket.socket:
    """At `path`, where nothing may be. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(backlog)
        return listener
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
