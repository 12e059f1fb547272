"""A tiny HTTP/1.1 server for a few pages: GET and HEAD, one request for each connection, and nobody waits for a client.

Bounded: connections at once, bytes of a request, seconds of a connection. What is not known is refused, not guessed.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

import trio

from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.volume import log

CONNECTIONS_MAX = 16  # beyond these one is closed at once
CONNECTION_S = 10.0  # from its first byte to its last: who reads nothing, or says nothing, is not waited for
HEAD_BYTES_MAX = 8192
END = b"\r\n\r\n"
METHODS = ("GET", "HEAD")


class Reply(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


class Request(NamedTuple):
    method: str
    path: str  # without what is behind "?"


class BadRequest(Exception):
    """Answered with `status`."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


Pages = Mapping[str, Callable[[], Awaitable[Reply]]]  # by path


def parse_request(head: bytes) -> Request:
    """The first line of a request is enough for us. Raises BadRequest."""
    parts = head.split(b"\r\n", 1)[0].split(b" ")
    if len(parts) != 3 or not parts[1].startswith(b"/") or not all(part.isascii() for part in parts):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    if not parts[2].startswith(b"HTTP/1."):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if (method := parts[0].decode()) not in METHODS:
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED)
    return Request(method, parts[1].decode().partition("?")[0])


def plain(status: HTTPStatus, text: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def encode(reply: Reply, *, with_body: bool = True) -> bytes:
    lines = [
        f"HTTP/1.1 {reply.status.value} {reply.status.phrase}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *([f"Allow: {', '.join(METHODS)}"] if reply.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
    ]
    head = "\r\n".join(lines).encode() + END
    return head + reply.body if with_body else head


async def serve_http(listener: trio.SocketListener, pages: Pages) -> None:
    """Serve until cancelled. A client's mistake is its own answer; a bug of ours is logged, and ends nobody."""
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        if connections >= CONNECTIONS_MAX:
            return
        connections += 1
        try:
            with ungrouped(), trio.move_on_after(CONNECTION_S):
                await _converse(stream, pages)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went away
        except Exception:
            log.exception("a page could not be served: a bug of rustfsfs")
        finally:
            connections -= 1

    await trio.serve_listeners(serve, [listener])


async def _converse(stream: trio.SocketStream, pages: Pages) -> None:
    try:
        head = await _receive_head(stream)
        if head is None:
            return
        request = parse_request(head)
        page = pages.get(request.path)
        if page is None:
            reply = plain(HTTPStatus.NOT_FOUND, f"there are {' and '.join(pages)}")
        else:
            reply = await page()
        await stream.send_all(encode(reply, with_body=request.method != "HEAD"))
    except BadRequest as exc:
        await stream.send_all(encode(plain(exc.status, exc.status.phrase)))
    await stream.send_eof()
    while await stream.receive_some(HEAD_BYTES_MAX):  # closed with bytes unread, the client would not get its answer
        pass


async def _receive_head(stream: trio.SocketStream) -> bytes | None:
    """Up to the empty line; None: the client went away before. Raises BadRequest."""
    head = b""
    while END not in head:
        if len(head) > HEAD_BYTES_MAX:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        data = await stream.receive_some(HEAD_BYTES_MAX)
        if not data:
            return None
        head += data
    return head
