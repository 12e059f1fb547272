"""The control socket of a mounted volume: VOLUME/control.sock, 0600, one JSON object a line (service/protocol.py)."""

import os
import select
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from rustfsfs.errors import (
    CloudRefused,
    CloudUnavailable,
    MachineTrouble,
    ObjectExists,
    ObjectFrozen,
    ObjectMissing,
    OpeningError,
    RustfsfsError,
    UsageError,
)
from rustfsfs.service.privatesocket import listen_privately
from rustfsfs.service.protocol import LINE_SIZE_MAX, NAME, Request, encode, parse_request
from rustfsfs.volume.grouping import ungrouped
from rustfsfs.volume.volume import log

Progress = Callable[[int, int, str], None]
Call = Callable[[dict[str, Any], Progress], Awaitable[Any]]
BACKLOG = 16
DRAIN_COUNT = 100
LOOK_EVERY_S = 0.5  # whether the client is there, while its call works
# Cancelled when their client is gone. They may be, at any await: it is as a crash there, of which they keep the orders;
# what would wait for the next mount then is shielded where it is done.
ENDS_WITH_CLIENT = frozenset({"seal", "collect", "fsck", "scrub", "tier_demote", "tier_recall"})
EXIT_BUG = 1
EXIT_TROUBLE = 6
EXIT_NETWORK = 8


def bind(volume_path: str) -> socket.socket:
    """A listening socket in the volume's directory; one that a dead process left is replaced.

    Bound through /proc/self/fd, since a socket's path has at most 107 bytes and a volume's may have more. Raises
    MachineTrouble.
    """
    folder = os.open(volume_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _bind(f"/proc/self/fd/{folder}/{NAME}")
    except OSError as exc:
        raise MachineTrouble(f"the control socket {volume_path}/{NAME} cannot be made ({exc.strerror})") from exc
    finally:
        os.close(folder)


def _bind(path: str) -> socket.socket:
    if os.path.lexists(path):
        os.unlink(path)
    return listen_privately(path, backlog=BACKLOG)


async def run_control(
    volume_path: str,
    calls: Mapping[str, Call],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. A client's mistake is its own error line; a bug of ours is logged, and ends nobody."""
    if os.statvfs(volume_path).f_flag & os.ST_RDONLY:
        log.warning("there is no control socket: %s is on a read-only file system", volume_path)
        task_status.started()
        await trio.sleep_forever()
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bind(volume_path)))
    try:
        task_status.started()

        async def serve(stream: trio.SocketStream) -> None:
            try:
                with ungrouped():
                    await _serve_client(stream, calls)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client went away
            except Exception:
                log.exception("the control socket failed to serve a client")

        await trio.serve_listeners(serve, [listener])
    finally:
        try:
            os.unlink(f"{volume_path}/{NAME}")
        except OSError:
            pass


async def _serve_client(stream: trio.SocketStream, calls: Mapping[str, Call]) -> None:
    buffer = b""
    while True:
        line, found, rest = buffer.partition(b"\n")
        if found:
            buffer = rest
            await _answer(stream, line, calls)
            continue
        if len(buffer) > LINE_SIZE_MAX:
            await stream.send_all(encode({"error": "the request is too long", "exit": UsageError.exit_code}))
            for _ in range(DRAIN_COUNT):  # closing with bytes unread would take the answer away from the client
                if not await stream.receive_some(LINE_SIZE_MAX):
                    break
            return
        data = await stream.receive_some(LINE_SIZE_MAX)
        if not data:
            return
        buffer += data


async def _answer(stream: trio.SocketStream, line: bytes, calls: Mapping[str, Call]) -> None:
    """Run one call; progress goes out while it works, the newest only if the client is slow.

    When the client is gone the call is cancelled: those of ENDS_WITH_CLIENT at once, the others with their next
    progress.
    """
    send, receive = trio.open_memory_channel[dict[str, Any]](1)
    token = trio.lowlevel.current_trio_token()

    def put(done: int, total: int, text: str) -> None:
        try:
            send.send_nowait({"progress": {"done": done, "total": total, "text": text}})
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    def progress(done: int, total: int, text: str) -> None:
        try:
            trio.lowlevel.current_trio_token()
        except RuntimeError:  # a worker thread reports
            token.run_sync_soon(put, done, total, text)
        else:
            put(done, total, text)

    async def forward() -> None:
        try:
            async for message in receive:
                await stream.send_all(encode(message))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            nursery.cancel_scope.cancel()

    async def watch() -> None:
        while not ended.is_set():
            if _is_hung_up(stream):
                nursery.cancel_scope.cancel()
            with trio.move_on_after(LOOK_EVERY_S):
                await ended.wait()

    reply: dict[str, Any] | None = None
    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forward)
        try:
            request = parse_request(line)
            if request.call in ENDS_WITH_CLIENT:
                nursery.start_soon(watch)
            reply = {"result": await _call(request, calls, progress)}
        except OpeningError as exc:
            reply = {"error": str(exc), "exit": exc.exit_code}
        except (CloudUnavailable, CloudRefused, ObjectMissing, ObjectExists, ObjectFrozen) as exc:
            reply = {"error": str(exc), "exit": EXIT_NETWORK}
        except RustfsfsError as exc:
            reply = {"error": str(exc), "exit": EXIT_TROUBLE}
        except Exception as exc:
            log.exception("a control call failed: a bug of rustfsfs")
            reply = {"error": f"rustfsfs failed ({exc!r}); its log says more", "exit": EXIT_BUG}
        ended.set()
        await send.aclose()
    if reply is not None:  # else nobody is there
        await stream.send_all(encode(reply))


def _is_hung_up(stream: trio.SocketStream) -> bool:
    """Has the other end closed, or died? One that only says no more may still listen. Nothing is read."""
    poll = select.poll()
    poll.register(stream.socket.fileno(), 0)
    return any(event & select.POLLHUP for _fd, event in poll.poll(0))


async def _call(request: Request, calls: Mapping[str, Call], progress: Progress) -> Any:
    call = calls.get(request.call)
    if call is None:
        raise UsageError(f"there is no call {request.call!r}; there are {', '.join(sorted(calls))}")
    return await call(request.args, progress)
