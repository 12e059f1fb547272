"""The tiny server: what it answers, and who cannot hold it up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
import trio
import trio.testing

from rustfsfs.service.http import CONNECTION_S, CONNECTIONS_MAX, HEAD_BYTES_MAX, Reply, plain, serve_http

BODY = b"x" * 100


async def page() -> Reply:
    return Reply(HTTPStatus.OK, "text/plain", BODY)


async def large() -> Reply:
    return Reply(HTTPStatus.OK, "text/plain", bytes(32 << 20))


async def bug() -> Reply:
    raise RuntimeError("a bug")


PAGES = {"/page": page, "/large": large, "/bug": bug}
Connect = Callable[[], Awaitable[trio.SocketStream]]


@asynccontextmanager
async def served() -> AsyncIterator[Connect]:
    """How to connect to a server on a port that the kernel chose."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()[:2]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, listener, PAGES)
        yield lambda: trio.open_tcp_stream(host, port)
        nursery.cancel_scope.cancel()


async def answer(stream: trio.SocketStream) -> bytes:
    found = b""
    while data := await stream.receive_some(1 << 16):
        found += data
    return found


async def asked(connect: Connect, request: bytes) -> tuple[bytes, bytes]:
    """(status line and headers, body)."""
    async with await connect() as stream:
        await stream.send_all(request)
        head, _, body = (await answer(stream)).partition(b"\r\n\r\n")
        return head, body


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        pytest.param(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n", 200, BODY, id="a page"),
        pytest.param(b"GET /page?a=b HTTP/1.0\r\n\r\n", 200, BODY, id="with a query, of an older client"),
        pytest.param(b"HEAD /page HTTP/1.1\r\n\r\n", 200, b"", id="its head"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 404, b"there are /page and /large and /bug\n", id="no such page"),
        pytest.param(b"POST /page HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405, None, id="another method"),
        pytest.param(b"GET /page HTTP/2.0\r\n\r\n", 505, None, id="another version"),
        pytest.param(b"GET  /page HTTP/1.1\r\n\r\n", 400, None, id="no request"),
        pytest.param(b"GET page HTTP/1.1\r\n\r\n", 400, None, id="no path"),
        pytest.param("GET /ä HTTP/1.1\r\n\r\n".encode(), 400, None, id="no ASCII"),
        pytest.param(b"\x16\x03\x01\x02\x00\r\n\r\n", 400, None, id="TLS"),
        pytest.param(b"GET /page HTTP/1.1\r\nA: " + b"a" * 3 * HEAD_BYTES_MAX, 431, None, id="a request without end"),
    ],
)
async def test_what_is_answered(request_: bytes, status: int, body: bytes | None) -> None:
    async with served() as connect:
        head, found = await asked(connect, request_)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in head
    assert (b"\r\nAllow: GET, HEAD" in head) == (status == 405)
    assert body is None or found == body
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert length == len(BODY if request_.startswith(b"HEAD") else found)


async def test_a_request_in_crumbs_is_one() -> None:
    async with served() as connect, await connect() as stream:
        for byte in b"GET /page HTTP/1.1\r\n\r\n":
            await stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert (await answer(stream)).endswith(BODY)


async def test_a_bug_of_a_page_is_logged_and_ends_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as connect:
        assert await asked(connect, b"GET /bug HTTP/1.1\r\n\r\n") == (b"", b"")
        assert "a bug of rustfsfs" in caplog.text
        assert (await asked(connect, b"GET /page HTTP/1.1\r\n\r\n"))[1] == BODY


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="who says nothing"),
        pytest.param(b"GET /pa", id="who says half of it"),
        pytest.param(b"GET /large HTTP/1.1\r\n\r\n", id="who never reads"),
        pytest.param(b"GET /page HTTP/1.1\r\n\r\n", id="who never closes"),
    ],
)
async def test_nobody_is_waited_for_without_end(sent: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with served() as connect, await connect() as held, await connect() as other:
        await held.send_all(sent)
        started_s = trio.current_time()
        await trio.sleep(CONNECTION_S / 2)
        await other.send_all(b"GET /page HTTP/1.1\r\n\r\n")
        assert BODY in await other.receive_some()
        await trio.sleep(CONNECTION_S / 2 + 0.1)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await held.send_all(b"x" * 1000)
                await trio.sleep(0.1)
        assert trio.current_time() - started_s < 2 * CONNECTION_S


async def test_beyond_so_many_connections_one_is_closed_at_once_and_later_there_is_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with served() as connect:
        held = [await connect() for _ in range(CONNECTIONS_MAX)]
        await trio.testing.wait_all_tasks_blocked()
        surplus = await connect()
        assert await surplus.receive_some() == b""
        for stream in held[:1]:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await asked(connect, b"GET /page HTTP/1.1\r\n\r\n"))[1] == BODY
        await trio.sleep(CONNECTION_S + 1)
        assert [await stream.receive_some() for stream in held[1:]] == [b""] * (CONNECTIONS_MAX - 1)


async def test_a_client_that_goes_away_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as connect:
        for sent in (b"", b"GET /large HTTP/1.1\r\n\r\n"):
            stream = await connect()
            await stream.send_all(sent)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        assert (await asked(connect, b"GET /page HTTP/1.1\r\n\r\n"))[1] == BODY
    assert caplog.records == []


def test_a_sentence_is_one_line() -> None:
    assert plain(HTTPStatus.NOT_FOUND, "nothing").body == b"nothing\n"
