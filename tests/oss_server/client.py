"""oss2 as the client of a test."""

from collections.abc import Callable
from typing import Any

import oss2

from tests.oss_server.server import OssServer


def bucket_of(server: OssServer, name: str = "packs", *, auth: Any = None, **more: Any) -> Any:
    """An oss2.Bucket with the server's own key, signature V4. `more` goes to oss2."""
    credentials = oss2.credentials.StaticCredentialsProvider(server.key_id, server.secret)
    more = {"region": server.region} | more
    return oss2.Bucket(auth or oss2.ProviderAuthV4(credentials), server.endpoint, name, **more)


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    """Status and code of the refusal, which there must be."""
    try:
        call()
    except oss2.exceptions.ServerError as exc:
        return exc.status, exc.code
    raise AssertionError("it was not refused")
