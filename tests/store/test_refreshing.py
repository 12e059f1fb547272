"""A refusal makes us look for newer credentials, once."""

import pytest

from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.store.bucket import Placement
from rustfsfs.store.credentials import Credentials
from rustfsfs.store.refreshing import RefreshingBucket
from tests.store.faultbuckets import FailsFirst
from tests.store.membucket import MemBucket


class Source:
    def __init__(self) -> None:
        self.refreshed_count = 0

    def get(self) -> Credentials:
        raise NotImplementedError

    def refresh(self) -> None:
        self.refreshed_count += 1


REFUSED = CloudRefused("the token has expired")


def test_a_token_that_was_renewed_costs_one_more_request() -> None:
    source, inner = Source(), FailsFirst(MemBucket(), REFUSED)
    assert RefreshingBucket(inner, source).put("k", b"x", placement=Placement.IA).size_bytes == 1
    assert source.refreshed_count == 1


def test_a_second_refusal_is_the_answer() -> None:
    source, inner = Source(), FailsFirst(MemBucket(), REFUSED, CloudRefused("still"), REFUSED)
    with pytest.raises(CloudRefused, match="still"):
        RefreshingBucket(inner, source).head("k")
    assert source.refreshed_count == 1 and inner.requests_count == 2


def test_what_is_no_refusal_refreshes_nothing() -> None:
    source = Source()
    with pytest.raises(CloudUnavailable):
        RefreshingBucket(FailsFirst(MemBucket(), CloudUnavailable("down")), source).head("k")
    assert source.refreshed_count == 0
