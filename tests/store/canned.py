"""A server that answers as it is told to, byte for byte: what no OSS would say, and what the network makes of it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Script = bytes | Callable[[socket.socket], None]  # what is sent, or who deals with the connection


@dataclass
class Canned:
    """`answers` are given one after another, each on a connection that is closed then; `requests` are what came."""

    endpoint: str
    answers: list[Script] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Headers: x_oss_request_id="1" is x-oss-request-id: 1; content_length is right unless it is given."""
    lines = {"content-length": str(len(body)), "connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def oss_error(status: str, code: str, extra: str = "", **headers: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Why not?</Message>{extra}</Error>"
    return answer(status, body.encode(), x_oss_request_id="5F00", **headers)


@contextmanager
def canned(*answers: Script) -> Iterator[Canned]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Canned(f"http://127.0.0.1:{listener.getsockname()[1]}", list(answers))
    thread = threading.Thread(target=_serve, args=(listener, server), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _serve(listener: socket.socket, server: Canned) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(10)
            server.requests.append(_request(connection))
            script = server.answers.pop(0)
            if isinstance(script, bytes):
                connection.sendall(script)
            else:
                script(connection)


def _request(connection: socket.socket) -> bytes:
    """Head and body, the length of which must be told."""
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    told = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(told[0]) - len(body) if told else 0
    while missing > 0 and (more := connection.recv(65536)):
        data += more
        missing -= len(more)
    return data
