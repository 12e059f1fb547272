"""After a crash: packs are cut behind the last frame a row names, get their directory, are closed (DESIGN.md §3)."""

import trio

from rustfsfs import ops
from rustfsfs.errors import DamagedData, RustfsfsError, StoreError
from rustfsfs.meta import chunks
from rustfsfs.store.base import PackStore
from rustfsfs.store.layout import DirectoryEntry
from rustfsfs.units import PackNo
from rustfsfs.volume.recording import record
from rustfsfs.volume.volume import Volume, log


async def finish_packs(volume: Volume) -> None:
    """Close every pack an earlier life left open, and delete files that no row and no doomed row names.

    Called at opening, before any pack is made. Safe to cut anywhere, and to repeat. Of a restored volume's packs that
    were there before nothing is cut or deleted: what older metadata does not name, newer may, and a person may yet find
    that.
    """
    spared = volume.metadata.running.is_spared
    for row in chunks.packs(volume.metadata):
        if row.is_closed or row.disk not in volume.disks:
            continue
        store = volume.disks[row.disk]
        finish = _close_whole if spared(row.pack) else _finish
        try:
            size_bytes = await trio.to_thread.run_sync(finish, volume, store, row)
        except (RustfsfsError, OSError) as exc:  # too short, or no room for a directory: its frames are read one by one
            log.error("pack %d on disk %s could not be closed: %s", row.pack, store.path, exc)
            continue
        record(volume, ops.ClosePack(pack=row.pack, disk=row.disk, size_bytes=size_bytes))
    known = {(row.pack, row.disk) for row in chunks.packs(volume.metadata) if not row.is_cold}
    known |= {(pack, disk) for pack, disk, _seq in chunks.doomed(volume.metadata)}
    cold = {(row.pack, row.disk) for row in chunks.packs(volume.metadata) if row.is_cold}
    for number, store in volume.disks.items():
        if cold:
            store.sweep()
        for pack in store.packs():
            if (int(pack), number) in known:
                continue
            if (int(pack), number) in cold:
                log.info("pack %d on disk %s is in the bucket: its file is deleted", pack, store.path)
                await trio.to_thread.run_sync(_delete, store, pack)
            elif spared(pack):
                log.warning("pack %d on disk %s is not named by the restored metadata: kept", pack, store.path)
            else:
                log.info("pack %d on disk %s was never recorded: deleted", pack, store.path)
                await trio.to_thread.run_sync(_delete, store, pack)


def _delete(store: PackStore, pack: PackNo) -> None:
    try:
        store.delete(pack)
    except StoreError as exc:
        log.warning("pack %d on disk %s could not be deleted: %s", pack, store.path, exc)


def _finish(volume: Volume, store: PackStore, row: chunks.Pack) -> int:
    store.finish_pack(PackNo(row.pack), row.end_bytes, _live(volume, row))
    return store.pack_size(PackNo(row.pack))


def _live(volume: Volume, row: chunks.Pack) -> list[DirectoryEntry]:
    live = chunks.live_in(volume.metadata, row.pack, row.disk)
    return [DirectoryEntry(p.offset, p.stored_bytes, bytes(c.chunk_id), c.plain_bytes) for c, p in live]


def _close_whole(volume: Volume, store: PackStore, row: chunks.Pack) -> int:
    """All that is there stays. If it has no directory, it gets one of every frame, behind all that it holds."""
    pack = PackNo(row.pack)
    size_bytes = store.pack_size(pack)
    if size_bytes < row.end_bytes:
        raise DamagedData(f"it ends at {size_bytes}, its frames at {row.end_bytes}")
    try:
        store.read_directory(pack)
        return size_bytes
    except DamagedData:
        there = [entry for entry in store.scan_frames(pack) if entry.offset + entry.stored_bytes <= size_bytes]
        found = {entry.offset: entry for entry in [*there, *_live(volume, row)]}
        store.finish_pack(pack, size_bytes, [found[offset] for offset in sorted(found)])
        return store.pack_size(pack)
