"""Keys: one master key per volume, and every other derived from it by BLAKE3 (its spec §2.3, derive_key and keyed)."""

from dataclasses import dataclass, field

from blake3 import blake3

KEY_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What a volume's parts use; 32 bytes each. Never shown by repr."""

    journal: bytes = field(repr=False)
    database: bytes = field(repr=False)
    content: bytes = field(repr=False)
    frame_header: bytes = field(repr=False)
    chunk_id: bytes = field(repr=False)
    directory: bytes = field(repr=False)
    disk_header: bytes = field(repr=False)
    header_mac: bytes = field(repr=False)


def derive_keys(master: bytes, uuid: bytes) -> Keys:
    """All keys of a volume. The context strings are part of the format and never change."""
    assert len(master) == KEY_SIZE and len(uuid) == 16

    def of(name: str) -> bytes:
        return blake3(master + uuid, derive_key_context=f"rustfsfs 2026-11 format 1 {name}").digest()

    return Keys(
        journal=of("journal"),
        database=of("database"),
        content=of("content"),
        frame_header=of("frame header"),
        chunk_id=of("chunk id"),
        directory=of("pack directory"),
        disk_header=of("disk header"),
        header_mac=of("header mac"),
    )


def derive(key: bytes, *parts: bytes) -> bytes:
    """A key for one thing under `key`: keyed BLAKE3 of the parts, each behind its length."""
    assert len(key) == KEY_SIZE
    return blake3(b"".join(len(part).to_bytes(4, "little") + part for part in parts), key=key).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """Keyed BLAKE3, 32 bytes: proves that `data` was written by someone who has `key`."""
    return blake3(data, key=key).digest()


class RunningMac:
    """`mac` of what comes piece by piece."""

    def __init__(self, key: bytes) -> None:
        self._hasher = blake3(key=key)

    def update(self, data: bytes) -> None:
        self._hasher.update(data)

    def digest(self) -> bytes:
        return self._hasher.digest()


def checksum(data: bytes) -> bytes:
    """BLAKE3, 16 bytes: shows accidental damage, proves nothing."""
    return blake3(data).digest(length=16)
