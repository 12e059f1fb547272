"""How a bucket is set up, as `rustfsfs bucket attach` asks for it."""

import time

import pytest

from rustfsfs.errors import CloudRefused, CloudUnavailable
from rustfsfs.store.bucket import BucketFacts, LifecycleRule, Placement, Versioning
from tests.store.canned import answer, canned, oss_error
from tests.store.test_oss import bucket_at

INFO = """<?xml version="1.0" encoding="UTF-8"?>
<BucketInfo><Bucket>
  <CreationDate>2026-01-01T00:00:00.000Z</CreationDate>
  <ExtranetEndpoint>oss-cn-test.aliyuncs.com</ExtranetEndpoint>
  <IntranetEndpoint>oss-cn-test-internal.aliyuncs.com</IntranetEndpoint>
  <Location>oss-cn-test</Location><Name>packs</Name><StorageClass>{placement}</StorageClass>
  <Owner><DisplayName>1</DisplayName><ID>1</ID></Owner>
  <AccessControlList><Grant>private</Grant></AccessControlList>{more}
</Bucket></BucketInfo>"""

RULES = b"""<?xml version="1.0" encoding="UTF-8"?>
<LifecycleConfiguration>
  <Rule><ID>freeze</ID><Prefix>v/packs/</Prefix><Status>Enabled</Status>
    <Filter><Not><Prefix>v/packs/keep</Prefix></Not></Filter>
    <Transition><Days>30</Days><StorageClass>IA</StorageClass></Transition>
    <Transition><Days>90</Days><StorageClass>ColdArchive</StorageClass></Transition></Rule>
  <Rule><ID>expire</ID><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>
  <Rule><ID>tagged</ID><Prefix></Prefix><Status>Disabled</Status><Tag><Key>a</Key><Value>b</Value></Tag>
    <Expiration><CreatedBeforeDate>2026-01-01T00:00:00.000Z</CreatedBeforeDate></Expiration></Rule>
  <Rule><ID>tidy</ID><Prefix>v/</Prefix><Status>Enabled</Status>
    <Filter><Not><Prefix>v/x</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></Not></Filter>
    <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>
    <AbortMultipartUpload><Days>7</Days></AbortMultipartUpload></Rule>
</LifecycleConfiguration>"""


def info(placement: str = "Standard", more: str = "") -> bytes:
    return answer("200 OK", INFO.format(placement=placement, more=more).encode())


def rule(rule_id: str, **facts: object) -> LifecycleRule:
    usual = {
        "prefix": "",
        "excluded_prefixes": (),
        "enabled": True,
        "needs_tag": False,
        "expires": False,
        "moves_to": (),
        "ends_uploads": False,
    }
    return LifecycleRule(rule_id=rule_id, **(usual | facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "placement", "versioning"),
    [
        pytest.param(info(), Placement.STANDARD, Versioning.OFF, id="as it comes"),
        pytest.param(info("IA", "<Versioning></Versioning>"), Placement.IA, Versioning.OFF, id="an empty element"),
        pytest.param(
            info(more="<Versioning>Enabled</Versioning>"), Placement.STANDARD, Versioning.ENABLED, id="versioning"
        ),
        pytest.param(
            info(more="<Versioning>Suspended</Versioning>"), Placement.STANDARD, Versioning.SUSPENDED, id="suspended"
        ),
    ],
)
def test_facts(script: bytes, placement: Placement, versioning: Versioning) -> None:
    with canned(script) as server:
        found = bucket_at(server.endpoint).facts()
    assert found == BucketFacts(location="oss-cn-test", placement=placement, versioning=versioning)


def test_a_class_of_the_future_is_refused() -> None:
    with canned(info("Permafrost")) as server, pytest.raises(CloudRefused, match="Permafrost"):
        bucket_at(server.endpoint).facts()


def test_lifecycle_rules() -> None:
    with canned(answer("200 OK", RULES)) as server:
        found = bucket_at(server.endpoint).lifecycle()
    assert found == (
        rule(
            "freeze",
            prefix="v/packs/",
            excluded_prefixes=("v/packs/keep",),
            moves_to=(Placement.IA, Placement.COLD_ARCHIVE),
        ),
        rule("expire", expires=True),
        rule("tagged", enabled=False, needs_tag=True, expires=True),
        rule("tidy", prefix="v/", ends_uploads=True),
    )


def test_no_lifecycle_rules() -> None:
    with canned(oss_error("404 No", "NoSuchLifecycle")) as server:
        assert bucket_at(server.endpoint).lifecycle() == ()


DATE = "Thu, 26 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(answer("200 OK", INFO.format(placement="IA", more="").encode(), date=DATE), id="an answer"),
        pytest.param(oss_error("403 No", "RequestTimeTooSkewed", date=DATE), id="a refusal because of the clock"),
        pytest.param(oss_error("404 No", "NoSuchBucket", date=DATE), id="another error"),
    ],
)
def test_the_servers_time(script: bytes) -> None:
    with canned(script) as server:
        assert bucket_at(server.endpoint, clock_s=time.monotonic).server_time_s() == 1795694400.0


def test_without_a_time_there_is_none() -> None:
    with canned(info()) as server, pytest.raises(CloudUnavailable, match="not OSS's"):
        bucket_at(server.endpoint).server_time_s()
