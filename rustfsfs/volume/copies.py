"""Looking at what the bucket has of the metadata: header, copies, manifests. Everything blocks, nothing writes."""

from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import HEADER_SIZE, decode_header
from rustfsfs.errors import CloudRefused, DamagedData, ObjectMissing, OpeningError
from rustfsfs.store import manifest as layout
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import HEADER, METADATA
from rustfsfs.store.manifest import Manifest


def header_in(bucket: Bucket) -> bytes | None:
    """The header of the volume that a bucket belongs to; None: it has none."""
    try:
        return bucket.get(HEADER, 0, HEADER_SIZE)
    except (ObjectMissing, DamagedData):  # the latter: it is shorter
        return None


def our_header_in(bucket: Bucket, uuid: bytes) -> bytes | None:
    """As `header_in`. Raises CloudRefused: it is another volume's."""
    there = header_in(bucket)
    if there is not None and _uuid_of(there) not in (None, uuid):
        raise CloudRefused(
            f"{bucket.name} holds another volume; nothing is written there until it has a prefix of its own"
        )
    return there


def _uuid_of(header: bytes) -> bytes | None:
    try:
        return decode_header(header).uuid
    except OpeningError:
        return None


def keys_in(bucket: Bucket) -> list[str]:
    """Of everything below meta/. A request for 1 000 keys."""
    return [found.key for found in bucket.list(METADATA)]


def copies_in(bucket: Bucket) -> dict[str, list[str]]:
    """As `manifest.copies`."""
    return layout.copies(keys_in(bucket))


def read_manifest(bucket: Bucket, name: str, keys: Keys, uuid: bytes) -> tuple[Manifest, bytes]:
    """The manifest of a copy, and its salt. Raises DamagedData, ObjectMissing."""
    size_bytes = bucket.head(layout.manifest_key(name)).size_bytes
    if size_bytes > layout.MANIFEST_SIZE_MAX:
        raise DamagedData("its manifest is larger than any that rustfsfs writes")
    sealed = bucket.get(layout.manifest_key(name), 0, size_bytes)
    return layout.open_manifest(sealed, name=name, keys=keys, uuid=uuid)
