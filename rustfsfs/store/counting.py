"""Requests to a bucket, counted as they are billed: by what they ask for and by storage class, each attempt."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudThrottled
from rustfsfs.store.breaker import verdict_of
from rustfsfs.store.bucket import PAGE_KEYS_MAX, Bucket, ObjectFacts, Restore

THROTTLED = "throttled"  # asked to go slower: not done, and tried again
UNKNOWN = ""  # the class of what is read, looked at, listed or deleted: only the bucket knows


class Request(NamedTuple):
    """A kind of requests."""

    name: str  # of the method of `Bucket`
    storage_class: str  # as OSS names it, or UNKNOWN
    outcome: str  # THROTTLED, or a `Verdict`'s value


class Requests:
    """How many of each kind since the start. For the threads of all ways to one bucket."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Request, int] = {}

    def add(self, request: Request) -> None:
        with self._lock:
            self._counts[request] = self._counts.get(request, 0) + 1

    def counts(self) -> dict[Request, int]:
        with self._lock:
            return dict(self._counts)


class CountingBucket:
    """A `Bucket` around one that sends requests: the innermost wrapper (`wrapper`), so it sees each attempt."""

    def __init__(self, inner: Bucket, requests: Requests) -> None:
        self._inner = inner
        self._requests = requests

    @contextmanager
    def _counted(self, name: str, storage_class: str = UNKNOWN) -> Iterator[None]:
        error: BaseException | None = None
        try:
            yield
        except BaseException as exc:
            error = exc
            raise
        finally:
            outcome = THROTTLED if isinstance(error, CloudThrottled) else verdict_of(error).value
            self._requests.add(Request(name, storage_class, outcome))

    @property
    def name(self) -> str:
        return self._inner.name

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        with self._counted("put", placement.value):
            return self._inner.put(key, body, placement=placement)

    def replace(self, key: str, body: bytes) -> ObjectFacts:
        with self._counted("replace", Placement.STANDARD.value):
            return self._inner.replace(key, body)

    def get(self, key: str, offset: int, size: int) -> bytes:
        with self._counted("get"):
            return self._inner.get(key, offset, size)

    def head(self, key: str) -> ObjectFacts:
        with self._counted("head"):
            return self._inner.head(key)

    def delete(self, keys: Sequence[str]) -> None:
        with self._counted("delete"):
            self._inner.delete(keys)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        found = self._inner.list(prefix, after=after)
        while True:
            with self._counted("list"):
                page = tuple(islice(found, PAGE_KEYS_MAX))
            yield from page
            if len(page) < PAGE_KEYS_MAX:
                return

    def reclass(self, key: str, *, placement: Placement) -> ObjectFacts:
        with self._counted("reclass", placement.value):
            return self._inner.reclass(key, placement=placement)

    def restore(self, key: str, *, days: int) -> Restore:
        with self._counted("restore"):
            return self._inner.restore(key, days=days)
