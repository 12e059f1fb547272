"""The volume header: what a volume is, and the key slots that open it. Bytes in, bytes out.

    0      parameter area, 4096 bytes:  magic 8 | format u32 | length u32 | msgpack | 0... | MAC 32 | checksum 16
    4096   16 slots of 512 bytes:       magic 4 | length u32 | msgpack | 0...              | checksum 16

Fixed areas, each with its checksum, a slot's of its number too: damage in one slot cannot reach another. The MAC covers
the parameters and can be checked only by who has the master key: it shows that nobody else changed them.
"""

import base64
import hmac
import struct
from dataclasses import dataclass, replace
from enum import Enum

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from rustfsfs.content.aead import Aead
from rustfsfs.content.keys import checksum, derive, mac
from rustfsfs.errors import DamagedData, DamagedVolume, NewerFormat, NotAVolume, WrongKey

MAGIC, SLOT_MAGIC = b"rustfsfs", b"slot"
FORMAT = 1
SLOT_COUNT = 16
AREA_SIZE, SLOT_SIZE = 4096, 512
HEADER_SIZE = AREA_SIZE + SLOT_COUNT * SLOT_SIZE
MAC_SIZE, CHECKSUM_SIZE = 32, 16
_AREA_HEAD = struct.Struct("<8sII")
_SLOT_HEAD = struct.Struct("<4sI")
ARGON2 = (3, 64 * 1024, 4)  # time, memory in KiB, parallelism: RFC 9106 §4, second recommendation
ARGON2_MAX = (16, 1024 * 1024, 16)  # a header from elsewhere cannot make us allocate more
RECOVERY_SIZE = 32
KEY_FILE_SIZE_MIN = 32


class SlotKind(Enum):
    PASSPHRASE = "passphrase"
    KEY_FILE = "key-file"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The master key, wrapped by one secret."""

    number: int
    kind: SlotKind
    created_ns: int
    salt: bytes
    nonce: bytes
    wrapped: bytes
    argon2: tuple[int, int, int] = (0, 0, 0)  # time, memory (KiB), parallelism; zeros unless a passphrase


@dataclass(frozen=True, slots=True)
class DamagedSlot:
    """A slot whose checksum is wrong: nothing in it can be used, the others can."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeHeader:
    format: int
    uuid: bytes  # 16
    created_ns: int
    chunk_min: int  # bytes
    chunk_avg: int
    chunk_max: int
    gear_seed: int  # 1 .. 2^62
    compression_level: int
    copies: int
    segment_bytes: int
    slots: tuple[Slot | DamagedSlot | None, ...]  # SLOT_COUNT of them


class _Parameters(msgspec.Struct, frozen=True, array_like=True):
    uuid: bytes
    created_ns: int
    chunk_min: int
    chunk_avg: int
    chunk_max: int
    gear_seed: int
    compression_level: int
    copies: int
    segment_bytes: int


class _SlotRecord(msgspec.Struct, frozen=True, array_like=True):
    kind: SlotKind
    created_ns: int
    salt: bytes
    nonce: bytes
    wrapped: bytes
    argon2: tuple[int, int, int]


def encode_header(header: VolumeHeader, *, mac_key: bytes) -> bytes:
    """HEADER_SIZE bytes. A damaged slot is written as an empty one: what it held is lost already."""
    fields = _Parameters(**{name: getattr(header, name) for name in _Parameters.__struct_fields__})
    body = msgspec.msgpack.encode(fields)
    head = _AREA_HEAD.pack(MAGIC, header.format, len(body)) + body
    area = head.ljust(AREA_SIZE - MAC_SIZE - CHECKSUM_SIZE, b"\0")
    area += mac(mac_key, area)
    return area + checksum(area) + b"".join(_encode_slot(number, slot) for number, slot in enumerate(header.slots))


def _encode_slot(number: int, slot: Slot | DamagedSlot | None) -> bytes:
    if not isinstance(slot, Slot):
        return bytes(SLOT_SIZE)
    record = _SlotRecord(slot.kind, slot.created_ns, slot.salt, slot.nonce, slot.wrapped, slot.argon2)
    body = msgspec.msgpack.encode(record)
    area = (_SLOT_HEAD.pack(SLOT_MAGIC, len(body)) + body).ljust(SLOT_SIZE - CHECKSUM_SIZE, b"\0")
    assert len(area) == SLOT_SIZE - CHECKSUM_SIZE
    return area + _slot_checksum(number, area)


def _slot_checksum(number: int, area: bytes) -> bytes:
    """Of the place too, so that two slots that changed places are seen to be damaged."""
    return checksum(number.to_bytes(2, "little") + area)


def decode_header(data: bytes) -> VolumeHeader:
    """Inverse of `encode_header`. Raises NotAVolume, NewerFormat, DamagedVolume (the parameters; never for a slot)."""
    if data[: len(MAGIC)] != MAGIC:
        raise NotAVolume("the header does not begin as a rustfsfs volume's does")
    if len(data) < HEADER_SIZE:
        raise DamagedVolume("the volume header is cut short")
    area = data[:AREA_SIZE]
    _magic, version, length = _AREA_HEAD.unpack_from(area)
    if checksum(area[:-CHECKSUM_SIZE]) != area[-CHECKSUM_SIZE:]:
        raise DamagedVolume("the volume header is damaged")
    if version > FORMAT:
        raise NewerFormat(f"the volume has format {version}, this rustfsfs knows {FORMAT}; install a newer one")
    try:
        fields = msgspec.msgpack.decode(area[_AREA_HEAD.size : _AREA_HEAD.size + length], type=_Parameters)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise DamagedVolume("the volume header is damaged") from exc
    slots = tuple(_decode_slot(number, data) for number in range(SLOT_COUNT))
    values = {name: getattr(fields, name) for name in _Parameters.__struct_fields__}
    return VolumeHeader(format=version, slots=slots, **values)


