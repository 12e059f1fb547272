"""What a bucket is: the contract that OSS, the tests' fake and every wrapper keep (tests/contract/test_bucket.py).

Keys are relative to the volume's prefix. What a bucket's owner has set up is `bucketfacts`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from rustfsfs.bucketfacts import Placement

PUT_SIZE_MAX = 5 << 30  # bytes in a single PUT; OSS.md
PAGE_KEYS_MAX = 1000  # keys in one answer to LIST, and in one batch delete; OSS.md


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

    def reclass(self, key: str, *, placement: Placement) -> ObjectFacts:
        """Bring an object that is there to another class, proved: size and CRC-64 are what they were.

        Its `modified_s` begins anew. Nothing happens to one that is of that class: changing it again would bill the
        rest of its minimum days. Raises ObjectMissing, ObjectFrozen, DamagedData (it is not what it was: then the
        next call does not know that any more). After CloudUnavailable it may be of either class.
        """
        ...

    def restore(self, key: str, *, days: int) -> Restore:
        """Ask for a frozen object to become readable; says how far that is. Never waits. Raises ObjectMissing."""
        ...
