"""apply(op): the only code that changes metadata, live and in recovery (DESIGN.md §2).

It reads the op, its journal address and the database, nothing else: no clock, no randomness, no configuration;
every SELECT that decides has an ORDER BY. The same ops on the same database give the same database. Verbs check
first, so nothing here raises for a user's mistake: what raises here is a bug, and poisons the transaction.
"""

import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from rustfsfs import ops
from rustfsfs.content.ranges import Extent, between, clip, join, replace_unchanged, without
from rustfsfs.meta import chunks, disks, entries, extents, inodes, objects
from rustfsfs.meta.database import Metadata
from rustfsfs.meta.inodes import Attributes
from rustfsfs.units import PIECE_SIZE, Fork, Inode

# What a snapshot, or a copy in the bucket, need not have at once: else each would make the next one due
BOOKKEEPING = frozenset(
    (
        *(ops.KeepSnapshots, ops.SetDisk, ops.Publish, ops.Reserve, ops.Scrubbed, ops.PacksRead, ops.Touched),
        *(ops.Deleted, ops.ObjectsDeleted, ops.WantTerm, ops.TakeTerm),
    )
)
EXTENTS_PER_OP = 1000  # bound of one op's work: about 10 ms (DESIGN.md §2)
EXTENTS_PER_RELEASE = 250  # freed at once with inodes that nobody waits for
SEALED_PIECE_SIZE = PIECE_SIZE + 28  # nonce 12, tag 16


def apply(metadata: Metadata, op: ops.AnyOp, at: ops.Address) -> None:
    """Carry out one op inside the open transaction. Keeps: running.last_seq == seq of the newest op applied."""
    running = metadata.running
    assert at.seq == running.last_seq + 1, (at.seq, running.last_seq)
    _APPLY[type(op)](metadata, op, at)
    running.last_seq = at.seq
    if type(op) not in BOOKKEEPING:
        running.changed_seq = at.seq


def name_size(name: bytes) -> int:
    """What a name adds to the size of its directory."""
    return 2 * len(name)


def _change_directory(metadata: Metadata, row: Attributes, *, size: int, subdirectories: int, now_ns: int) -> None:
    """Its mtime goes the way of its ctime, so it does not go back with the clock, and does go back from a time that
    a user set in the future: rsync looks whether it has to set it again.

    The last change of an op: it is what the kernel asks for next.
    """
    changed_ns = _later(row, now_ns)
    size_bytes, nlink = row.size_bytes + size, row.nlink + subdirectories
    metadata.run(
        "UPDATE inodes SET size_bytes = ?, nlink = ?, mtime_ns = ?, ctime_ns = ? WHERE inode = ?",
        (size_bytes, nlink, changed_ns, changed_ns, row.inode),
    )
    assert metadata.changed() == 1, row
    row = row._replace(size_bytes=size_bytes, nlink=nlink, mtime_ns=changed_ns, ctime_ns=changed_ns)
    metadata.seen[row.inode] = row


def _later(row: Attributes, now_ns: int) -> int:
    """The ctime of a row that changes now."""
    return max(now_ns, row.ctime_ns + 1)


def _create(metadata: Metadata, op: ops.Create, at: ops.Address) -> None:
    is_directory, is_file = stat.S_ISDIR(op.mode), stat.S_ISREG(op.mode)
    row = Attributes(
        inode=Inode(op.inode),
        mode=op.mode,
        uid=op.uid,
        gid=op.gid,
        nlink=2 if is_directory else 1,
        rdev=op.rdev,
        size_bytes=len(op.target),
        mapped_bytes=0,
        atime_ns=op.now_ns,
        mtime_ns=op.now_ns,
        ctime_ns=op.now_ns,
        fork=Fork(at.seq if is_file else 0),
        parent=Inode(op.parent if is_directory else 0),
        stale_tail=0,
        xattr_count=len(op.xattrs),
    )
    above = None if op.inode == op.parent else inodes.get(metadata, op.parent)  # the root has no name
    inodes.add(metadata, row, symlink_target=op.target if stat.S_ISLNK(op.mode) else None)
    for name, value in op.xattrs:
        metadata.run("INSERT INTO xattrs VALUES (?, ?, ?)", (op.inode, name, value))
    metadata.running.next_inode = max(metadata.running.next_inode, op.inode + 1)
    if above is not None:
        entries.add(metadata, op.parent, op.name, op.inode, cookie=at.seq + FIRST_COOKIE)
        subdirectories = int(is_directory)
        _change_directory(metadata, above, size=name_size(op.name), subdirectories=subdirectories, now_ns=op.now_ns)
    metadata.seen[op.inode] = row


