"""Making a new volume: directories, disks, key slots, an empty database with its root."""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from rustfsfs import ops
from rustfsfs.content.keys import Keys, derive_keys
from rustfsfs.content.slots import FORMAT, Slot, SlotKind, VolumeHeader, encode_header, make_slot
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.meta import database
from rustfsfs.meta.apply import apply
from rustfsfs.meta.disks import OWN
from rustfsfs.store.headers import (
    DISK_HEADER,
    DISK_HEADER_COPY,
    VOLUME_HEADER,
    DiskHeader,
    write_disk_header,
    write_volume_header,
)
from rustfsfs.units import GIB, KIB, MIB, ROOT
from rustfsfs.volume.directories import check_empty, check_file_system, check_name, check_new_disk
from rustfsfs.world import World, publish

METADATA = "metadata.db"
CONFIG = "config.toml"
DISKS = "disks"  # text file: one path a line; where the copies of the header are, for when the database is not
JOURNAL = "journal"
OUR_NAMES = (
    "packs",
    DISK_HEADER,
    DISK_HEADER_COPY,
    VOLUME_HEADER,
    JOURNAL,
    CONFIG,
    DISKS,
    METADATA,
    f"{METADATA}-wal",
    f"{METADATA}-shm",
)
SLOT_COUNT = 16
CHUNK_AVG_MIN, CHUNK_AVG_MAX = 64 * KIB, 512 * KIB
SALT_SIZE, NONCE_SIZE = 32, 12
SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX = 4 * MIB, 64 * MIB
JOURNAL_LIMIT_MAX = 4 * GIB
JOURNAL_SHARE = 4  # a quarter of the disk
SEGMENTS_PER_LIMIT = 16


class Secret(Protocol):
    """What opens a key slot; read by the command line."""

    @property
    def kind(self) -> SlotKind: ...
    @property
    def value(self) -> bytes: ...


