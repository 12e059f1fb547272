"""The bytes of objects: a file each below one directory, and beside it a file that says what it is.

    FOLDER/BUCKET/bucket.json          the bucket
    FOLDER/BUCKET/NNNN                 bytes of one version, as they came: `grep -a` finds what a reader would
    FOLDER/BUCKET/NNNN.json            the version
    FOLDER/BUCKET/incoming/NNNN        an upload that is not done

Not synced: the server of a test has no power cuts of its own.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.oss_server.crc64 import Crc64, combined
from tests.oss_server.objects import Bucket, StorageClass, Version, Versioning

JOINED_AT_ONCE = 64 * 1024 * 1024  # bytes
READ_AT_ONCE = 256 * 1024  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bytes that have come in and belong to no version yet."""

    path: str
    size_bytes: int
    crc64: int
    md5: bytes


class _BucketFacts(msgspec.Struct):
    created_s: float
    storage_class: StorageClass
    region: str
    versioning: Versioning
    lifecycle: bytes


class Disk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        highest = max((int(path.name) for path in folder.glob("*/[0-9]*") if path.name.isdigit()), default=0)
        self._serials = itertools.count(highest + 1)  # next() of it is atomic

    def next_serial(self) -> int:
        return next(self._serials)

    def path(self, bucket: str, blob: str) -> Path:
        return self.folder / bucket / blob

    def make(self, bucket: Bucket) -> None:
        (self.folder / bucket.name / "incoming").mkdir(parents=True, exist_ok=True)
        self.describe(bucket)

    def describe(self, bucket: Bucket) -> None:
        facts = _BucketFacts(bucket.created_s, bucket.storage_class, bucket.region, bucket.versioning, bucket.lifecycle)
        (self.folder / bucket.name / "bucket.json").write_bytes(msgspec.json.encode(facts))

    def drop(self, bucket: str) -> None:
        shutil.rmtree(self.folder / bucket)

    def receive(self, bucket: str, pieces: Iterable[memoryview]) -> Blob:
        """Write what comes in, and digest it in the same pass. A cut leaves nothing."""
        path = self.folder / bucket / "incoming" / str(next(self._serials))
        crc, md5, size_bytes = Crc64(), hashlib.md5(usedforsecurity=False), 0
        try:
            with open(path, "wb", buffering=0) as file:
                for piece in pieces:
                    file.write(piece)
                    crc.update(piece)
                    md5.update(piece)
                    size_bytes += len(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Blob(path=str(path), size_bytes=size_bytes, crc64=crc.value, md5=md5.digest())

    def keep(self, bucket: str, blob: Blob) -> str:
        """Give the bytes their place; the name for `Version.blob`."""
        name = os.path.basename(blob.path)
        os.rename(blob.path, self.path(bucket, name))
        return name

    def joined(self, bucket: str, parts: Sequence[Blob]) -> Blob:
        """The bytes of all, in one file. The CRC comes from those of the parts; what the MD5 is OSS does not say."""
        path = self.folder / bucket / "incoming" / str(self.next_serial())
        with open(path, "wb", buffering=0) as target:
            for part in parts:
                with open(part.path, "rb", buffering=0) as source:
                    while os.copy_file_range(source.fileno(), target.fileno(), JOINED_AT_ONCE):
                        pass
        return Blob(
            path=str(path),
            size_bytes=sum(part.size_bytes for part in parts),
            crc64=combined((part.crc64, part.size_bytes) for part in parts),
            md5=hashlib.md5(b"".join(part.md5 for part in parts), usedforsecurity=False).digest(),
        )

    def discard(self, blob: Blob) -> None:
        Path(blob.path).unlink(missing_ok=True)

    def link(self, source_bucket: str, blob: str, bucket: str) -> str:
        """The same bytes under a second name: a copy that moves nothing."""
        name = str(next(self._serials))
        os.link(self.path(source_bucket, blob), self.path(bucket, name))
        return name

    def open(self, bucket: str, blob: str) -> int:
        """A descriptor, so that the bytes stay readable if the object is removed meanwhile."""
        return os.open(self.path(bucket, blob), os.O_RDONLY | os.O_CLOEXEC)

    def read(self, bucket: str, blob: str, offset: int, size_bytes: int) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(READ_AT_ONCE))
        fd = self.open(bucket, blob)
        try:
            while size_bytes and (count := os.preadv(fd, [buffer[:size_bytes]], offset)):
                offset, size_bytes = offset + count, size_bytes - count
                yield buffer[:count]
        finally:
            os.close(fd)

    def save(self, bucket: str, version: Version) -> None:
        name = version.blob or f"marker-{version.version_id}"
        self.path(bucket, name + ".json").write_bytes(msgspec.json.encode(version))

    def remove(self, bucket: str, versions: Iterable[Version]) -> None:
        for version in versions:
            name = version.blob or f"marker-{version.version_id}"
            self.path(bucket, name + ".json").unlink(missing_ok=True)
            if version.blob:
                self.path(bucket, version.blob).unlink(missing_ok=True)

    def load(self) -> dict[str, Bucket]:
        """What an earlier server left here. Unfinished uploads are gone."""
        buckets = {}
        for path in sorted(self.folder.glob("*/bucket.json")):
            facts = msgspec.json.decode(path.read_bytes(), type=_BucketFacts)
            bucket = Bucket(
                name=path.parent.name,
                created_s=facts.created_s,
                storage_class=facts.storage_class,
                region=facts.region,
                versioning=facts.versioning,
                lifecycle=facts.lifecycle,
            )
            shutil.rmtree(path.parent / "incoming")
            self.make(bucket)
            found = [msgspec.json.decode(p.read_bytes(), type=Version) for p in path.parent.glob("*[0-9].json")]
            for version in sorted(found, key=lambda version: version.modified_s):
                bucket.add(version)
            buckets[bucket.name] = bucket
        return buckets