FIRST_COOKIE = 2  # cookies 1 and 2 are '.' and '..'; seq begins with 1


def _link(metadata: Metadata, op: ops.Link, at: ops.Address) -> None:
    above = inodes.get(metadata, op.parent)
    entries.add(metadata, op.parent, op.name, op.inode, cookie=at.seq + FIRST_COOKIE)
    sql = "UPDATE inodes SET nlink = nlink + 1, ctime_ns = max(?, ctime_ns + 1) WHERE inode = ?"
    metadata.run(sql, (op.now_ns, op.inode))
    _change_directory(metadata, above, size=name_size(op.name), subdirectories=0, now_ns=op.now_ns)


def _unlink(metadata: Metadata, op: ops.Unlink, at: ops.Address) -> None:
    row, above = entries.find_attributes(metadata, op.parent, op.name), inodes.get(metadata, op.parent)
    assert row is not None and not row.is_directory, op
    entries.remove(metadata, op.parent, op.name)
    _drop_link(metadata, row, now_ns=op.now_ns)
    _change_directory(metadata, above, size=-name_size(op.name), subdirectories=0, now_ns=op.now_ns)


def _rmdir(metadata: Metadata, op: ops.Rmdir, at: ops.Address) -> None:
    row, above = entries.find_attributes(metadata, op.parent, op.name), inodes.get(metadata, op.parent)
    assert row is not None and row.is_directory and row.size_bytes == 0, op
    entries.remove(metadata, op.parent, op.name)
    _drop_link(metadata, row, now_ns=op.now_ns)
    _change_directory(metadata, above, size=-name_size(op.name), subdirectories=-1, now_ns=op.now_ns)


def _drop_link(metadata: Metadata, row: Attributes, *, now_ns: int) -> None:
    """One name less. After the last one the inode is an orphan, until `Release`."""
    left = 0 if row.is_directory else row.nlink - 1
    sql = "UPDATE inodes SET nlink = ?, ctime_ns = ? WHERE inode = ?"
    metadata.run(sql, (left, _later(row, now_ns), row.inode))
    if left == 0:
        metadata.run("INSERT INTO orphans VALUES (?)", (row.inode,))


def _forget_fork(metadata: Metadata, fork: int, *, more: bool) -> None:
    """Of an inode that goes, or gets another one. `more`: extents of it are left."""
    metadata.run("DELETE FROM overlaid WHERE fork = ?", (fork,))
    if more:
        metadata.run("INSERT INTO dead_forks VALUES (?)", (fork,))


def _rename(metadata: Metadata, op: ops.Rename, at: ops.Address) -> None:
    moved = entries.find_attributes(metadata, op.parent, op.name)
    replaced = entries.find_attributes(metadata, op.new_parent, op.new_name)
    above = inodes.get(metadata, op.parent), inodes.get(metadata, op.new_parent)
    assert moved is not None, op
    if op.exchange:
        assert replaced is not None, op
        _exchange(metadata, op, moved, replaced, above)
        return
    entries.remove(metadata, op.parent, op.name)
    if replaced is None:
        entries.add(metadata, op.new_parent, op.new_name, moved.inode, cookie=at.seq + FIRST_COOKIE)
    else:
        assert not replaced.is_directory or replaced.size_bytes == 0, op
        entries.point(metadata, op.new_parent, op.new_name, moved.inode)
        _drop_link(metadata, replaced, now_ns=op.now_ns)
    _set_parent(metadata, moved, op.new_parent, now_ns=op.now_ns)
    is_directory, new_name_size = int(moved.is_directory), name_size(op.new_name) if replaced is None else 0
    gone = int(replaced is not None and replaced.is_directory)
    sizes, subdirectories = (-name_size(op.name), new_name_size), (-is_directory, is_directory - gone)
    _change_directories(metadata, above, sizes=sizes, subdirectories=subdirectories, now_ns=op.now_ns)


