"""What is stored beside packs, verified: hot data, the database, its snapshots, the headers. Each finding is a line."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import islice

import trio

from rustfsfs.errors import DamagedData, DamagedVolume, NotAVolume
from rustfsfs.meta import database, disks
from rustfsfs.meta.soundness import is_sound
from rustfsfs.store.base import PackStore
from rustfsfs.store.headers import (
    DISK_HEADER,
    DISK_HEADER_COPY,
    VOLUME_HEADER,
    DiskHeader,
    read_one_disk_header,
    write_disk_header,
)
from rustfsfs.volume import checking, header, paths, snapshots
from rustfsfs.volume.mending import Findings
from rustfsfs.volume.pagesums import SLICE_BYTES
from rustfsfs.volume.volume import Volume, log

TEMPORARY = "metadata.check"  # in VOLUME, while a snapshot is verified
LINES_MAX = 100  # about the metadata, in one pass
Step = Callable[[], None]  # called between two pieces of work, in their thread: rests, and ends when cancelled


def audit_metadata(volume: Volume, step: Step, *, rows: bool) -> list[str]:
    """The database's pages, if wished what its `rows` say of each other, and every hot piece. Blocking.

    What rows say takes RAM in proportion to them: some 100 bytes for each name and each extent.
    """

    def ended() -> bool:
        trio.from_thread.check_cancelled()
        return False

    with paths.reading_apart(volume) as metadata:
        metadata.db.set_progress_handler(ended, 100_000)  # a single statement reads the whole file

        def between(_done: int, _total: int, _text: str) -> None:
            metadata.run("COMMIT")  # an old read transaction would keep the WAL from ending
            metadata.run("BEGIN")
            step()

        parts = (
            checking.check_metadata(metadata, marked=False) if rows else checking.check_pages(metadata),
            checking.check_hot(metadata, volume.journal, between),
        )
        return [line for part in parts for line in _first(checking.until_damage(part))]


def _first(findings: Iterator[str]) -> Iterator[str]:
    """LINES_MAX of them: each looks for its paths through whole tables, and a lost one means millions."""
    yield from islice(findings, LINES_MAX)
    if next(findings, None) is not None:
        yield "there is more wrong with the metadata: fsck tells it all"


async def audit_pages(volume: Volume, findings: Findings, rest: Callable[[int, float], Awaitable[None]]) -> None:
    """Is each page of the database file the one that was written last? Those of which nothing is known are noted.

    rest   called between two slices, with the bytes read and the seconds that took
    """
    sums = volume.page_sums
    adopt = volume.health.read_only_reason is None
    if sums.damaged_blocks and not volume.health.unclean_start:
        findings.add(f"{sums.damaged_blocks} blocks of {volume.path}/metadata.pages are damaged", repaired=adopt)
    start: int | None = 0
    while start is not None:
        async with volume.reader_lock, volume.commit_lock:  # no checkpoint meanwhile
            started_s = trio.current_time()
            start, stale = await trio.to_thread.run_sync(_stale_from, volume, start, adopt)
        await rest(SLICE_BYTES, trio.current_time() - started_s)
        for number in stale:
            findings.add(f"page {number} of the metadata is not the one that was written last")
    async with volume.commit_lock:
        if adopt:
            await trio.to_thread.run_sync(partial(sums.save, durably=False))
            sums.damaged_blocks = 0


def _stale_from(volume: Volume, start: int, adopt: bool) -> tuple[int | None, list[int]]:
    """Blocking, under `commit_lock`."""
    frames, done = database.wal_state(volume.reader.db)
    return volume.page_sums.stale_from(start, volume.page_sums.in_wal(done, frames), adopt=adopt)


async def audit_snapshots(volume: Volume, findings: Findings, *, repair: bool) -> None:
    """Does every retained metadata snapshot open? Fresh ones take the place of all when one does not.

    Raises StoreError, OSError: none could be taken.
    """
    await volume.gate.opened()
    async with volume.snapshot_lock:
        epochs = {snapshot.epoch for snapshot in disks.snapshots(volume.metadata)}
        found = await trio.to_thread.run_sync(_bad_snapshots, volume, epochs, dict(volume.disks))
    if found and repair:
        await snapshots.take(volume, keep=1)
    for line in found:
        findings.add(line, repaired=repair)


def _bad_snapshots(volume: Volume, epochs: set[int], stores: dict[int, PackStore]) -> list[str]:
    """Blocking."""
    found = []
    for store in stores.values():
        for epoch in sorted(epochs):
            path = f"{store.path}/{snapshots.FOLDER}/{snapshots.file_name(epoch)}"
            if volume.world.files.exists(path):  # a disk that was away, or full, has none of it
                trouble = _trouble_of_snapshot(volume, path)
                found += [f"metadata snapshot {path}: {trouble}"] if trouble else []
    return found


def _trouble_of_snapshot(volume: Volume, path: str) -> str | None:
    try:
        is_whole = snapshots.read_whole(volume.world.files, path, volume.keys, _end_if_cancelled)
    except OSError as exc:
        return f"it cannot be read ({exc.strerror})"
    if is_whole is None:
        is_whole = _opens(volume, path)
    return None if is_whole else "it is damaged"


def _end_if_cancelled(_data: bytes) -> None:
    trio.from_thread.check_cancelled()


def _opens(volume: Volume, path: str) -> bool:
    """Of a snapshot without a MAC a copy is opened; where there is no room for one, it is not judged."""
    temporary = f"{volume.path}/{TEMPORARY}"
    try:
        database.remove_files(temporary)
        snapshots.copy_out(volume.world.files, path, temporary, volume.keys)
        metadata = database.open_(temporary, volume.keys.database)
        try:
            return is_sound(metadata)
        finally:
            metadata.close()
    except DamagedVolume:
        return False
    except OSError as exc:
        log.warning("the metadata snapshot %s could not be verified: %s", path, exc)
        return True
    finally:
        database.remove_files(temporary)


async def audit_headers(volume: Volume, findings: Findings, *, repair: bool) -> None:
    """The volume's header on every disk, and each disk's own, in both its files.

    Not while a snapshot renews them: else a header might be put back to the epoch before, and the disk be taken for an
    older copy of itself.
    """
    async with volume.snapshot_lock:
        await volume.gate.opened()
        epochs = {row.disk: row.epoch for row in disks.all_(volume.metadata)}
        stores = dict(volume.disks)
        found = await trio.to_thread.run_sync(_bad_headers, volume, stores)
        left = found
        if found and repair:
            left = await trio.to_thread.run_sync(_mend_headers, volume, stores, epochs)
    for line in found:
        findings.add(line, repaired=line not in left)


def _folders(volume: Volume, stores: Mapping[int, PackStore]) -> list[str]:
    return [volume.path, *(store.path for store in stores.values() if store.path != volume.path)]


def _bad_headers(volume: Volume, stores: Mapping[int, PackStore]) -> list[str]:
    """Blocking."""
    bad = header.troubles(volume.world, _folders(volume, stores), volume.keys)
    found = [f"{folder}/{VOLUME_HEADER}: {trouble}" for folder, trouble in bad.items()]
    for store in stores.values():
        epochs: list[int] = []
        for file in (DISK_HEADER, DISK_HEADER_COPY):
            try:
                one = read_one_disk_header(
                    volume.world.files, store.path, file, keys=volume.keys, uuid=volume.header.uuid
                )
                epochs.append(one.epoch)
                trouble = "it belongs to another disk" if one.disk_uuid != store.uuid else ""
            except (DamagedData, NotAVolume) as exc:
                trouble = str(exc)
            except OSError as exc:
                trouble = f"it cannot be read ({exc.strerror})"
            found += [f"{store.path}/{file}: {trouble}"] if trouble else []
        if len(set(epochs)) > 1:
            found.append(f"{store.path}/{DISK_HEADER}: it and its copy are not of the same epoch")
    return found


def _mend_headers(volume: Volume, stores: Mapping[int, PackStore], epochs: Mapping[int, int]) -> list[str]:
    """Blocking; what is still wrong afterwards. Nothing is written where a disk is gone: it may not be mounted."""
    files = volume.world.files
    there = {
        number: store
        for number, store in stores.items()
        if any(files.exists(f"{store.path}/{name}") for name in (DISK_HEADER, DISK_HEADER_COPY))
    }
    header.mend(volume.world, _folders(volume, there), volume.header, volume.keys)
    for number, store in there.items():
        if any(line.startswith(f"{store.path}/{DISK_HEADER}") for line in _bad_headers(volume, {number: store})):
            whole = DiskHeader(
                volume_uuid=volume.header.uuid, disk_uuid=store.uuid, number=number, epoch=epochs.get(number, 0)
            )
            try:
                write_disk_header(volume.world, store.path, whole, keys=volume.keys)
            except OSError as exc:
                log.warning("the header of disk %s cannot be written: %s", store.path, exc)
    return _bad_headers(volume, stores)
