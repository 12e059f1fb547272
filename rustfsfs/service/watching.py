"""A mount's pages for those who watch it: /metrics for Prometheus, /healthz for whoever restarts or routes.

On a loopback address everybody on this host may read them, and through a unix socket its owner only. They name paths of
disks and sentences of `status`, never a file of the volume.
"""

import errno
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import trio

from rustfsfs.errors import MachineTrouble
from rustfsfs.listening import Listen, Loopback, UnixSocket
from rustfsfs.service.exposition import CONTENT_TYPE, Exposition
from rustfsfs.service.http import Pages, Reply, serve_http
from rustfsfs.service.privatesocket import listen_privately
from rustfsfs.volume.figures import Figures, figures_and_space
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import real_timing

BACKLOG = 16
BREATH_S = 0.0001  # between pieces of a page: so long others have the interpreter for certain


async def run_metrics(
    volume: Volume, listen: Listen, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; says where. Raises MachineTrouble: the address or socket is taken, or not to be had."""
    with bound(listen) as listening:
        where = _name_of(listening, listen)
        log.info("metrics are served on %s", where)
        task_status.started(where)
        await serve_http(trio.SocketListener(trio.socket.from_stdlib_socket(listening)), pages(volume))


def pages(volume: Volume) -> Pages:
    exposition, sleep = Exposition(), real_timing().sleep
    one_at_a_time = trio.CapacityLimiter(1)

    def breathe() -> None:
        sleep(BREATH_S)

    def text(figures: Figures) -> bytes:
        return exposition.text(figures, breathe)

    async def metrics() -> Reply:
        body = await trio.to_thread.run_sync(text, await figures_and_space(volume), limiter=one_at_a_time)
        return Reply(HTTPStatus.OK, CONTENT_TYPE, body)

    async def health() -> Reply:
        why = (await figures_and_space(volume))["reasons"]
        body = json.dumps({"healthy": not why, "reasons": why}).encode() + b"\n"
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, "application/json", body)

    return {"/metrics": metrics, "/healthz": health}


@contextmanager
def bound(listen: Listen) -> Iterator[socket.socket]:
    """A listening socket. A unix socket that a dead process left is replaced, and ours is gone at the end."""
    try:
        listening = _bind_unix(listen.path) if isinstance(listen, UnixSocket) else _bind_loopback(listen)
        identity = _identity(listen.path) if isinstance(listen, UnixSocket) else None
    except OSError as exc:
        why = "it is taken by another program" if exc.errno == errno.EADDRINUSE else exc.strerror
        raise MachineTrouble(f"metrics cannot be served on {listen} ({why}); the mount goes on without") from exc
    try:
        yield listening
    finally:
        if isinstance(listen, UnixSocket) and identity is not None:
            _remove_own(listen.path, identity)
        listening.close()


def _bind_loopback(listen: Loopback) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else not for a minute after the last mount
        listening.bind((listen.host, listen.port))
        listening.listen(BACKLOG)
        return listening
    except BaseException:
        listening.close()
        raise


def _bind_unix(path: str) -> socket.socket:
    _remove_dead(path)
    return listen_privately(path, backlog=BACKLOG)


def _remove_dead(path: str) -> None:
    """Raises OSError: EADDRINUSE when somebody listens there, or it is something else than a socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "something else of this name is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove_own(path: str, identity: tuple[int, int]) -> None:
    """Not one that another process has put in its place."""
    with suppress(OSError):
        if _identity(path) == identity:
            os.unlink(path)


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _name_of(listening: socket.socket, listen: Listen) -> str:
    """Where it is: a port that the kernel chose is named."""
    if isinstance(listen, UnixSocket):
        return str(listen)
    return str(Loopback(listen.host, listening.getsockname()[1]))
