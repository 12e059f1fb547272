"""The parts of a server together, and one request as its verbs (`actions` and its neighbours) see it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.oss_server import errors
from tests.oss_server.clock import Clock
from tests.oss_server.counting import Counts, Removed
from tests.oss_server.disk import Disk
from tests.oss_server.objects import Bucket, Version
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
    counts: Counts = field(default_factory=Counts)
    lifecycle_ran_s: float = 0.0
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

    def count_removed(self, version: Version) -> None:
        """For the bill of those that did not stay their class's minimum days."""
        now_s = self.clock.now_s()
        self.counts.add_removed(
            Removed(
                key=version.key,
                storage_class=version.storage_class,
                size_bytes=version.size_bytes,
                modified_age_s=now_s - version.modified_s,
                converted_age_s=now_s - version.converted_s,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, understood. `pieces` is its body, to be read once; what is left the connection throws away."""

    operation: Operation
    bucket: str
    key: str
    request: Request
    pieces: Iterator[memoryview]
    signed: Request | None = None  # as it came, if a fault changed `request`
    is_stale: bool = False  # a read is to find what was there before the last overwrite

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
