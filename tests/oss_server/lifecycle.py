"""Rules of a bucket that expire objects or move them to another class: read from XML, and what they want done. Pure.

Simpler than OSS: no tags, no last access, no sizes; the age of an old version counts from when it was written.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf

from tests.oss_server import errors, xml
from tests.oss_server.objects import DAY_S, Bucket, StorageClass, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """When a rule strikes: so many days after the last change, or for what was last changed before a date."""

    days: float = inf
    before_s: float = -inf

    def is_reached(self, modified_s: float, now_s: float) -> bool:
        return now_s >= modified_s + self.days * DAY_S or modified_s < self.before_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    rule_id: str
    prefix: str
    enabled: bool
    expiration: Age | None
    transitions: tuple[tuple[Age, StorageClass], ...]
    noncurrent_expiration: Age | None


@dataclass(frozen=True, slots=True)
class Expire:
    version: Version
    is_newest: bool


@dataclass(frozen=True, slots=True)
class Convert:
    version: Version
    storage_class: StorageClass


def parsed_rules(raw: bytes) -> tuple[Rule, ...]:
    """Raises MalformedXML. What is not looked at (tags, filters, last access) is kept and has no effect."""
    if not raw:
        return ()
    rules = tuple(_rule_of(element) for element in xml.parsed(raw, "LifecycleConfiguration").findall("Rule"))
    if not rules or len({rule.rule_id for rule in rules}) < len(rules):
        raise errors.malformed_xml()
    return rules


def _rule_of(element: ElementTree.Element) -> Rule:
    status = xml.text_of(element, "Status")
    if status not in ("Enabled", "Disabled") or element.find("Prefix") is None:
        raise errors.malformed_xml()
    try:
        transitions = tuple(
            (_age_of(one, "Days"), StorageClass(xml.text_of(one, "StorageClass")))
            for one in element.findall("Transition")
        )
        expiration, noncurrent = element.find("Expiration"), element.find("NoncurrentVersionExpiration")
        return Rule(
            rule_id=xml.text_of(element, "ID"),
            prefix=xml.text_of(element, "Prefix"),
            enabled=status == "Enabled",
            expiration=None if expiration is None else _age_of(expiration, "Days"),
            transitions=transitions,
            noncurrent_expiration=None if noncurrent is None else _age_of(noncurrent, "NoncurrentDays"),
        )
    except ValueError as exc:
        raise errors.malformed_xml() from exc


def _age_of(element: ElementTree.Element, days_name: str) -> Age:
    days = xml.text_of(element, days_name)
    date = xml.text_of(element, "CreatedBeforeDate") or xml.text_of(element, "Date")
    if days:
        return Age(days=int(days))
    return Age(before_s=datetime.fromisoformat(date).timestamp()) if date else Age()


def plan_lifecycle(bucket: Bucket, rules: tuple[Rule, ...], *, now_s: float) -> Iterator[Expire | Convert]:
    """For each version at most one step: to expire, or else the coldest class that is due; never a warmer one."""
    for key, versions in list(bucket.versions.items()):
        for version in list(versions):
            mine = [rule for rule in rules if rule.enabled and key.startswith(rule.prefix)]
            step = _step_of(version, version is versions[-1], mine, now_s)
            if step is not None:
                yield step


def _step_of(version: Version, is_newest: bool, rules: list[Rule], now_s: float) -> Expire | Convert | None:
    ages = [rule.expiration if is_newest else rule.noncurrent_expiration for rule in rules]
    if any(age is not None and age.is_reached(version.modified_s, now_s) for age in ages):
        return None if version.is_marker and is_newest else Expire(version, is_newest)
    order = list(StorageClass)
    due = [
        name
        for rule in rules
        for age, name in rule.transitions
        if age.is_reached(version.modified_s, now_s) and order.index(name) > order.index(version.storage_class)
    ]
    if not due or version.is_marker:
        return None
    return Convert(version, max(due, key=order.index))
