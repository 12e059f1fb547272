"""Key slots of a volume: listed, added, removed, in VOLUME and on every disk. No data is rewritten."""

from dataclasses import replace
from typing import NamedTuple

from rustfsfs.content.keys import derive_keys
from rustfsfs.content.slots import (
    SLOT_COUNT,
    DamagedSlot,
    Slot,
    SlotKind,
    VolumeHeader,
    decode_header,
    encode_header,
    make_slot,
    replace_slot,
    unlock,
    usable_slots,
)
from rustfsfs.errors import MachineTrouble, UsageError, WrongKey
from rustfsfs.store.headers import DISK_HEADER, write_volume_header
from rustfsfs.volume.formatting import NONCE_SIZE, SALT_SIZE, Secret
from rustfsfs.volume.header import find_header, listed_disks
from rustfsfs.volume.notices import notice
from rustfsfs.world import World


class SlotInfo(NamedTuple):
    number: int
    kind: SlotKind | None  # None: damaged
    created_ns: int


def list_slots(world: World, path: str) -> list[SlotInfo]:
    """Needs no key. Raises NotAVolume, NewerFormat, DamagedVolume."""
    header = decode_header(find_header(world, path))
    found = []
    for slot in header.slots:
        if isinstance(slot, Slot):
            found.append(SlotInfo(slot.number, slot.kind, slot.created_ns))
        elif isinstance(slot, DamagedSlot):
            found.append(SlotInfo(slot.number, None, 0))
    return found


def add_slot(world: World, path: str, *, opened_with: Secret, new: Secret) -> int:
    """A new way to open the volume; returns its slot's number. Raises WrongKey, UsageError (no slot is free)."""
    header = decode_header(find_header(world, path))
    master = unlock(header, opened_with.kind, opened_with.value)
    taken = opened_by(header, new)
    if taken is not None:
        raise UsageError(f"this key opens slot {taken} already; name another one")
    free = [number for number in range(SLOT_COUNT) if header.slots[number] is None]
    if not free:
        raise UsageError(f"all {SLOT_COUNT} key slots are taken; remove one first")
    slot = make_slot(
        number=free[0],
        kind=new.kind,
        secret=new.value,
        master=master,
        uuid=header.uuid,
        salt=world.random_bytes(SALT_SIZE),
        nonce=world.random_bytes(NONCE_SIZE),
        now_ns=world.now_ns(),
    )
    _write(world, path, replace_slot(header, slot.number, slot), master)
    return slot.number


def opened_by(header: VolumeHeader, secret: Secret) -> int | None:
    """The first slot that a secret opens already."""
    for slot in usable_slots(header):
        alone = replace(header, slots=tuple(slot if number == slot.number else None for number in range(SLOT_COUNT)))
        try:
            unlock(alone, secret.kind, secret.value)
        except WrongKey:
            continue
        return slot.number
    return None


def remove_slot(world: World, path: str, *, opened_with: Secret, number: int) -> None:
    """One way less. Raises WrongKey, UsageError (no such slot, or the last that opens)."""
    header = decode_header(find_header(world, path))
    master = unlock(header, opened_with.kind, opened_with.value)
    if not 0 <= number < SLOT_COUNT or header.slots[number] is None:
        raise UsageError(f"there is no key slot {number}; rustfsfs key list shows them")
    changed = replace_slot(header, number, None)
    if not usable_slots(changed):
        raise UsageError("the last key cannot be removed: nothing would open the volume any more")
    _write(world, path, changed, master)


def _write(world: World, path: str, header: VolumeHeader, master: bytes) -> None:
    """VOLUME's own header first, then the copies: one that cannot be written keeps the old slots, and is logged."""
    data = encode_header(header, mac_key=derive_keys(master, header.uuid).header_mac)
    try:
        write_volume_header(world.files, path, data)
    except OSError as exc:
        raise MachineTrouble(f"{path}/header cannot be written ({exc.strerror})") from exc
    for disk in listed_disks(world, path):
        if not world.files.exists(f"{disk}/{DISK_HEADER}"):
            notice.warning(
                "the disk %s is missing: its copy of the header keeps the old key slots until it is back", disk
            )
            continue
        try:
            write_volume_header(world.files, disk, data)
        except OSError as exc:
            notice.warning("the header copy on %s keeps the old key slots: %s", disk, exc)
