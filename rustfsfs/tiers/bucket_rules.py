"""Is this bucket fit to hold a volume? What `rustfsfs bucket attach` judges when it has asked everything. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from rustfsfs.bucketfacts import BucketFacts, LifecycleRule, Placement, Versioning

SKEW_WARN_S = 300.0
SKEW_REFUSE_S = 900.0  # OSS takes no request that is signed a quarter of an hour off
INTERNAL = "-internal.aliyuncs.com"  # OSS.md, Endpoints


class Severity(Enum):
    REFUSE = "refuse"
    WARN = "warn"


class Finding(NamedTuple):
    severity: Severity
    text: str  # one sentence: what is wrong, and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachFacts:
    """What was asked for, and what the bucket and a probe object said."""

    bucket: BucketFacts
    rules: tuple[LifecycleRule, ...]
    volume_prefix: str  # of whole keys: "" or "some/path/"
    packs_prefix: str  # "some/path/packs/"; all else below `volume_prefix` is metadata
    endpoint: str  # as it will be used
    region: str | None  # "cn-hangzhou"; None: not named
    placement: Placement  # of the packs
    clock_skew_s: float  # this machine's clock less the bucket's
    creates_only: bool | None = None  # was a second create-only PUT of one key refused? None: not tried
    probe_placement: Placement | None = None  # where an object came to lie that was PUT in `placement`


def judge(facts: AttachFacts) -> list[Finding]:
    """All that is wrong, worst first; nothing to refuse means it can be attached."""
    found = [
        *_versioning(facts),
        *(finding for rule in facts.rules for finding in _rule(rule, facts)),
        *_endpoint(facts),
        *_region(facts),
        *_clock(facts),
        *_placement(facts),
    ]
    return sorted(found, key=lambda finding: finding.severity is Severity.WARN)


def _versioning(facts: AttachFacts) -> Iterator[Finding]:
    if facts.bucket.versioning is not Versioning.OFF:
        yield Finding(
            Severity.REFUSE,
            f"versioning of the bucket is {facts.bucket.versioning.value.lower()}, and then it does not heed that a PUT"
            " must not overwrite; use a bucket that never had versioning",
        )
    elif facts.creates_only is False:
        yield Finding(
            Severity.REFUSE,
            "the bucket let a PUT overwrite an object although it was to create only; use a bucket of OSS itself, or"
            " ask its operator for x-oss-forbid-overwrite",
        )


def _rule(rule: LifecycleRule, facts: AttachFacts) -> Iterator[Finding]:
    """Packs may move to IA; metadata must be left alone (OSS.md). Ending uploads that were given up harms nobody."""
    if not rule.enabled or rule.needs_tag or not _overlap(rule.prefix, facts.volume_prefix):
        return
    if any(facts.volume_prefix.startswith(prefix) for prefix in rule.excluded_prefixes):
        return
    only_packs = rule.prefix.startswith(facts.packs_prefix)
    freezing = [placement.value for placement in rule.moves_to if placement.freezes]
    name = f"lifecycle rule {rule.rule_id!r} ({f'prefix {rule.prefix}' if rule.prefix else 'for all objects'})"
    remedy = f"exclude {facts.volume_prefix or 'it'} from the rule, or remove it"
    if not facts.volume_prefix:
        remedy = "remove the rule, or use a bucket or a prefix of its own for the volume"
    if rule.expires:
        yield Finding(Severity.REFUSE, f"{name} deletes objects of this volume, which then are lost; {remedy}")
    elif freezing:
        text = f"{name} moves objects of this volume to {freezing[0]}, where they cannot be read at once; {remedy}"
        yield Finding(Severity.REFUSE, text)
    elif rule.moves_to and not only_packs:
        text = f"{name} moves metadata to {rule.moves_to[0].value}, and metadata must stay Standard; {remedy}"
        yield Finding(Severity.REFUSE, text)
    elif rule.moves_to:
        text = (
            f"{name} moves packs to {rule.moves_to[0].value} without regard to what is read; remove it, and set"
            " bucket.ia_after instead"
        )
        yield Finding(Severity.WARN, text)


def _overlap(one: str, other: str) -> bool:
    """Is there a key with both prefixes?"""
    return one.startswith(other) or other.startswith(one)


def _endpoint(facts: AttachFacts) -> Iterator[Finding]:
    parts = urlsplit(facts.endpoint if "://" in facts.endpoint else f"http://{facts.endpoint}")  # so does the SDK
    host = parts.hostname or ""
    if parts.scheme != "https" and not host.endswith(INTERNAL) and not _is_loopback(host):
        yield Finding(
            Severity.REFUSE,
            f"{facts.endpoint} is plain http, which others can read and change; write https://{host or 'HOST'}, or use"
            " the internal endpoint of the region",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _region(facts: AttachFacts) -> Iterator[Finding]:
    there = facts.bucket.location.removeprefix("oss-")
    if facts.region is not None and facts.region.removeprefix("oss-") != there:
        text = (
            f"the bucket is in region {there}, not in {facts.region}; write --region {there} and that region's endpoint"
        )
        yield Finding(Severity.REFUSE, text)


def _clock(facts: AttachFacts) -> Iterator[Finding]:
    off_s = abs(facts.clock_skew_s)
    if off_s > SKEW_WARN_S:
        side = "fast" if facts.clock_skew_s > 0 else "slow"
        yield Finding(
            Severity.REFUSE if off_s >= SKEW_REFUSE_S else Severity.WARN,
            f"this machine's clock is {off_s / 60:.0f} minutes {side}, and from 15 minutes on the bucket refuses"
            " everything; set the clock (chrony or systemd-timesyncd keep it right)",
        )


def _placement(facts: AttachFacts) -> Iterator[Finding]:
    wanted, arrived, default = facts.placement, facts.probe_placement, facts.bucket.placement
    if wanted.freezes:
        text = f"packs cannot lie in {wanted.value}, which is not readable at once; write --class Standard or IA"
        yield Finding(Severity.REFUSE, text)
    if arrived is not None and arrived is not wanted:
        choice = "" if arrived.freezes else f", or write --class {arrived.value}"
        text = (
            f"an object stored as {wanted.value} came to lie in {arrived.value}; use a bucket of class Standard{choice}"
        )
        yield Finding(Severity.REFUSE, text)
    elif default.freezes:
        yield Finding(
            Severity.WARN,
            f"the bucket's own class is {default.value}; rustfsfs names the class of each object, but what other"
            " programs put there freezes, so prefer a bucket of class Standard",
        )