def _exchange(
    metadata: Metadata, op: ops.Rename, moved: Attributes, replaced: Attributes, above: tuple[Attributes, Attributes]
) -> None:
    entries.point(metadata, op.parent, op.name, replaced.inode)
    entries.point(metadata, op.new_parent, op.new_name, moved.inode)
    _set_parent(metadata, moved, op.new_parent, now_ns=op.now_ns)
    _set_parent(metadata, replaced, op.parent, now_ns=op.now_ns)
    shift = int(replaced.is_directory) - int(moved.is_directory)
    _change_directories(metadata, above, sizes=(0, 0), subdirectories=(shift, -shift), now_ns=op.now_ns)


def _change_directories(
    metadata: Metadata,
    above: tuple[Attributes, Attributes],
    *,
    sizes: tuple[int, int],
    subdirectories: tuple[int, int],
    now_ns: int,
) -> None:
    """Those of the old and of the new name; they may be one."""
    old, new = above
    if old.inode == new.inode:
        _change_directory(metadata, old, size=sum(sizes), subdirectories=sum(subdirectories), now_ns=now_ns)
        return
    _change_directory(metadata, old, size=sizes[0], subdirectories=subdirectories[0], now_ns=now_ns)
    _change_directory(metadata, new, size=sizes[1], subdirectories=subdirectories[1], now_ns=now_ns)


def _set_parent(metadata: Metadata, row: Attributes, parent: int, *, now_ns: int) -> None:
    metadata.run(
        "UPDATE inodes SET ctime_ns = ?, parent = ? WHERE inode = ?",
        (_later(row, now_ns), parent if row.is_directory else 0, row.inode),
    )


def _set_attributes(metadata: Metadata, op: ops.SetAttributes, at: ops.Address) -> None:
    row = inodes.get(metadata, op.inode)
    row = row._replace(
        mode=row.mode if op.mode is None else op.mode,
        uid=row.uid if op.uid is None else op.uid,
        gid=row.gid if op.gid is None else op.gid,
        atime_ns=row.atime_ns if op.atime_ns is None else op.atime_ns,
        mtime_ns=row.mtime_ns if op.mtime_ns is None else op.mtime_ns,
        ctime_ns=_later(row, op.ctime_ns),
    )
    metadata.run(
        "UPDATE inodes SET mode = ?, uid = ?, gid = ?, atime_ns = ?, mtime_ns = ?, ctime_ns = ? WHERE inode = ?",
        (row.mode, row.uid, row.gid, row.atime_ns, row.mtime_ns, row.ctime_ns, row.inode),
    )
    if op.acl is None:
        metadata.seen[row.inode] = row
    else:
        inodes.set_xattr(metadata, op.inode, b"system.posix_acl_access", op.acl)


def _truncate(metadata: Metadata, op: ops.Truncate, at: ops.Address) -> None:
    row = inodes.get(metadata, op.inode)
    fork, change, stale_tail = int(row.fork), 0, row.stale_tail
    if op.size_bytes == 0 and extents.many(metadata, row.fork, 0, (1 << 63) - 1, EXTENTS_PER_OP):
        _forget_fork(metadata, row.fork, more=True)  # O(1), whatever the file held
        fork, change, stale_tail = at.seq, -row.mapped_bytes, 0
    elif op.size_bytes < row.size_bytes or stale_tail:
        freed = extents.free_from(metadata, row.fork, op.size_bytes, EXTENTS_PER_OP)
        change, stale_tail = freed.change, int(freed.more)
    assert op.size_bytes <= row.size_bytes or not row.stale_tail, op
    metadata.run(
        "UPDATE inodes SET size_bytes = ?, mapped_bytes = mapped_bytes + ?, mtime_ns = ?,"
        " ctime_ns = max(?, ctime_ns + 1), fork = ?, stale_tail = ?, mode = coalesce(?, mode) WHERE inode = ?",
        (op.size_bytes, change, op.now_ns, op.now_ns, fork, stale_tail, op.mode, op.inode),
    )
    metadata.running.logical_bytes += change


