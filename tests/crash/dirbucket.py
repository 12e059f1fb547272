"""A bucket in a directory of the recorded disk, so that a power cut leaves it as it was at that moment too.

An object is there whole or not at all, and durable when its PUT was answered, as OSS promises.
"""

from collections.abc import Iterator, Sequence

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.cache.pieces import PieceIndex
from rustfsfs.errors import DamagedData, ObjectExists, ObjectMissing
from rustfsfs.store.breaker import Breaker, BreakerPolicy
from rustfsfs.store.bucket import ObjectFacts, Restore
from rustfsfs.store.cold import Door
from rustfsfs.store.crc64 import crc64
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume
from rustfsfs.world import Files, opened

LONG_AGO_S = 1.0  # when everything was put: old enough to be swept


class DirBucket:
    name = "oss://crash/volume"

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._root = root
        if not files.exists(root):
            files.mkdir(root)
            files.sync_dir(root.rpartition("/")[0])

    def _path(self, key: str) -> str:
        return f"{self._root}/{key.replace('/', '+')}"

    def _facts(self, key: str, body: bytes) -> ObjectFacts:
        return ObjectFacts(
            key=key, size_bytes=len(body), crc64=crc64(body), placement=Placement.STANDARD, modified_s=LONG_AGO_S
        )

    def _body(self, key: str) -> bytes:
        path = self._path(key)
        if not self._files.exists(path):
            raise ObjectMissing(f"{self.name}: {key} is not there")
        with opened(self._files, path) as fd:
            return self._files.pread(fd, self._files.size(path), 0)

    def put(self, key: str, body: bytes | memoryview, *, placement: Placement) -> ObjectFacts:
        if self._files.exists(self._path(key)):
            raise ObjectExists(f"{self.name}: {key} is there")
        return self.replace(key, bytes(body))

    def replace(self, key: str, body: bytes) -> ObjectFacts:
        arriving = self._path(key) + ".arriving"
        self._files.unlink(arriving)
        fd = self._files.create(arriving)
        self._files.pwrite(fd, body, 0)
        self._files.sync(fd)
        self._files.close(fd)
        self._files.rename(arriving, self._path(key))
        self._files.sync_dir(self._root)
        return self._facts(key, body)

    def get(self, key: str, offset: int, size: int) -> bytes:
        found = self._body(key)[offset : offset + size]
        if len(found) != size:
            raise DamagedData(f"{self.name}: {key} is shorter")
        return found

    def head(self, key: str) -> ObjectFacts:
        return self._facts(key, self._body(key))

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._files.unlink(self._path(key))
        self._files.sync_dir(self._root)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectFacts]:
        for name in self._files.names(self._root):
            key = name.replace("+", "/")
            if key.startswith(prefix) and key > after and not name.endswith(".arriving"):
                yield self._facts(key, self._body(key))

    def reclass(self, key: str, *, placement: Placement) -> ObjectFacts:
        return self.head(key)

    def restore(self, key: str, *, days: int) -> Restore:
        return Restore.NONE


def attach(volume: Volume, *, first: bool = False) -> None:
    """The bucket beside the volume, if it has one, or gets one now."""
    if not volume.metadata.is_tiered and not first:
        return
    if not volume.metadata.is_tiered:
        record(volume, ops.AttachBucket())
    bucket = DirBucket(volume.world.files, f"{volume.path}-bucket")
    volume.tier.door = Door(
        front=bucket,
        uploads=bucket,
        reads=bucket,
        writes=bucket,
        breaker=Breaker(policy=BreakerPolicy(), clock_s=trio.current_time),
    )
    volume.tier.pieces = PieceIndex(0)
