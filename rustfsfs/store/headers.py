"""Whose a directory is: the disk header, and the copies of the volume header."""

from dataclasses import dataclass

import msgspec

from rustfsfs.content.aead import NONCE_SIZE, Aead
from rustfsfs.content.keys import Keys, derive
from rustfsfs.content.slots import HEADER_SIZE
from rustfsfs.errors import DamagedData, NotAVolume
from rustfsfs.world import Files, World, opened, publish

DISK_HEADER, DISK_HEADER_COPY, VOLUME_HEADER = "rustfsfs-disk", "rustfsfs-disk.copy", "header"
MAGIC = b"rfdisk\x00\x01"
SALT_SIZE = 24
SIZE_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskHeader:
    volume_uuid: bytes
    disk_uuid: bytes
    number: int
    epoch: int  # the newest epoch of which this disk has a metadata snapshot


def write_disk_header(world: World, path: str, header: DiskHeader, *, keys: Keys) -> None:
    """Sealed, at DISK/rustfsfs-disk and in a copy beside it: no disk is lost for the rot of one sector.

    Each old one stays until its new one is durable, the copy until the first is. Raises OSError.
    """
    salt = world.random_bytes(SALT_SIZE)
    body = msgspec.msgpack.encode((header.disk_uuid, header.number, header.epoch))
    sealed = Aead(derive(keys.disk_header, salt)).seal(bytes(NONCE_SIZE), body, MAGIC + header.volume_uuid)
    publish(world.files, f"{path}/{DISK_HEADER}", MAGIC + salt + sealed)
    publish(world.files, f"{path}/{DISK_HEADER_COPY}", MAGIC + salt + sealed)


def read_disk_header(
    files: Files, path: str, *, keys: Keys, uuid: bytes, disk_uuid: bytes | None = None, past_cache: bool = False
) -> DiskHeader:
    """The header of a disk: of its two files the newer one that opens, rather one of the disk that is expected.

    past_cache   as the disk has it, which one that is dead can no longer say

    Raises NotAVolume (no header: nothing mounted there?), DamagedData (damaged, or of another volume), OSError.
    """
    found: list[DiskHeader] = []
    trouble: NotAVolume | DamagedData | OSError | None = None
    for file in (DISK_HEADER, DISK_HEADER_COPY):
        try:
            found.append(read_one_disk_header(files, path, file, keys=keys, uuid=uuid, past_cache=past_cache))
        except (NotAVolume, DamagedData, OSError) as exc:
            trouble = trouble or exc
    if not found:
        assert trouble is not None
        raise trouble
    return max(found, key=lambda header: (header.disk_uuid == disk_uuid, header.epoch))


def read_one_disk_header(
    files: Files, path: str, file: str, *, keys: Keys, uuid: bytes, past_cache: bool = False
) -> DiskHeader:
    """The header in one of a disk's two files. Raises as `read_disk_header`."""
    name = f"{path}/{file}"
    try:
        with opened(files, name) as fd:
            if past_cache:
                files.forget_pages(fd)
            data = files.pread(fd, SIZE_MAX, 0)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise NotAVolume(f"there is no {file} in it; is the disk mounted?") from exc
    if data[: len(MAGIC)] != MAGIC:
        raise DamagedData(f"{name} is damaged")
    salt, sealed = data[len(MAGIC) : len(MAGIC) + SALT_SIZE], data[len(MAGIC) + SALT_SIZE :]
    try:
        body = Aead(derive(keys.disk_header, salt)).open(bytes(NONCE_SIZE), sealed, MAGIC + uuid)
    except DamagedData as exc:
        raise DamagedData(f"{name} is damaged, or belongs to another volume") from exc
    disk_uuid, number, epoch = msgspec.msgpack.decode(body, type=tuple[bytes, int, int])
    return DiskHeader(volume_uuid=uuid, disk_uuid=disk_uuid, number=number, epoch=epoch)


def write_volume_header(files: Files, path: str, data: bytes) -> None:
    publish(files, f"{path}/{VOLUME_HEADER}", data)


def read_volume_header(files: Files, path: str) -> bytes:
    """The bytes at PATH/header. Raises NotAVolume."""
    try:
        with opened(files, f"{path}/{VOLUME_HEADER}") as fd:
            return files.pread(fd, HEADER_SIZE, 0)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise NotAVolume(f"{path} is not a rustfsfs volume") from exc
    except OSError as exc:
        raise NotAVolume(f"{path} cannot be read ({exc.strerror})") from exc
