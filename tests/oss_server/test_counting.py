"""What is counted, and how the network is shaped."""

import time

import pytest

from tests.oss_server import Fault, FlipSent, Kind, Network, OssServer, Reset, StorageClass, When, server_error
from tests.oss_server.client import bucket_of
from tests.oss_server.pacing import BURST_S, Meter

MIB = 1024 * 1024


def test_requests_and_bytes_by_kind_and_class(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("packs/1", b"x" * 1000, headers={"x-oss-storage-class": "IA"})
    bucket.put_object("meta/1", b"x" * 10)
    bucket.get_object("packs/1", byte_range=(100, 199)).read()
    bucket.head_object("packs/1")
    bucket.list_objects()
    counts = oss.counts
    assert (counts.requests(Kind.PUT), counts.bytes_in(Kind.PUT)) == (2, 1010)
    assert counts.requests(Kind.PUT, storage_class=StorageClass.IA) == counts.requests(Kind.PUT, key="packs/*") == 1
    assert (counts.requests(Kind.GET), counts.bytes_out(Kind.GET), counts.bytes_out(Kind.HEAD)) == (1, 100, 0)
    assert [one.range for one in counts.seen(Kind.GET)] == ["bytes=100-199"]
    assert counts.requests() == 5 and counts.requests(Kind.LIST) == 1
    assert "GET      IA                        1" in counts.table()
    counts.clear()
    assert counts.requests() == 0


def test_what_failed_is_counted_with_what_had_passed(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("key", b"x" * 1000)
    oss.faults.plan(
        Fault(effect=server_error(), operation="HeadObject"),
        Fault(effect=Reset(When.DOWNLOADING), operation="GetObject"),
        Fault(effect=FlipSent(), operation="GetObject"),
    )
    for call in (bucket.head_object, lambda key: bucket.get_object(key).read()):
        with pytest.raises(Exception):  # noqa: B017
            call("key")
    assert [(one.status, one.bytes_out) for one in oss.counts.seen() if one.kind is not Kind.PUT] == [
        (500, 0),
        (200, 500),
    ]
    assert oss.faults.met == [1, 1, 1]


def test_what_was_removed_before_its_days_were_over(oss: OssServer) -> None:
    bucket = bucket_of(oss)
    bucket.put_object("deleted", b"x" * 1000, headers={"x-oss-storage-class": "IA"})
    bucket.put_object("overwritten", b"x")
    oss.clock.advance(days=10)
    bucket.put_object("overwritten", b"y")
    bucket.delete_object("deleted")
    assert oss.counts.requests(Kind.DELETE, storage_class=StorageClass.IA) == 1
    removed = [
        (one.key, one.storage_class.value, one.size_bytes, one.modified_age_s // 86400) for one in oss.counts.removed()
    ]
    assert removed == [("overwritten", "Standard", 1, 10), ("deleted", "IA", 1000, 10)]


def test_a_meter_lets_no_more_through_than_its_rate() -> None:
    meter = Meter()
    waits_s = [meter.wait_s(MIB, 100 * MIB) for _ in range(10)]
    assert 0.1 - BURST_S - 0.01 < waits_s[-1] <= 0.1
    assert meter.wait_s(MIB, float("inf")) == 0.0


@pytest.mark.slow  # it measures time that passes: 0.15 s
def test_a_slow_network(oss: OssServer) -> None:
    bucket = bucket_of(oss, enable_crc=False)
    bucket.put_object("key", b"x" * MIB)
    oss.network = Network(latency_s=0.03, connection_bytes_s=20 * MIB, total_bytes_s=200 * MIB)
    began_s = time.monotonic()
    bucket.get_object("key").read(MIB)
    bucket.put_object("key", b"x" * MIB)
    took_s = time.monotonic() - began_s
    assert took_s > 2 * (0.03 + 0.05 - BURST_S)