def journal_limit(total_bytes: int) -> int:
    """4 GiB or a quarter of the disk, the smaller (DESIGN.md §2, Backpressure)."""
    return min(JOURNAL_LIMIT_MAX, total_bytes // JOURNAL_SHARE)


def segment_size(limit_bytes: int) -> int:
    """64 MiB, less when the journal is small: whole MiB."""
    return max(SEGMENT_SIZE_MIN, min(SEGMENT_SIZE_MAX, limit_bytes // SEGMENTS_PER_LIMIT // MIB * MIB))


def format_volume(
    world: World,
    path: str,
    *,
    disks: Sequence[str],
    secret: Secret,
    recovery_key: bytes,
    chunk_avg_bytes: int,
    compression_level: int,
    copies: int,
    config_text: str,
) -> None:
    """Make a volume at `path` and on `disks` (none: `path` is the disk too). Changes nothing if it cannot.

    Everything is checked before anything is made, and what was made is removed again when it fails half-way. Order:
    disks, database, then VOLUME/header last: a directory without it is not a volume, and `format` killed half-way
    leaves none. Raises InUse (a directory is not empty), UsageError, MachineTrouble.
    """
    path = os.path.abspath(path)
    places = [os.path.abspath(disk) for disk in disks] or [path]
    _check(chunk_avg_bytes, compression_level, copies, places)
    _check_directories(path, places)
    with _all_or_nothing(world, list(dict.fromkeys([path, *places]))), database.no_space_said():
        header, master = _new_header(world, path, secret, recovery_key, chunk_avg_bytes, compression_level, copies)
        _fill(world, path, places, header, derive_keys(master, header.uuid), config_text)


def _check_directories(path: str, places: Sequence[str]) -> None:
    """Raises InUse, UsageError, MachineTrouble."""
    check_name(path)
    if path not in places:
        check_file_system(path)
        check_empty(path)
    for number, disk in enumerate(places):
        check_new_disk(disk, volume=path, others=places[:number])


@contextmanager
def _all_or_nothing(world: World, folders: Sequence[str]) -> Iterator[None]:
    """The directories, 0700 and ours, for the block to fill; as they were before if it fails. Raises MachineTrouble."""
    before: dict[str, int | None] = {}  # folder -> its mode; None: it was not there
    try:
        for folder in folders:
            before[folder] = stat.S_IMODE(os.stat(folder).st_mode) if os.path.exists(folder) else None
            if before[folder] is None:
                os.mkdir(folder, 0o700)
                world.files.sync_dir(os.path.dirname(folder))
            os.chmod(folder, 0o700)
        yield
    except BaseException as exc:
        for folder, mode in before.items():
            _undo(folder, mode)
        if isinstance(exc, OSError):
            raise MachineTrouble(f"the volume cannot be made: {exc.filename or folders[0]}: {exc.strerror}") from exc
        raise


def _undo(folder: str, mode: int | None) -> None:
    """Remove what `_fill` makes, by its names: nothing else is ours."""
    for name in OUR_NAMES:
        for found in (f"{folder}/{name}", f"{folder}/{name}.new"):
            if os.path.isdir(found):
                shutil.rmtree(found, ignore_errors=True)
            elif os.path.lexists(found):
                os.unlink(found)
    if mode is None:
        with suppress(OSError):
            os.rmdir(folder)
    elif os.path.exists(folder):
        os.chmod(folder, mode)


def _fill(world: World, path: str, places: Sequence[str], header: VolumeHeader, keys: Keys, config_text: str) -> None:
    """What OUR_NAMES lists; the header last."""
    encoded = encode_header(header, mac_key=keys.header_mac)
    uuids = [world.random_bytes(16) for _ in places]
    for number, (disk, uuid) in enumerate(zip(places, uuids, strict=True), start=1):
        world.files.mkdir(f"{disk}/packs")
        disk_header = DiskHeader(volume_uuid=header.uuid, disk_uuid=uuid, number=number, epoch=0)
        write_disk_header(world, disk, disk_header, keys=keys)
        if disk != path:
            write_volume_header(world.files, disk, encoded)
    world.files.mkdir(f"{path}/{JOURNAL}")
    publish(world.files, f"{path}/{CONFIG}", config_text.encode())
    paths = [OWN if disk == path else disk for disk in places]
    publish(world.files, f"{path}/{DISKS}", "".join(disk + "\n" for disk in paths).encode())
    _make_database(world, f"{path}/{METADATA}", keys.database, list(zip(paths, uuids, strict=True)))
    write_volume_header(world.files, path, encoded)


def _check(chunk_avg: int, level: int, copies: int, places: Sequence[str]) -> None:
    if not CHUNK_AVG_MIN <= chunk_avg <= CHUNK_AVG_MAX or chunk_avg & (chunk_avg - 1):
        raise UsageError("the chunk size is a power of two from 64KiB to 512KiB")
    if not 1 <= level <= 19:
        raise UsageError("the compression level is a number from 1 to 19")
    if copies > len(places):
        raise UsageError(f"{copies} copies need {copies} disks: name them with --disk")


def _new_header(
    world: World, path: str, secret: Secret, recovery_key: bytes, chunk_avg: int, level: int, copies: int
) -> tuple[VolumeHeader, bytes]:
    uuid, master, now_ns = world.random_bytes(16), world.random_bytes(32), world.now_ns()
    slots: list[Slot | None] = [
        make_slot(
            number=number,
            kind=kind,
            secret=value,
            master=master,
            uuid=uuid,
            salt=world.random_bytes(SALT_SIZE),
            nonce=world.random_bytes(NONCE_SIZE),
            now_ns=now_ns,
        )
        for number, (kind, value) in enumerate([(secret.kind, secret.value), (SlotKind.RECOVERY, recovery_key)])
    ]
    header = VolumeHeader(
        format=FORMAT,
        uuid=uuid,
        created_ns=now_ns,
        chunk_min=chunk_avg // 4,
        chunk_avg=chunk_avg,
        chunk_max=min(chunk_avg * 4, MIB),
        gear_seed=(int.from_bytes(world.random_bytes(8), "little") >> 2) | 1,  # pyfastcdc shifts it left; 0 is none
        compression_level=level,
        copies=copies,
        segment_bytes=segment_size(journal_limit(world.files.space(path).total_bytes)),
        slots=(*slots, *([None] * (SLOT_COUNT - len(slots)))),
    )
    return header, master


def _make_database(world: World, path: str, key: bytes, places: Sequence[tuple[str, bytes]]) -> None:
    """Tables, the root directory and the disks: the state before the journal's first record."""
    metadata = database.create(path, key, vfs=world.sqlite_vfs)
    database.begin(metadata)
    now_ns = world.now_ns()
    root = ops.Create(
        parent=ROOT,
        name=b"",
        inode=ROOT,
        mode=stat.S_IFDIR | 0o755,
        uid=os.getuid(),
        gid=os.getgid(),
        rdev=0,
        target=b"",
        now_ns=now_ns,
    )
    first: list[ops.AnyOp] = [root, *(ops.AddDisk(n, uuid, p) for n, (p, uuid) in enumerate(places, start=1))]
    for op in first:
        metadata.running.last_seq = 0
        apply(metadata, op, ops.Address(seq=1, segment=0, data_position=0))
    metadata.running.last_seq = 0
    metadata.running.clean = 1
    database.write_running(metadata)
    database.commit(metadata)
    metadata.close()
    world.files.sync_dir(os.path.dirname(path))
