"""The parts of a server together, without methods of its own: the verbs are in `actions` and its neighbours."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.oss_server import errors
from tests.oss_server.clock import Clock
from tests.oss_server.disk import Disk
from tests.oss_server.objects import Bucket
from tests.oss_server.operations import Operation
from tests.oss_server.wire import Request

OWNER = {"ID": "1234567890123456", "DisplayName": "1234567890123456"}
XML_SIZE_MAX = 4 * 1024 * 1024  # bytes; a batch delete of 1 000 keys of 1 023 bytes fits


@dataclass(kw_only=True)
class Store:
    """`lock` is held for every look at `buckets` and never while bytes move."""

    disk: Disk
    clock: Clock
    region: str
    buckets: dict[str, Bucket] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def bucket(self, name: str) -> Bucket:
        """Raises NoSuchBucket; AccessDenied with the right endpoint if it is in another region."""
        found = self.buckets.get(name)
        if found is None:
            raise errors.no_such_bucket(name)
        if found.region != self.region:
            text = "The bucket you are attempting to access must be addressed using the specified endpoint. "
            text += "Please send all future requests to this endpoint."
            facts = {"Bucket": name, "Endpoint": f"oss-{found.region}.aliyuncs.com"}
            raise errors.OssError(403, "AccessDenied", text, "0003-00001403", facts)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, understood. `pieces` is its body, to be read once; what is left the connection throws away."""

    operation: Operation
    bucket: str
    key: str
    request: Request
    pieces: Iterator[memoryview]

    def header(self, name: str) -> str:
        return self.request.headers.get(name, "")

    def query(self, name: str) -> str:
        return self.request.query.get(name, "")

    def document(self) -> bytes:
        """A body that is XML. Raises MalformedXML if it is too large."""
        parts, size_bytes = [], 0
        for piece in self.pieces:
            size_bytes += len(piece)
            if size_bytes > XML_SIZE_MAX:
                raise errors.malformed_xml()
            parts.append(bytes(piece))
        return b"".join(parts)
