"""The volume's header and its copies: found, mended from each other, kept alike. Bytes are `content.slots`' work."""

from collections.abc import Iterable, Sequence

from rustfsfs.content.keys import Keys, derive_keys
from rustfsfs.content.slots import (
    DamagedSlot,
    Slot,
    VolumeHeader,
    check_header,
    decode_header,
    encode_header,
    replace_slot,
    unlock,
)
from rustfsfs.errors import NewerFormat, NotAVolume, OpeningError
from rustfsfs.meta.disks import OWN
from rustfsfs.store.headers import read_volume_header, write_volume_header
from rustfsfs.volume.formatting import DISKS, Secret
from rustfsfs.volume.notices import notice
from rustfsfs.volume.volume import log
from rustfsfs.world import World


def unlocked(world: World, path: str, secret: Secret) -> tuple[VolumeHeader, Keys]:
    """The volume's header and keys. Raises NotAVolume, NewerFormat, DamagedVolume, WrongKey.

    What is lost or damaged in VOLUME's own header, all of it or a slot, is taken from a disk's copy instead.
    """
    data = find_header(world, path)
    header = mended(world, path, decode_header(data))
    keys = derive_keys(unlock(header, secret.kind, secret.value), header.uuid)
    check_header(data, mac_key=keys.header_mac)
    return header, keys


def find_header(world: World, path: str) -> bytes:
    """The bytes of the first good copy of the volume's header: VOLUME's own, else a disk's."""
    trouble: OpeningError | None = None
    for folder in [path, *listed_disks(world, path)]:
        try:
            data = read_volume_header(world.files, folder)
            decode_header(data)
        except NewerFormat:
            raise
        except OpeningError as exc:
            trouble = trouble or exc
            continue
        if trouble is not None:
            notice.warning("using the copy of the volume's header on %s: %s", folder, trouble)
        return data
    raise trouble if trouble is not None else NotAVolume(f"{path} is not a rustfsfs volume")


def mended(world: World, path: str, header: VolumeHeader) -> VolumeHeader:
    """Damaged slots as a disk's copy has them. A slot that was removed is empty, not damaged, and stays so."""
    damaged = [slot.number for slot in header.slots if isinstance(slot, DamagedSlot)]
    for folder in listed_disks(world, path) if damaged else []:
        try:
            copy = decode_header(read_volume_header(world.files, folder))
        except OpeningError:
            continue
        for number in damaged:
            slot = copy.slots[number]
            if copy.uuid == header.uuid and isinstance(slot, Slot):
                header = replace_slot(header, number, slot)
    return header


def keep_alike(world: World, folders: Iterable[str], header: VolumeHeader, keys: Keys) -> None:
    """Write the header wherever a copy differs: what a removed key opened, or damage, must not live on in one.

    folders   VOLUME and the disks that are there

    Not while a slot is damaged everywhere: it would be written as empty. Blocking; trouble with a copy is logged.
    """
    if any(isinstance(slot, DamagedSlot) for slot in header.slots):
        return
    data = encode_header(header, mac_key=keys.header_mac)
    for folder in folders:
        try:
            if _copy_at(world, folder) != data:
                write_volume_header(world.files, folder, data)
        except OSError as exc:
            log.warning("the copy of the volume's header on %s is not the newest: %s", folder, exc)


def troubles(world: World, folders: Sequence[str], keys: Keys) -> dict[str, str]:
    """What is wrong with the copies of the header, by folder; VOLUME's own first, which the others are to be like."""
    found: dict[str, str] = {}
    first: bytes | None = None
    for folder in folders:
        try:
            data = read_volume_header(world.files, folder)
            decoded = decode_header(data)
            check_header(data, mac_key=keys.header_mac)
        except OpeningError as exc:
            found[folder] = str(exc)
            continue
        if any(isinstance(slot, DamagedSlot) for slot in decoded.slots):
            found[folder] = "a key slot is damaged"
            continue
        first = first or data
        if data != first:
            found[folder] = "it is not like the other copies"
    return found


def mend(world: World, folders: Sequence[str], known: VolumeHeader, keys: Keys) -> None:
    """Write damaged copies anew, as a whole one is, or else `known`, the header as it was when the volume was opened.

    Blocking; trouble with a copy is logged.
    """
    bad = troubles(world, folders, keys)
    good = [folder for folder in folders if folder not in bad]
    header = decode_header(read_volume_header(world.files, good[0])) if good else known
    keep_alike(world, bad, header, keys)


def _copy_at(world: World, folder: str) -> bytes:
    try:
        return read_volume_header(world.files, folder)
    except NotAVolume:
        return b""


def listed_disks(world: World, path: str) -> list[str]:
    """The disks named by VOLUME/disks; none when it is not there."""
    try:
        with open(f"{path}/{DISKS}", encoding="utf-8", errors="surrogateescape") as file:
            return [line for line in file.read().splitlines() if line not in ("", OWN, path)]
    except OSError:
        return []
