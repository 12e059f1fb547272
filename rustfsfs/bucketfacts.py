"""What a bucket and its owner's rules are, as plain facts: for the stores, which ask, and for policies, which judge."""

from dataclasses import dataclass
from enum import Enum


class Placement(Enum):
    """Storage classes, as OSS names them."""

    STANDARD = "Standard"
    IA = "IA"
    ARCHIVE = "Archive"
    COLD_ARCHIVE = "ColdArchive"
    DEEP = "DeepColdArchive"

    @property
    def freezes(self) -> bool:
        """An object of this class must be restored before it can be read."""
        return self in (Placement.ARCHIVE, Placement.COLD_ARCHIVE, Placement.DEEP)


class Versioning(Enum):
    """Of a bucket; unless OFF, it ignores that a PUT is to create only (OSS.md)."""

    OFF = "off"
    ENABLED = "Enabled"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFacts:
    location: str  # "oss-cn-hangzhou"
    placement: Placement  # of objects whose PUT names none
    versioning: Versioning


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """One rule of the bucket's owner, as far as it touches objects such as ours (without tags)."""

    rule_id: str
    prefix: str  # of whole keys, not of those relative to the volume's prefix; "" is all of them
    excluded_prefixes: tuple[str, ...]
    enabled: bool
    needs_tag: bool  # it is only about objects with a tag, and ours have none
    expires: bool  # it deletes objects, after days or at a date
    moves_to: tuple[Placement, ...]
    ends_uploads: bool  # it drops multipart uploads that were not completed, which is harmless
