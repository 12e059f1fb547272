"""What a bucket is: the contract that OSS, the tests' fake and every wrapper keep (tests/contract/test_bucket.py).

Keys are relative to the volume's prefix. What a bucket's owner has set up, which `rustfsfs bucket attach` checks, is
here too, as plain facts; judging them is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

PUT_SIZE_MAX = 5 << 30  # bytes in a single PUT; OSS.md
PAGE_KEYS_MAX = 1000  # keys in one answer to LIST, and in one batch delete; OSS.md


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


class Restore(Enum):
    """How far the restore of a frozen object is."""

    NONE = "none"  # nobody asked, or the object is not of a class that freezes
    RUNNING = "running"
    READY = "ready"  # it can be read, for some days


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """What the bucket says of one object."""

    key: str
    size_bytes: int
    crc64: int | None  # None: not said (LIST does not)
    placement: Placement
    modified_s: float  # since 1970, by the bucket's clock
    restore: Restore = Restore.NONE  # LIST says READY of none

    @property
    def readable(self) -> bool:
        return not self.placement.freezes or self.restore is Restore.READY


class Bucket(Protocol):
    """Objects by key. All calls block and may come from several threads at once.

    Every call may raise CloudUnavailable (try later), CloudThrottled (slower) and CloudRefused (stop).
    """

    @property
    def name(self) -> str:
        """For messages: oss://BUCKET/PREFIX."""
        ...

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        """Create an object, proved: the bucket's size and CRC-64 are ours.

        Raises ObjectExists (nothing changed), DamagedData (what arrived is not what we sent). After
        CloudUnavailable it may be there or not.
        """
        ...

    def replace(self, key: str, body: bytes) -> ObjectFacts:
        """Create or overwrite an object of the Standard class, proved as by `put`. Raises DamagedData."""
        ...

    def get(self, key: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises ObjectMissing, ObjectFrozen, DamagedData (it ends before, or a wrong answer)."""
        ...

    def head(self, key: str) -> ObjectFacts:
        """Raises ObjectMissing."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Absent already is success: crash recovery deletes twice."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        """The objects whose keys begin with `prefix` and lie behind `after`, by key; bytes decide the order.

        One request per PAGE_KEYS_MAX of them, made when the first of them is asked for.
        """
        ...

    def restore(self, key: str, *, days: int) -> Restore:
        """Ask for a frozen object to become readable; says how far that is. Never waits. Raises ObjectMissing."""
        ...


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
    expires: bool  # it deletes objects
    moves_to: tuple[Placement, ...]
    ends_uploads: bool  # it drops multipart uploads that were not completed, which is harmless
