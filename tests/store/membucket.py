"""A bucket in memory: a fake that keeps the contract (tests/contract/test_bucket.py), on a clock that the test owns."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import DamagedData, ObjectExists, ObjectFrozen, ObjectMissing
from rustfsfs.store.bucket import ObjectFacts, Restore
from rustfsfs.store.crc64 import crc64

RESTORE_S = 60.0  # an Archive object's; OSS.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    body: bytes
    placement: Placement
    modified_s: float
    ready_s: float | None = None  # when its restore is done


class MemBucket:
    """`objects` is for tests to look into and to spoil."""

    name = "oss://memory/volume"

    def __init__(self, *, now_s: Callable[[], float] = lambda: 1_800_000_000.0, restore_s: float = RESTORE_S) -> None:
        self.objects: dict[str, Stored] = {}
        self._now_s = now_s
        self._restore_s = restore_s
        self._lock = threading.Lock()

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        with self._lock:
            if key in self.objects:
                raise ObjectExists(f"{self.name}: {key} is in the bucket already")
            return self._store(key, bytes(body), placement)

    def replace(self, key: str, body: bytes) -> ObjectFacts:
        with self._lock:
            return self._store(key, bytes(body), Placement.STANDARD)

    def get(self, key: str, offset: int, size: int) -> bytes:
        if not size:
            return b""
        found = self._find(key)
        if not self._facts(key, found).readable:
            raise ObjectFrozen(f"{self.name}: {key} is frozen")
        if offset + size > len(found.body):
            raise DamagedData(f"{self.name}: {key} is shorter than it should be")
        return found.body[offset : offset + size]

    def head(self, key: str) -> ObjectFacts:
        return self._facts(key, self._find(key))

    def delete(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self.objects.pop(key, None)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        with self._lock:
            found = sorted(self.objects.items())
        for key, stored in found:
            if key.startswith(prefix) and key > after:
                yield replace(self._facts(key, stored), crc64=None, restore=Restore.NONE)

    def reclass(self, key: str, *, placement: Placement) -> ObjectFacts:
        facts = self.head(key)
        if facts.placement is placement:
            return facts
        if not facts.readable:
            raise ObjectFrozen(f"{self.name}: {key} is frozen")
        with self._lock:
            return self._store(key, self.objects[key].body, placement)

    def restore(self, key: str, *, days: int) -> Restore:
        found = self._find(key)
        if found.placement.freezes and found.ready_s is None:
            self.objects[key] = replace(found, ready_s=self._now_s() + self._restore_s)
        return self.head(key).restore

    def _store(self, key: str, body: bytes, placement: Placement) -> ObjectFacts:
        self.objects[key] = Stored(body=body, placement=placement, modified_s=self._now_s())
        return self._facts(key, self.objects[key])

    def _find(self, key: str) -> Stored:
        with self._lock:
            if key not in self.objects:
                raise ObjectMissing(f"{self.name}: {key} is not in the bucket")
            return self.objects[key]

    def _facts(self, key: str, found: Stored) -> ObjectFacts:
        restore = Restore.NONE
        if found.ready_s is not None:
            restore = Restore.READY if self._now_s() >= found.ready_s else Restore.RUNNING
        return ObjectFacts(
            key=key,
            size_bytes=len(found.body),
            crc64=crc64(found.body),
            placement=found.placement,
            modified_s=found.modified_s,
            restore=restore,
        )
