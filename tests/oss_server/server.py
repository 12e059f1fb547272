"""The server: a thread that accepts, a thread for each connection, and a handle for the test that started it."""

import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.oss_server import errors, xml
from tests.oss_server.actions import carry_out, refusal
from tests.oss_server.bucket_actions import make_bucket
from tests.oss_server.clock import Clock
from tests.oss_server.disk import Disk
from tests.oss_server.objects import StorageClass
from tests.oss_server.operations import operation_of, target_of
from tests.oss_server.store import Call, Store
from tests.oss_server.wire import Answer, Connection, Disconnected, Request

KEY_ID = "LTAItestserver"
SECRET = "a-secret-of-the-test-server"


class OssServer:
    """What a test holds. `endpoint`, `region`, `key_id`, `secret` are what a client needs.

    bugs   tracebacks of what went wrong in the server itself; a test that leaves one fails
    """

    def __init__(self, folder: Path, *, region: str = "cn-test", port: int = 0, clock: Clock | None = None) -> None:
        self.region = region
        self.clock = clock or Clock()
        self.folder = folder
        self.key_id, self.secret = KEY_ID, SECRET
        self.store = Store(disk=Disk(folder), clock=self.clock, region=region)
        self.store.buckets = self.store.disk.load()
        self.bugs: list[str] = []
        self._request_numbers = count(1)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, name="oss accept", daemon=True)
        self._acceptor.start()

    def create_bucket(
        self, name: str, *, storage_class: StorageClass = StorageClass.STANDARD, region: str = ""
    ) -> None:
        """region   if it is another than the server's, every request for the bucket is sent there (AccessDenied)."""
        make_bucket(self.store, name, storage_class, region)

    def close(self) -> None:
        self._closing = True
        _end(self._listener)
        for sock in tuple(self._sockets):
            _end(sock)
        for thread in (self._acceptor, *self._threads):
            thread.join(5)

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), name="oss connection", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, lambda size_bytes: None)
        try:
            while not self._closing:
                request = connection.read_request()
                pieces = connection.pieces(request)
                answer = self._answer(request, pieces)
                try:
                    for _ in pieces:
                        pass
                    connection.send(answer)
                finally:
                    answer.close()
        except Disconnected:
            pass
        except Exception:
            self.bugs.append(traceback.format_exc())
        finally:
            _end(sock)
            self._sockets.discard(sock)
            self._threads.discard(threading.current_thread())

    def _answer(self, request: Request, pieces: Iterator[memoryview]) -> Answer:
        request_id = f"{next(self._request_numbers):024X}"
        try:
            operation = operation_of(request)
            bucket, key = target_of(request.path)
            call = Call(operation=operation, bucket=bucket, key=key, request=request, pieces=pieces)
            answer = carry_out(self.store, call)
        except errors.OssError as exc:
            answer = refusal(exc, method=request.method, request_id=request_id, host=f"127.0.0.1:{self.port}")
        answer.is_head = request.method == "HEAD"
        answer.headers |= {
            "Server": "AliyunOSS",
            "Date": xml.http_time(self.clock.wall_s()),
            "Connection": "keep-alive",
            "x-oss-request-id": request_id,
            "x-oss-server-time": "1",
        }
        return answer


def _end(sock: socket.socket) -> None:
    """Close it, whoever waits on it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


@contextmanager
def serving(
    folder: Path, *, buckets: tuple[str, ...] = ("packs",), region: str = "cn-test", port: int = 0,
    clock: Clock | None = None,
) -> Iterator[OssServer]:  # fmt: skip
    """A server over `folder` for the length of a `with` block; a bug of its own fails the test at the end."""
    server = OssServer(folder, region=region, port=port, clock=clock)
    try:
        for bucket in buckets:
            server.create_bucket(bucket)
        yield server
    finally:
        server.close()
    assert not server.bugs, server.bugs[0]