def _decode_slot(number: int, data: bytes) -> Slot | DamagedSlot | None:
    begin = AREA_SIZE + number * SLOT_SIZE
    area = data[begin : begin + SLOT_SIZE].ljust(SLOT_SIZE, b"\0")
    if area == bytes(SLOT_SIZE):
        return None
    content, found = area[:-CHECKSUM_SIZE], area[-CHECKSUM_SIZE:]
    if found not in (_slot_checksum(number, content), checksum(content)):  # the latter: until 0.1.0
        return DamagedSlot(number)
    _magic, length = _SLOT_HEAD.unpack_from(area)
    try:
        record = msgspec.msgpack.decode(area[_SLOT_HEAD.size : _SLOT_HEAD.size + length], type=_SlotRecord)
    except (msgspec.MsgspecError, ValueError):
        return DamagedSlot(number)
    return Slot(
        number=number,
        kind=record.kind,
        created_ns=record.created_ns,
        salt=record.salt,
        nonce=record.nonce,
        wrapped=record.wrapped,
        argon2=record.argon2,
    )


def check_header(data: bytes, *, mac_key: bytes) -> None:
    """Raises DamagedVolume when somebody without the key changed the parameters."""
    signed, found = data[: AREA_SIZE - MAC_SIZE - CHECKSUM_SIZE], data[AREA_SIZE - MAC_SIZE - CHECKSUM_SIZE :]
    if not hmac.compare_digest(mac(mac_key, signed), found[:MAC_SIZE]):
        raise DamagedVolume("the volume header was changed by someone who does not have the key")


def make_slot(
    *,
    number: int,
    kind: SlotKind,
    secret: bytes,
    master: bytes,
    uuid: bytes,
    salt: bytes,
    nonce: bytes,
    now_ns: int,
) -> Slot:
    """A slot that gives `master` to who has `secret`. Takes a tenth of a second and 64 MiB for a passphrase."""
    argon2 = ARGON2 if kind is SlotKind.PASSPHRASE else (0, 0, 0)
    key = _wrapping_key(kind, secret, salt, argon2)
    wrapped = Aead(key).seal(nonce, master, _aad(uuid, number, kind))
    return Slot(number=number, kind=kind, created_ns=now_ns, salt=salt, nonce=nonce, wrapped=wrapped, argon2=argon2)


def _wrapping_key(kind: SlotKind, secret: bytes, salt: bytes, argon2: tuple[int, int, int]) -> bytes:
    if kind is not SlotKind.PASSPHRASE:
        return derive(checksum(b"key slot") * 2, kind.value.encode(), salt, secret)
    time_cost, memory_kib, lanes = argon2
    kdf = Argon2id(salt=salt, length=32, iterations=time_cost, lanes=lanes, memory_cost=memory_kib)
    return kdf.derive(secret)


def _aad(uuid: bytes, number: int, kind: SlotKind) -> bytes:
    return MAGIC + FORMAT.to_bytes(4, "little") + uuid + number.to_bytes(2, "little") + kind.value.encode()


def unlock(header: VolumeHeader, kind: SlotKind, secret: bytes) -> bytes:
    """The master key, from the first slot of this kind that `secret` opens. Raises WrongKey."""
    for slot in usable_slots(header):
        if slot.kind is not kind or not all(a <= b for a, b in zip(slot.argon2, ARGON2_MAX, strict=True)):
            continue
        try:
            key = _wrapping_key(kind, secret, slot.salt, slot.argon2)
            return Aead(key).open(slot.nonce, slot.wrapped, _aad(header.uuid, slot.number, kind))
        except DamagedData:
            continue
    raise WrongKey(_why_not(header, kind))


def _why_not(header: VolumeHeader, kind: SlotKind) -> str:
    damaged = sum(isinstance(slot, DamagedSlot) for slot in header.slots)
    note = f"; {damaged} key slot(s) are damaged, another kind of key may still open it" if damaged else ""
    if not any(slot.kind is kind for slot in usable_slots(header)):
        return f"this volume has no {kind.value} slot that could be opened{note}"
    return f"the {kind.value.replace('-', ' ')} does not open this volume{note}"


def usable_slots(header: VolumeHeader) -> list[Slot]:
    return [slot for slot in header.slots if isinstance(slot, Slot)]


def replace_slot(header: VolumeHeader, number: int, slot: Slot | None) -> VolumeHeader:
    assert slot is None or slot.number == number
    slots = list(header.slots)
    slots[number] = slot
    return replace(header, slots=tuple(slots))


def format_recovery_key(secret: bytes) -> str:
    """Groups of five letters and digits, the last with a check: `ABCDE-FGHIJ-...`. Inverse: `parse_recovery_key`."""
    assert len(secret) == RECOVERY_SIZE
    text = base64.b32encode(secret + checksum(secret)[:3]).decode().rstrip("=")
    return "-".join(text[at : at + 5] for at in range(0, len(text), 5))


def parse_recovery_key(text: str) -> bytes:
    """Case, spaces and dashes do not count. Raises WrongKey on a typing mistake."""
    letters = "".join(text.split()).replace("-", "").upper()
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError as exc:
        raise WrongKey("this is not a recovery key: letters A to Z and digits 2 to 7, in groups of five") from exc
    secret, check = data[:RECOVERY_SIZE], data[RECOVERY_SIZE:]
    if len(data) != RECOVERY_SIZE + 3 or checksum(secret)[:3] != check:
        raise WrongKey("the recovery key has a typing mistake: its check does not fit")
    return secret