def _write(metadata: Metadata, op: ops.Write, at: ops.Address) -> None:
    row = inodes.get(metadata, op.inode)
    total = sum(length for _skip, length in op.runs)
    new, done = [], 0
    for skip, length in op.runs:
        new.append(Extent(op.offset + skip, length, at.segment, at.data_position, done, total))
        done += length
    end = op.offset + op.size_bytes
    if op.offset >= row.size_bytes and not row.stale_tail:
        change = extents.add(metadata, row.fork, new)
    else:
        change = extents.write(metadata, row.fork, op.offset, end, new)
    row = row._replace(
        size_bytes=max(row.size_bytes, end),
        mapped_bytes=row.mapped_bytes + change,
        mtime_ns=op.now_ns,
        ctime_ns=_later(row, op.now_ns),
    )
    metadata.run(
        "UPDATE inodes SET size_bytes = ?, mapped_bytes = ?, mtime_ns = ?, ctime_ns = ? WHERE inode = ?",
        (row.size_bytes, row.mapped_bytes, row.mtime_ns, row.ctime_ns, row.inode),
    )
    metadata.seen[row.inode] = row
    metadata.running.logical_bytes += change


def _set_xattr(metadata: Metadata, op: ops.SetXattr, at: ops.Address) -> None:
    inodes.set_xattr(metadata, op.inode, op.name, op.value)
    _change_mode(metadata, op.inode, op.mode, now_ns=op.now_ns)


def _remove_xattr(metadata: Metadata, op: ops.RemoveXattr, at: ops.Address) -> None:
    inodes.remove_xattr(metadata, op.inode, op.name)
    _change_mode(metadata, op.inode, op.mode, now_ns=op.now_ns)


def _change_mode(metadata: Metadata, inode: int, mode: int | None, *, now_ns: int) -> None:
    metadata.run(
        "UPDATE inodes SET ctime_ns = max(?, ctime_ns + 1), mode = coalesce(?, mode) WHERE inode = ?",
        (now_ns, mode, inode),
    )


def _release(metadata: Metadata, op: ops.Release, at: ops.Address) -> None:
    """All at once: one by one they cost half as much again as their unlinks (DESIGN.md §15)."""
    going = inodes.orphaned(metadata, op.inodes)
    inodes.remove(metadata, going)
    if metadata.is_tiered:
        objects.unpin(metadata, [row.inode for row in going])
    forks = [row.fork for row in going if row.fork]
    left = extents.free_forks(metadata, forks, EXTENTS_PER_RELEASE)
    metadata.run_many("DELETE FROM overlaid WHERE fork = ?", [(fork,) for fork in forks])
    metadata.run_many("INSERT INTO dead_forks VALUES (?)", [(fork,) for fork in left])


def _reap(metadata: Metadata, op: ops.Reap, at: ops.Address) -> None:
    freed = extents.free_from(metadata, op.fork, 0, op.count)
    if not freed.more:
        metadata.run("DELETE FROM overlaid WHERE fork = ?", (op.fork,))  # of a Seal that came late
        metadata.run("DELETE FROM dead_forks WHERE fork = ?", (op.fork,))


def _trim(metadata: Metadata, op: ops.Trim, at: ops.Address) -> None:
    row = inodes.find(metadata, op.inode)
    if row is None or not row.stale_tail:
        return
    freed = extents.free_from(metadata, row.fork, row.size_bytes, op.count)
    metadata.run(
        "UPDATE inodes SET mapped_bytes = mapped_bytes + ?, stale_tail = ? WHERE inode = ?",
        (freed.change, int(freed.more), op.inode),
    )
    metadata.running.logical_bytes += freed.change


