"""What is found wrong with a bucket, and that each finding says what to do."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustfsfs.bucketfacts import BucketFacts, LifecycleRule, Placement, Versioning
from rustfsfs.tiers.bucket_rules import AttachFacts, Severity, judge

GOOD = AttachFacts(
    bucket=BucketFacts(location="oss-cn-hangzhou", placement=Placement.STANDARD, versioning=Versioning.OFF),
    rules=(),
    volume_prefix="vol/",
    packs_prefix="vol/packs/",
    endpoint="https://oss-cn-hangzhou.aliyuncs.com",
    region="cn-hangzhou",
    placement=Placement.STANDARD,
    clock_skew_s=0.5,
    creates_only=True,
    probe_placement=Placement.STANDARD,
)
REFUSE, WARN = Severity.REFUSE, Severity.WARN


def rule(prefix: str = "", **facts: Any) -> LifecycleRule:
    known: dict[str, Any] = {
        "rule_id": "tidy",
        "excluded_prefixes": (),
        "enabled": True,
        "needs_tag": False,
        "expires": False,
        "moves_to": (),
        "ends_uploads": False,
    }
    return LifecycleRule(prefix=prefix, **(known | facts))


def judged(facts: AttachFacts) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.text) for finding in judge(facts)]


def test_a_good_bucket_has_no_findings() -> None:
    assert judged(GOOD) == []


@pytest.mark.parametrize(
    ("one", "want", "says"),
    [
        pytest.param(rule(expires=True), REFUSE, "for all objects", id="expires everything"),
        pytest.param(rule("vol/", expires=True), REFUSE, "prefix vol/", id="expires the volume"),
        pytest.param(rule("vol/packs/0", expires=True), REFUSE, "deletes objects", id="expires some of the packs"),
        pytest.param(rule("vol/meta/", expires=True), REFUSE, "deletes objects", id="expires metadata"),
        pytest.param(rule("v", expires=True), REFUSE, "exclude vol/", id="a prefix that is no folder"),
        pytest.param(rule("other/", expires=True), None, "", id="somebody else's"),
        pytest.param(rule("vol-old/", expires=True), None, "", id="a name that only looks like ours"),
        pytest.param(rule(expires=True, enabled=False), None, "", id="switched off"),
        pytest.param(rule(expires=True, needs_tag=True), None, "", id="for objects with a tag"),
        pytest.param(rule(expires=True, excluded_prefixes=("vol/",)), None, "", id="all but the volume"),
        pytest.param(rule(expires=True, excluded_prefixes=("x/", "vo")), None, "", id="all but more than the volume"),
        pytest.param(rule(expires=True, excluded_prefixes=("vol/packs/",)), REFUSE, "", id="all but the packs"),
        pytest.param(rule(moves_to=(Placement.ARCHIVE,)), REFUSE, "Archive", id="freezes everything"),
        pytest.param(
            rule("vol/packs/", moves_to=(Placement.IA, Placement.DEEP)), REFUSE, "DeepColdArchive", id="freezes packs"
        ),
        pytest.param(rule("vol/packs/", moves_to=(Placement.IA,)), WARN, "bucket.ia_after", id="packs to IA"),
        pytest.param(rule("vol/", moves_to=(Placement.IA,)), REFUSE, "metadata", id="metadata to IA"),
        pytest.param(rule(ends_uploads=True), None, "", id="ends uploads that were given up"),
    ],
)
def test_lifecycle_rules(one: LifecycleRule, want: Severity | None, says: str) -> None:
    found = judged(replace(GOOD, rules=(one,)))
    assert [severity for severity, _text in found] == ([want] if want else [])
    assert all(says in text and "'tidy'" in text for _severity, text in found)


def test_in_a_bucket_that_the_volume_has_for_itself_every_rule_touches_it() -> None:
    whole = replace(GOOD, volume_prefix="", packs_prefix="packs/")
    for prefix in ("", "packs/", "meta/", "anything"):
        [(severity, text)] = judged(replace(whole, rules=(rule(prefix, expires=True),)))
        assert severity is REFUSE and "a prefix of its own" in text


def bucket(**changed: Any) -> AttachFacts:
    return replace(GOOD, bucket=replace(GOOD.bucket, **changed))


@pytest.mark.parametrize(
    ("facts", "want", "says"),
    [
        pytest.param(bucket(versioning=Versioning.ENABLED), REFUSE, "never had versioning", id="versioning"),
        pytest.param(bucket(versioning=Versioning.SUSPENDED), REFUSE, "suspended", id="versioning suspended"),
        pytest.param(replace(GOOD, creates_only=False), REFUSE, "create only", id="a PUT overwrote"),
        pytest.param(replace(GOOD, region="cn-beijing"), REFUSE, "--region cn-hangzhou", id="the wrong region"),
        pytest.param(replace(GOOD, clock_skew_s=301), WARN, "5 minutes fast", id="a clock that is fast"),
        pytest.param(replace(GOOD, clock_skew_s=-900), REFUSE, "15 minutes slow", id="a clock that is slow"),
        pytest.param(replace(GOOD, placement=Placement.ARCHIVE, probe_placement=None), REFUSE, "IA", id="Archive"),
        pytest.param(replace(GOOD, probe_placement=Placement.IA), REFUSE, "--class IA", id="not where it was put"),
        pytest.param(replace(GOOD, probe_placement=Placement.DEEP), REFUSE, "of class Standard", id="frozen at once"),
        pytest.param(bucket(placement=Placement.COLD_ARCHIVE), WARN, "ColdArchive", id="a bucket for cold things"),
    ],
)
def test_everything_else(facts: AttachFacts, want: Severity, says: str) -> None:
    [(severity, text)] = judged(facts)
    assert severity is want and says in text


@pytest.mark.parametrize(
    ("endpoint", "is_fine"),
    [
        ("https://oss-cn-hangzhou.aliyuncs.com", True),
        ("http://oss-cn-hangzhou-internal.aliyuncs.com", True),
        ("http://127.0.0.1:9000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:9000", True),
        ("http://localhost:9000", True),
        ("http://oss-cn-hangzhou.aliyuncs.com", False),
        ("oss-cn-hangzhou.aliyuncs.com", False),  # to the SDK that is http
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
        ("http://oss-internal.aliyuncs.com.example.com", False),
        ("HTTP://example.com", False),
        ("http://", False),
    ],
)
def test_plain_http_only_where_nobody_else_listens(endpoint: str, is_fine: bool) -> None:
    found = judged(replace(GOOD, endpoint=endpoint))
    assert found == [] if is_fine else [severity for severity, _text in found] == [REFUSE]


def test_what_was_not_asked_is_not_held_against_it() -> None:
    assert judged(replace(GOOD, region=None, creates_only=None, probe_placement=None)) == []


prefixes = st.text("ab/", max_size=4)


@given(prefixes, prefixes, prefixes, prefixes)
def test_no_rule_that_deletes_one_of_our_objects_gets_through(
    volume: str, rule_prefix: str, excluded: str, name: str
) -> None:
    volume_prefix = volume.strip("/") + "/" if volume.strip("/") else ""
    key = volume_prefix + name
    one = rule(rule_prefix, expires=True, excluded_prefixes=(excluded,))
    facts = replace(GOOD, volume_prefix=volume_prefix, packs_prefix=volume_prefix + "packs/", rules=(one,))
    if key.startswith(rule_prefix) and not key.startswith(excluded):
        assert [severity for severity, _text in judged(facts)] == [REFUSE]


def test_all_findings_come_at_once_the_worst_first_and_each_is_one_sentence() -> None:
    facts = replace(
        bucket(versioning=Versioning.ENABLED),
        endpoint="http://example.com",
        clock_skew_s=400,
        rules=(rule("vol/packs/", moves_to=(Placement.IA,)), rule(expires=True)),
    )
    found = judged(facts)
    assert [severity for severity, _text in found] == [REFUSE, REFUSE, REFUSE, WARN, WARN]
    assert all(text[-1] not in ".; " and ". " not in text and "\n" not in text for _severity, text in found)
