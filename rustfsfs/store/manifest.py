"""Copies of the metadata in the bucket: the names and the bytes of what lies below meta/ (DESIGN.md §17). Pure.

    meta/header                            the volume's header with its key slots, as VOLUME/header
    meta/EEEEEEEEEEEEEEEE-SSSSSSSS/NNNNNN  the parts of a copy of epoch E: a sealed database, cut every PART_SIZE bytes
    meta/EEEEEEEEEEEEEEEE-SSSSSSSS/manifest   put last: magic 8 | salt 24, of which S is the beginning | sealed Manifest

The manifest's key needs the salt, and its seal covers the copy's name, so none passes for another's, or a newer one. A
part is proved by its MAC in the manifest, under a key of the salt and the part's number.
"""

import re
from collections.abc import Iterable

import msgspec

from rustfsfs.content.aead import NONCE_SIZE, Aead
from rustfsfs.content.keys import Keys, derive, mac
from rustfsfs.errors import DamagedData
from rustfsfs.store.cold import METADATA
from rustfsfs.units import MIB

MANIFEST = "manifest"
MAGIC = b"rfmani\x00\x01"
SALT_SIZE = 24
PART_SIZE = 16 * MIB  # one is in RAM at a time; a single PUT
MANIFEST_SIZE_MAX = 64 * MIB  # bound before anything is allocated: of a database of 20 TiB
_NAME = re.compile(rf"{METADATA}([0-9a-f]{{16}}-[0-9a-f]{{8}})/({MANIFEST}|[0-9]{{6}})")


class Part(msgspec.Struct, frozen=True, array_like=True):
    size_bytes: int
    mac: bytes


class DiskEntry(msgspec.Struct, frozen=True, array_like=True):
    number: int
    uuid: bytes
    path: str


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What a copy is, and what of it the bucket does not have. Fields may be added at the end, with defaults."""

    epoch: int
    seq: int
    committed_ns: int
    parts: list[Part]
    config_text: bytes  # of config.toml; empty: there was none
    disks: list[DiskEntry]
    hot_bytes: int  # plain bytes of files that lay in the journal only (I8)
    local_packs: int  # packs of which something is needed that lay on disks only,
    local_bytes: int  # and how much of them is needed
    term: int = 0  # of the owner who published it

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)


def copy_name(epoch: int, salt: bytes) -> str:
    return f"{epoch:016x}-{salt[:4].hex()}"


def epoch_of(name: str) -> int:
    return int(name[:16], 16)


def manifest_key(name: str) -> str:
    return f"{METADATA}{name}/{MANIFEST}"


def part_key(name: str, number: int) -> str:
    """`number` from 0."""
    return f"{METADATA}{name}/{number:06d}"


def copies(keys: Iterable[str]) -> dict[str, list[str]]:
    """The keys of each copy by its name, oldest epoch first; its manifest, if it is there, before its parts.

    Keys that no copy has are left out: they are not ours to delete.
    """
    found: dict[str, list[str]] = {}
    for key in keys:
        match = _NAME.fullmatch(key)
        if match is not None:
            found.setdefault(match[1], []).append(key)
    return {name: sorted(found[name], key=lambda key: (not is_manifest(key), key)) for name in sorted(found)}


def is_manifest(key: str) -> bool:
    return key.endswith(f"/{MANIFEST}")


def is_whole(keys: list[str]) -> bool:
    """Was the copy finished? `keys` as `copies` gives them."""
    return is_manifest(keys[0])


def part_mac(data: bytes, number: int, *, salt: bytes, keys: Keys) -> bytes:
    return mac(derive(keys.database, b"published part", salt, number.to_bytes(4, "little")), data)


def seal_manifest(manifest: Manifest, *, salt: bytes, keys: Keys, uuid: bytes) -> bytes:
    """`salt`: SALT_SIZE random bytes, of this copy only."""
    assert len(salt) == SALT_SIZE
    name, body = copy_name(manifest.epoch, salt), msgspec.msgpack.encode(manifest)
    return MAGIC + salt + Aead(_key(keys, salt)).seal(bytes(NONCE_SIZE), body, _aad(uuid, name))


def open_manifest(data: bytes, *, name: str, keys: Keys, uuid: bytes) -> tuple[Manifest, bytes]:
    """The manifest of the copy `name`, and its salt. Raises DamagedData: it is damaged, or another volume's."""
    salt, sealed = data[len(MAGIC) : len(MAGIC) + SALT_SIZE], data[len(MAGIC) + SALT_SIZE :]
    if data[: len(MAGIC)] != MAGIC or copy_name(epoch_of(name), salt) != name:
        raise DamagedData(f"the manifest of the copy {name} is damaged")
    try:
        body = Aead(_key(keys, salt)).open(bytes(NONCE_SIZE), sealed, _aad(uuid, name))
        manifest = msgspec.msgpack.decode(body, type=Manifest)
    except (DamagedData, msgspec.MsgspecError) as exc:
        raise DamagedData(f"the manifest of the copy {name} is damaged, or of another volume") from exc
    if manifest.epoch != epoch_of(name):
        raise DamagedData(f"the manifest of the copy {name} is of another epoch")
    return manifest, salt


def _key(keys: Keys, salt: bytes) -> bytes:
    return derive(keys.database, b"published manifest", salt)


def _aad(uuid: bytes, name: str) -> bytes:
    return MAGIC + uuid + name.encode()