def _seal(metadata: Metadata, op: ops.Seal, at: ops.Address) -> None:
    for pack, disk in op.packs:
        chunks.add_pack(metadata, pack, disk)
    fresh = chunks.add(metadata, op.chunks)
    for run in _touching(op.ranges):
        fresh -= _seal_run(metadata, run)
    chunks.suspect(metadata, fresh)
    metadata.run_many("DELETE FROM overlaid WHERE fork = ?", [(fork,) for fork in op.recut])
    metadata.run_many(
        "INSERT INTO overlaid VALUES (?1, ?2) ON CONFLICT (fork) DO UPDATE SET since_ns = ?2",
        [(fork, op.now_ns) for fork in op.overlaid],
    )


def _touching(ranges: Sequence[ops.SealedRange]) -> Iterator[list[ops.SealedRange]]:
    """Ranges of one fork that follow each other without a gap, together: one look and one change for all of them."""
    run: list[ops.SealedRange] = []
    for sealed in ranges:
        if run and (run[-1].fork != sealed.fork or run[-1].offset + run[-1].length != sealed.offset):
            yield run
            run = []
        run.append(sealed)
    if run:
        yield run


def _seal_run(metadata: Metadata, run: Sequence[ops.SealedRange]) -> set[int]:
    """Put the chunks where what they were made of still lies; returns those that are named by that."""
    fork, start, end = run[0].fork, run[0].offset, run[-1].offset + run[-1].length
    current = extents.overlapping(metadata, fork, start, end)
    inside = [clip(extent, start, end) for extent in current]
    replaced = join(extent for sealed in run for extent in _sealed(inside, sealed))
    if replaced == inside:
        return set()
    new = sorted([*without(current, start, end), *replaced])
    change = extents.replace(metadata, fork, current, join(new))
    assert change == 0, run
    return {extent.base for extent in replaced if not extent.segment}


def _sealed(current: Sequence[Extent], sealed: ops.SealedRange) -> list[Extent]:
    start, end = sealed.offset, sealed.offset + sealed.length
    inside = [clip(extent, start, end) for extent in between(current, start, end)]
    sources = [Extent(s.offset, s.length, s.segment, s.base, s.skip, 0) for s in sealed.sources]
    return replace_unchanged(inside, sources, Extent(start, sealed.length, 0, sealed.chunk, sealed.skip, 0))


def _collect(metadata: Metadata, op: ops.Collect, at: ops.Address) -> None:
    chunks.collect(metadata, op.chunks)


def _move(metadata: Metadata, op: ops.Move, at: ops.Address) -> None:
    for pack, disk in op.packs:
        chunks.add_pack(metadata, pack, disk)
    for chunk, old_disk, old_pack, new in op.moves:
        known = {(place.disk, place.pack): place for place in chunks.places(metadata, chunk)}
        old = known.get((old_disk, old_pack))
        if old is None or (new.disk, new.pack) in known:
            chunks.add_dead(metadata, new)
            continue
        chunks.remove_place(metadata, chunk, old)
        chunks.add_places(metadata, [(chunk, new)])


def _close_pack(metadata: Metadata, op: ops.ClosePack, at: ops.Address) -> None:
    chunks.close_pack(metadata, op.pack, op.disk)


def _drop_pack(metadata: Metadata, op: ops.DropPack, at: ops.Address) -> None:
    if chunks.drop_pack(metadata, op.pack, op.disk, seq=at.seq) and metadata.is_tiered:
        objects.doom(metadata, op.pack, op.disk, seq=at.seq)


def _deleted(metadata: Metadata, op: ops.Deleted, at: ops.Address) -> None:
    chunks.forget_doomed(metadata, op.packs)


def _mark_chunks(metadata: Metadata, op: ops.MarkChunks, at: ops.Address) -> None:
    for chunk in op.chunks:
        chunks.mark(metadata, chunk, good=op.good)


def _reserve(metadata: Metadata, op: ops.Reserve, at: ops.Address) -> None:
    metadata.running.inode_limit = max(metadata.running.inode_limit, op.inode_limit)


