"""Refused credentials are looked for once more: they may have been renewed, or the cached ones be too old."""

from collections.abc import Callable
from typing import TypeVar

from rustfsfs.errors import CloudRefused
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.credentials import CredentialSource
from rustfsfs.store.wrapper import WrappedBucket

T = TypeVar("T")


class RefreshingBucket(WrappedBucket):
    """Raises the second refusal."""

    def __init__(self, inner: Bucket, source: CredentialSource) -> None:
        super().__init__(inner)
        self._source = source

    def _request(self, send: Callable[[], T], *, up_bytes: int = 0, down_bytes: int = 0) -> T:
        try:
            return send()
        except CloudRefused:
            self._source.refresh()
        return send()
