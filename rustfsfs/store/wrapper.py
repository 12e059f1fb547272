"""A bucket around a bucket: what retrying, breaker, refreshing and limiting have in common.

From the outside in they stand so, and each sees every request of the one around it:

    Retrying(Breaking(Refreshing(Limited(CountingBucket(OssBucket)))))

An attempt, not the wait between two, takes a place of the limit; the breaker counts attempts; credentials are
renewed before the breaker hears that they were refused.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from rustfsfs.bucketfacts import Placement
from rustfsfs.store.bucket import PAGE_KEYS_MAX, Bucket, ObjectFacts, Restore

T = TypeVar("T")


class WrappedBucket(ABC):
    """A `Bucket` whose requests all go through `_request`."""

    def __init__(self, inner: Bucket) -> None:
        self._inner = inner

    @abstractmethod
    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        """The result of `send`, which makes one request with bodies of so many bytes, each time it is called."""

    @property
    def name(self) -> str:
        return self._inner.name

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        send = partial(self._inner.put, key, body, placement=placement)
        return self._request(send, up_bytes=memoryview(body).nbytes)

    def replace(self, key: str, body: bytes) -> ObjectFacts:
        return self._request(partial(self._inner.replace, key, body), up_bytes=len(body))

    def get(self, key: str, offset: int, size: int) -> bytes:
        return self._request(partial(self._inner.get, key, offset, size), down_bytes=size)

    def head(self, key: str) -> ObjectFacts:
        return self._request(partial(self._inner.head, key))

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), PAGE_KEYS_MAX):
            self._request(partial(self._inner.delete, keys[start : start + PAGE_KEYS_MAX]))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        more = True
        while more:
            page = self._request(partial(self._page, prefix, after))
            yield from page
            more = len(page) == PAGE_KEYS_MAX
            after = page[-1].key if more else after

    def _page(self, prefix: str, after: str) -> tuple[ObjectFacts, ...]:
        """One request of the inner bucket, since it makes the next only when more are asked for."""
        return tuple(islice(self._inner.list(prefix, after=after), PAGE_KEYS_MAX))

    def reclass(self, key: str, *, placement: Placement) -> ObjectFacts:
        return self._request(partial(self._inner.reclass, key, placement=placement))

    def restore(self, key: str, *, days: int) -> Restore:
        return self._request(partial(self._inner.restore, key, days=days))