def _touched(metadata: Metadata, op: ops.Touched, at: ops.Address) -> None:
    metadata.run_many(
        "UPDATE inodes SET atime_ns = ? WHERE inode = ?", [(atime_ns, inode) for inode, atime_ns in op.inodes]
    )


def _add_disk(metadata: Metadata, op: ops.AddDisk, at: ops.Address) -> None:
    disks.add(metadata, op.disk, op.uuid, op.path)


def _remove_disk(metadata: Metadata, op: ops.RemoveDisk, at: ops.Address) -> None:
    chunks.forget_doomed(metadata, [(pack, disk) for pack, disk, _seq in chunks.doomed(metadata) if disk == op.disk])
    disks.remove(metadata, op.disk)


def _set_disk(metadata: Metadata, op: ops.SetDisk, at: ops.Address) -> None:
    disks.change(metadata, op.disk, epoch=op.epoch, draining=op.draining, path=op.path)


def _keep_snapshots(metadata: Metadata, op: ops.KeepSnapshots, at: ops.Address) -> None:
    metadata.run("DELETE FROM snapshots")
    metadata.run_many(
        "INSERT INTO snapshots VALUES (?, ?, ?)",
        [(epoch, seq, msgspec.msgpack.encode(segments)) for epoch, seq, segments in op.snapshots],
    )


def _scrubbed(metadata: Metadata, op: ops.Scrubbed, at: ops.Address) -> None:
    running = metadata.running
    running.scrub_begun_ns, running.scrub_ended_ns = op.begun_ns, op.ended_ns
    running.scrub_disk, running.scrub_pack = op.disk, op.pack
    running.scrub_bytes, running.scrub_found, running.scrub_repaired = op.verified_bytes, op.found, op.repaired


_APPLY: dict[type, Callable[[Metadata, Any, ops.Address], None]] = {
    ops.Create: _create,
    ops.Link: _link,
    ops.Unlink: _unlink,
    ops.Rmdir: _rmdir,
    ops.Rename: _rename,
    ops.SetAttributes: _set_attributes,
    ops.Truncate: _truncate,
    ops.Write: _write,
    ops.SetXattr: _set_xattr,
    ops.RemoveXattr: _remove_xattr,
    ops.Release: _release,
    ops.Reap: _reap,
    ops.Trim: _trim,
    ops.Seal: _seal,
    ops.Collect: _collect,
    ops.Move: _move,
    ops.ClosePack: _close_pack,
    ops.DropPack: _drop_pack,
    ops.Deleted: _deleted,
    ops.MarkChunks: _mark_chunks,
    ops.Reserve: _reserve,
    ops.Touched: _touched,
    ops.AddDisk: _add_disk,
    ops.RemoveDisk: _remove_disk,
    ops.KeepSnapshots: _keep_snapshots,
    ops.SetDisk: _set_disk,
    ops.Scrubbed: _scrubbed,
    ops.AttachBucket: lambda metadata, _op, _at: objects.attach(metadata),
    ops.Uploaded: lambda metadata, op, at: objects.add(metadata, op, seq=at.seq),
    ops.Demote: lambda metadata, op, _at: objects.demote(metadata, op.packs),
    ops.Recall: lambda metadata, op, _at: objects.recall(metadata, op.packs),
    ops.PacksRead: lambda metadata, op, _at: objects.note_reads(metadata, op.reads),
    ops.Pin: lambda metadata, op, _at: objects.pin(metadata, op.inode, pinned=op.pinned),
    ops.Publish: lambda metadata, op, _at: objects.publish(metadata, op.copies),
    ops.ObjectsDeleted: lambda metadata, op, _at: objects.forget_doomed(metadata, op.packs),
    ops.ObjectLost: lambda metadata, op, _at: objects.lose(metadata, op.pack, op.disk),
    ops.Reclassed: lambda metadata, op, _at: objects.reclass(metadata, op),
    ops.DropPlaces: lambda metadata, op, _at: objects.drop_places(metadata, op),
    ops.WantTerm: lambda metadata, op, _at: objects.want_term(metadata, op),
    ops.TakeTerm: lambda metadata, op, _at: objects.take_term(metadata, op),
}
