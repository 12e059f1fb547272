"""The server: a thread that accepts, a thread for each connection, and a handle for the test that started it."""

import secrets
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.oss_server.bucket_actions import make_bucket
from tests.oss_server.clock import Clock
from tests.oss_server.counting import Counts
from tests.oss_server.disk import Disk
from tests.oss_server.exchange import BrokenOff, Outage, Service, serve_one
from tests.oss_server.faults import Faults
from tests.oss_server.objects import StorageClass
from tests.oss_server.pacing import Link, Meter, Network
from tests.oss_server.signature import Key
from tests.oss_server.store import Store
from tests.oss_server.wire import Connection, Disconnected

ADDRESS = "127.0.0.1"
BACKLOG = 256
REGION = "cn-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryKey:
    """As from STS."""

    key_id: str
    secret: str
    token: str
    expires_s: float


class OssServer:
    """What a test holds. `endpoint`, `region`, `key_id`, `secret` are what a client needs.

    clock, faults, counts   the test's levers and readings
    store                   what is in the buckets, for a look (under `store.lock`)
    keys                    key id -> Key; take one out, and its requests are refused
    bugs                    tracebacks of what went wrong in the server itself; a test that leaves one fails
    """

    def __init__(
        self,
        folder: Path,
        *,
        region: str = REGION,
        port: int = 0,
        clock: Clock | None = None,
        key: tuple[str, str] = ("", ""),
    ) -> None:
        self.folder, self.region = folder, region
        self.clock, self.faults, self.counts = clock or Clock(), Faults(), Counts()
        self.key_id, self.secret = key if all(key) else ("LTAI" + secrets.token_hex(8), secrets.token_hex(15))
        self.keys = {self.key_id: Key(secret=self.secret)}
        self.store = Store(disk=Disk(folder), clock=self.clock, region=region, counts=self.counts)
        self.store.buckets = self.store.disk.load()
        self.store.lifecycle_ran_s = self.clock.now_s()
        self.bugs: list[str] = []
        self._listener = socket.create_server((ADDRESS, port), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self.endpoint = f"http://{ADDRESS}:{self.port}"
        self._service = Service(store=self.store, faults=self.faults, keys=self.keys, host=f"{ADDRESS}:{self.port}")
        self._meters = Meter(), Meter()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._acceptor = self._accepting()

    def create_bucket(
        self, name: str, *, storage_class: StorageClass = StorageClass.STANDARD, region: str = ""
    ) -> None:
        """region   if it is another than the server's, every request for the bucket is sent there (AccessDenied)."""
        make_bucket(self.store, name, storage_class, region)

    def issue_key(self, *, life_s: float = 3600.0) -> TemporaryKey:
        """A new temporary key with its token. Those issued before stay good for their time."""
        key = TemporaryKey(
            key_id="STS." + secrets.token_hex(8),
            secret=secrets.token_hex(15),
            token=secrets.token_hex(32),
            expires_s=self.clock.wall_s() + life_s,
        )
        self.keys[key.key_id] = Key(secret=key.secret, token=key.token, expires_s=key.expires_s)
        return key

    def path_of(self, key: str, bucket: str = "packs") -> Path:
        """The file with an object's bytes, for a test that spoils them at rest. Raises NoSuchKey."""
        with self.store.lock:
            return self.store.disk.path(bucket, self.store.bucket(bucket).find(key).blob)

    @property
    def network(self) -> Network:
        return self._service.network

    @network.setter
    def network(self, network: Network) -> None:
        self._service.network = network

    @property
    def hanging(self) -> int:
        """How many requests hang now. What was to be executed of them has been."""
        return len(self._service.hanging)

    def release(self) -> None:
        """Let go of all that hangs: those connections are reset."""
        self._service.hang_generation += 1

    def begin_outage(self, how: Outage) -> None:
        """From its return on. Connections there are are cut; with REFUSE nobody listens on the port, which is kept."""
        assert self._service.outage is None, self._service.outage
        self._service.outage = how
        if how is Outage.REFUSE:
            _end(self._listener)
            self._acceptor.join()
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((ADDRESS, self.port))
        self.cut_connections()

    def end_outage(self) -> None:
        how, self._service.outage = self._service.outage, None
        self.release()
        if how is Outage.REFUSE:
            self._listener.listen(BACKLOG)
            self._acceptor = self._accepting()

    @contextmanager
    def outage(self, how: Outage) -> Iterator[None]:
        self.begin_outage(how)
        try:
            yield
        finally:
            self.end_outage()

    def close(self) -> None:
        self._service.closing.set()
        _end(self._listener)
        self._acceptor.join()
        self.cut_connections()

    def cut_connections(self) -> None:
        """End every connection there is, idle or in use, and wait for its thread."""
        cut = dict(self._connections)
        for sock in cut.values():
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in cut:
            while thread.is_alive():  # else it has not begun, and will find its socket shut
                self.release()  # again: it may have begun to hang just now
                thread.join(0.05)

    def _accepting(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(self._listener,), name="oss accept", daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(sock,), name="oss connection", daemon=True)
            self._connections[thread] = sock
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        up, down = (Link(meter, self._service.closing) for meter in self._meters)
        connection = Connection(sock, up=up, down=down)
        try:
            while not self._service.closing.is_set():
                serve_one(self._service, connection, connection.read_request())
        except Disconnected:
            pass
        except BrokenOff:
            connection.reset()
        except Exception:
            self.bugs.append(traceback.format_exc())
        finally:
            _end(sock)
            del self._connections[threading.current_thread()]


def _end(sock: socket.socket) -> None:
    """Close it, whoever waits on it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


@contextmanager
def serving(
    folder: Path,
    *,
    buckets: tuple[str, ...] = ("packs",),
    region: str = REGION,
    port: int = 0,
    clock: Clock | None = None,
    key: tuple[str, str] = ("", ""),
) -> Iterator[OssServer]:
    """A server over `folder` for the length of a `with` block; a bug of its own fails the test at the end.

    key   id and secret; else new ones
    """
    server = OssServer(folder, region=region, port=port, clock=clock, key=key)
    try:
        for bucket in buckets:
            server.create_bucket(bucket)
        yield server
    finally:
        server.close()
    assert not server.bugs, server.bugs[0]
