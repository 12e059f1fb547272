"""HTTP/1.1 on one connection: requests in, answers out, bodies without copies. Knows nothing of OSS.

Own rather than http.server's, because a test must be able to break off anywhere, and because bodies go from file to
socket in the kernel (sendfile), which leaves the two cores of a small machine to the client.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from tests.oss_server.pacing import PIECE_SIZE, Link

HEAD_SIZE_MAX = 64 * 1024  # bytes; request line and headers


class Disconnected(Exception):
    """The other side is gone, or sent what is no HTTP; the connection ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request without its body. Header names are lower-case; text is UTF-8, other bytes are surrogates."""

    method: str
    path: str  # unquoted
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class FilePart:
    """A body that lies in a file. The descriptor belongs to the answer and is closed with it."""

    fd: int
    offset: int
    size_bytes: int


@dataclass(slots=True, kw_only=True)
class Answer:
    """`headers` may hold a Content-Length of their own: that of the body a HEAD does not get."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | FilePart = b""

    @property
    def size_bytes(self) -> int:
        return self.body.size_bytes if isinstance(self.body, FilePart) else len(self.body)

    def close(self) -> None:
        if isinstance(self.body, FilePart):
            os.close(self.body.fd)
            self.body = b""


class Connection:
    """One accepted socket. `read_request`, then the body's `pieces` to their end, then `send`; and again.

    bytes_in, bytes_out   of bodies, that have passed
    """

    def __init__(self, sock: socket.socket, *, up: Link, down: Link) -> None:
        self._sock = sock
        self.up, self.down = up, down
        self.bytes_in = self.bytes_out = 0
        self._buffer = bytearray(PIECE_SIZE)
        self._begin = self._end = 0  # of what was received and not used

    def _receive(self) -> bool:
        """More bytes behind those there are; False at the end of the stream."""
        if self._begin == self._end:
            self._begin = self._end = 0
        try:
            count = self._sock.recv_into(memoryview(self._buffer)[self._end :])
        except OSError as exc:
            raise Disconnected from exc
        self._end += count
        return count > 0

    def _line(self) -> bytes:
        while (at := self._buffer.find(b"\n", self._begin, self._end)) < 0:
            if self._begin:
                self._buffer[: self._end - self._begin] = self._buffer[self._begin : self._end]
                self._end -= self._begin
                self._begin = 0
            if self._end > HEAD_SIZE_MAX or not self._receive():
                raise Disconnected
        line = bytes(self._buffer[self._begin : at])
        self._begin = at + 1
        return line.rstrip(b"\r")

    def read_request(self) -> Request:
        """Raises Disconnected, also when the other side closed between two requests."""
        words = self._line().split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise Disconnected
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(b":")
            headers[_text(name).strip().lower()] = _text(value).strip()
        path, _, query = words[1].partition(b"?")
        return Request(
            method=_text(words[0]), path=_text(unquote_to_bytes(path)), query=_parsed_query(query), headers=headers
        )

    def pieces(self, request: Request) -> Iterator[memoryview]:
        """The body, at most PIECE_SIZE at once; each is valid until the next. Raises Disconnected."""
        if request.headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            while size_bytes := int(self._line().split(b";")[0], 16):
                yield from self._exactly(size_bytes)
                self._line()
            while self._line():
                pass
        else:
            yield from self._exactly(int(request.headers.get("content-length", "0")))

    def _exactly(self, size_bytes: int) -> Iterator[memoryview]:
        while size_bytes:
            if self._begin == self._end and not self._receive():
                raise Disconnected
            count = min(size_bytes, self._end - self._begin, self.up.piece_size)
            self.up.wait(count)
            self.bytes_in += count
            view = memoryview(self._buffer)[self._begin : self._begin + count]
            self._begin += count
            size_bytes -= count
            yield view

    def send(self, answer: Answer, *, size_bytes: int | None = None) -> None:
        """Headers, and the body or its first `size_bytes`. Raises Disconnected."""
        headers = {"Content-Length": str(answer.size_bytes), **answer.headers}
        head = f"HTTP/1.1 {answer.status} {_reason(answer.status)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        raw = head.encode("utf-8", "surrogateescape")
        size_bytes = answer.size_bytes if size_bytes is None else min(size_bytes, answer.size_bytes)
        if not size_bytes:
            self._write(raw)
        elif isinstance(answer.body, bytes):
            self.down.wait(size_bytes)
            self._write(raw + answer.body[:size_bytes])
            self.bytes_out += size_bytes
        else:
            self._write(raw, socket.MSG_MORE)
            self._send_file(answer.body, size_bytes)

    def _send_file(self, part: FilePart, size_bytes: int) -> None:
        offset, end = part.offset, part.offset + size_bytes
        while offset < end:
            last = min(end, offset + self.down.piece_size)
            self.down.wait(last - offset)
            while offset < last:
                try:
                    sent = os.sendfile(self._sock.fileno(), part.fd, offset, last - offset)
                except OSError as exc:
                    raise Disconnected from exc
                if not sent:
                    raise Disconnected  # the file is shorter than its metadata says
                offset += sent
                self.bytes_out += sent

    def reset(self) -> None:
        """Break off with a RST (close(2) with SO_LINGER of 0), whatever is on its way."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _write(self, data: bytes, flags: int = 0) -> None:
        try:
            self._sock.sendall(data, flags)
        except OSError as exc:
            raise Disconnected from exc


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _parsed_query(raw: bytes) -> dict[str, str]:
    """Names and values, unquoted; a name without a value has an empty one."""
    found = {}
    for pair in filter(None, raw.split(b"&")):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        found[_text(unquote_to_bytes(name))] = _text(unquote_to_bytes(value))
    return found
