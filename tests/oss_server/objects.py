"""What buckets hold: objects, their versions, their storage classes and restores. Pure: no bytes, no files, no clock.

Every verb takes `now_s` (seconds since 1970) and says which versions fell out, whose bytes the caller may then remove.
Facts: /work/shared/OSS.md; restore times are the promised ones, so that a test knows them.
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from tests.oss_server import errors

DAY_S = 86400.0
NULL = "null"  # the id of a version that was written without versioning


class StorageClass(Enum):
    STANDARD = "Standard"
    IA = "IA"
    ARCHIVE = "Archive"
    COLD_ARCHIVE = "ColdArchive"
    DEEP_COLD_ARCHIVE = "DeepColdArchive"

    @property
    def freezes(self) -> bool:
        return self in RESTORE_S


RESTORE_S: dict[StorageClass, dict[str, float]] = {  # class -> tier of the restore -> seconds until readable
    StorageClass.ARCHIVE: {"Standard": 60.0},
    StorageClass.COLD_ARCHIVE: {"Expedited": 3600.0, "Standard": 5 * 3600.0, "Bulk": 12 * 3600.0},
    StorageClass.DEEP_COLD_ARCHIVE: {"Expedited": 12 * 3600.0, "Standard": 48 * 3600.0},
}


class Versioning(Enum):
    NEVER = ""
    ENABLED = "Enabled"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """A restore that was asked for: frozen until `ready_s`, readable until `until_s`, frozen again."""

    ready_s: float
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    key: str
    version_id: str
    blob: str  # the name of the file with its bytes; "" for a delete marker
    size_bytes: int
    crc64: int
    etag: str  # upper-case hex, no quotes
    storage_class: StorageClass
    modified_s: float
    converted_s: float  # when it came into its class: where the minimum days of the cold archives begin
    headers: dict[str, str] = field(default_factory=dict)  # Content-Type, x-oss-meta-…: given back as they came
    kind: str = "Normal"
    restore: Restore | None = None

    @property
    def is_marker(self) -> bool:
        return not self.blob

    def is_frozen(self, now_s: float) -> bool:
        if not self.storage_class.freezes:
            return False
        return self.restore is None or not self.restore.ready_s <= now_s < self.restore.until_s

    def is_restoring(self, now_s: float) -> bool:
        return self.restore is not None and now_s < self.restore.ready_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    path: str  # of its bytes, which no version has yet
    size_bytes: int
    crc64: int
    md5: bytes
    modified_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A multipart upload that was begun. `parts` by number."""

    upload_id: str
    key: str
    storage_class: StorageClass
    headers: dict[str, str]
    initiated_s: float
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(kw_only=True)
class Bucket:
    """One bucket. Keeps: every key in `_keys` (sorted) has at least one version; the last one is the newest."""

    name: str
    created_s: float
    storage_class: StorageClass = StorageClass.STANDARD
    region: str
    versioning: Versioning = Versioning.NEVER
    lifecycle: bytes = b""  # its XML as it came; b"": there is none
    versions: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    stale: dict[str, Version] = field(default_factory=dict)  # what was last overwritten, for the faults
    _keys: list[str] = field(default_factory=list)

    def newest(self, key: str) -> Version | None:
        """The object under this name, if it is there and not deleted."""
        found = self.versions.get(key)
        return None if found is None or found[-1].is_marker else found[-1]

    def find(self, key: str, version_id: str = "") -> Version:
        """Raises NoSuchKey, NoSuchVersion."""
        if not version_id:
            found = self.newest(key)
            if found is None:
                raise errors.no_such_key(key)
            return found
        for version in self.versions.get(key, ()):
            if version.version_id == version_id:
                return version
        raise errors.no_such_version(key, version_id)

    def keys_from(self, first: str) -> Iterator[str]:
        """Every name not below `first`, in order, with deleted ones if versions of them are left."""
        for index in range(bisect.bisect_left(self._keys, first), len(self._keys)):
            yield self._keys[index]

    def add(self, version: Version, *, forbid_overwrite: bool = False) -> list[Version]:
        """Put a version on top. Raises FileAlreadyExists, but never on a bucket with versioning (as OSS ignores it)."""
        if forbid_overwrite and self.versioning is Versioning.NEVER and self.newest(version.key) is not None:
            raise errors.exists_already()
        found = self.versions.get(version.key)
        if found is None:
            found = self.versions[version.key] = []
            bisect.insort(self._keys, version.key)
        dropped = [] if version.version_id != NULL else [old for old in found if old.version_id == NULL]
        found[:] = [old for old in found if old not in dropped] + [version]
        return self._overwritten(version.key, dropped)

    def _overwritten(self, key: str, dropped: list[Version]) -> list[Version]:
        """The newest of what was overwritten is kept aside; what lay there before it falls out."""
        fallen = [version for version in dropped if version.is_marker]
        for version in dropped:
            if not version.is_marker:
                if key in self.stale:
                    fallen.append(self.stale[key])
                self.stale[key] = version
        return fallen

    def upload(self, key: str, upload_id: str) -> Upload:
        """Raises NoSuchUpload."""
        found = self.uploads.get(upload_id)
        if found is None or found.key != key:
            raise errors.no_such_upload(upload_id)
        return found

    def change(self, old: Version, new: Version) -> None:
        """Another class or restore for a version that stays where it is."""
        found = self.versions[old.key]
        found[found.index(old)] = new

    def remove(self, key: str, version_id: str = "") -> list[Version]:
        """Drop a version for good, or, without an id and without versioning, the object. Absent is success."""
        found = self.versions.get(key, [])
        dropped = [old for old in found if old.version_id == (version_id or NULL)]
        left = [old for old in found if old not in dropped]
        if left:
            self.versions[key] = left
        elif found:
            del self.versions[key]
            del self._keys[bisect.bisect_left(self._keys, key)]
        if not left and key in self.stale:
            dropped.append(self.stale.pop(key))
        return dropped


def restored(version: Version, *, now_s: float, days: int, tier: str) -> tuple[Version, int]:
    """Ask for a frozen object: the version as it is from now on, and the status of the answer.

    202: it will be readable after the tier's time. 200: it is readable, and now for `days` more.
    Raises RestoreAlreadyInProgress, OperationNotSupported (the class does not freeze), InvalidArgument.
    """
    if not version.storage_class.freezes:
        raise errors.not_supported()
    tiers = RESTORE_S[version.storage_class]
    if tier not in tiers:
        raise errors.invalid_argument("The restore tier is invalid.", "Tier", tier)
    if not 1 <= days <= (7 if version.storage_class is StorageClass.ARCHIVE else 365):
        raise errors.invalid_argument("The number of days is out of range.", "Days", str(days))
    if version.is_restoring(now_s):
        raise errors.restoring(version.key)
    if not version.is_frozen(now_s):
        assert version.restore is not None
        until_s = max(version.restore.until_s, now_s + days * DAY_S)
        return replace(version, restore=replace(version.restore, until_s=until_s)), 200
    ready_s = now_s + tiers[tier]
    return replace(version, restore=Restore(ready_s=ready_s, until_s=ready_s + days * DAY_S)), 202
