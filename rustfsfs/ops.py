"""The typed operation records of the journal, version 1. A leaf.

Each op is one change of metadata, whole: `meta.apply` reads nothing else but the op, its journal address and
the database. Encoded as msgpack arrays `[tag, field, ...]`. **A published tag never changes its meaning**: a
field may be added at an end, with a default; anything else is a new tag.
"""

import msgspec


class Op(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of all ops; never recorded itself."""

    @property
    def rows(self) -> int:
        """About how many rows it changes, in units of a simple op: an epoch ends after so many."""
        return 1


class Create(Op, tag=1, frozen=True):
    """A new inode and its first name: file, directory, symlink, FIFO, socket or device."""

    parent: int
    name: bytes
    inode: int
    mode: int  # type and permission bits
    uid: int
    gid: int
    rdev: int
    target: bytes  # symlinks only
    now_ns: int
    xattrs: list[tuple[bytes, bytes]] = []  # inherited ACLs


class Link(Op, tag=2, frozen=True):
    inode: int
    parent: int
    name: bytes
    now_ns: int


class Unlink(Op, tag=3, frozen=True):
    """Remove a name of a non-directory. After the last one its inode stays until `Release`."""

    parent: int
    name: bytes
    now_ns: int


class Rmdir(Op, tag=4, frozen=True):
    """As `Unlink`, for an empty directory."""

    parent: int
    name: bytes
    now_ns: int


class Rename(Op, tag=5, frozen=True):
    """The inode that is replaced loses a name, as by `Unlink`."""

    parent: int
    name: bytes
    new_parent: int
    new_name: bytes
    exchange: bool
    now_ns: int


class SetAttributes(Op, tag=6, frozen=True):
    """Absent (None) fields stay. `acl` replaces system.posix_acl_access when its mask follows a chmod."""

    inode: int
    mode: int | None
    uid: int | None
    gid: int | None
    atime_ns: int | None
    mtime_ns: int | None
    ctime_ns: int
    acl: bytes | None = None


class Truncate(Op, tag=7, frozen=True):
    """`mode`: what follows when it takes set-user-ID or set-group-ID off."""

    inode: int
    size_bytes: int
    now_ns: int
    mode: int | None = None


class Write(Op, tag=8, frozen=True):
    """`size_bytes` bytes at `offset`. The data holds only `runs`, [(skip, length)...], joined; the rest is zeros."""

    inode: int
    offset: int
    size_bytes: int
    runs: list[tuple[int, int]]
    now_ns: int


class SetXattr(Op, tag=9, frozen=True):
    """`mode`: the permission bits that follow when the xattr is an access ACL."""

    inode: int
    name: bytes
    value: bytes
    now_ns: int
    mode: int | None = None


class RemoveXattr(Op, tag=10, frozen=True):
    """Nothing happens to an xattr that is not there. `mode`: as for `SetXattr`, when permission bits replace an ACL."""

    inode: int
    name: bytes
    now_ns: int
    mode: int | None = None


class Release(Op, tag=11, frozen=True):
    """Inodes without a name that nobody uses any more: they go, with at most so many extents as one op may free."""

    inodes: list[int]

    @property
    def rows(self) -> int:
        return len(self.inodes)


class Reap(Op, tag=12, frozen=True):
    """Free at most `count` extents of a fork no inode has."""

    fork: int
    count: int

    @property
    def rows(self) -> int:
        return self.count


class Trim(Op, tag=13, frozen=True):
    """Free at most `count` extents at or past the end of a file that was cut short."""

    inode: int
    count: int

    @property
    def rows(self) -> int:
        return self.count


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a frame lies: `stored_bytes` at `offset` of a pack on a disk."""

    disk: int
    pack: int
    offset: int
    stored_bytes: int


class NewChunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    chunk: int  # its row number
    chunk_id: bytes
    plain_bytes: int
    places: list[Place]


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a sealed range was read from: an extent as it was. `segment` 0: `base` is a chunk number."""

    offset: int  # in the file
    length: int
    segment: int
    base: int
    skip: int


class SealedRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """File range [offset, offset + length) of a fork is now chunk bytes [skip, skip + length)."""

    fork: int
    offset: int
    length: int
    chunk: int
    skip: int
    sources: list[Source]  # in order; only what still lies there is replaced


class Seal(Op, tag=14, frozen=True):
    """Sealed ranges take the place of hot ones; chunk and pack rows are born here, after their bytes are durable.

    `overlaid`: forks in which a small dirty run was sealed by itself and awaits a new cut.
    """

    packs: list[tuple[int, int]]  # (pack, disk) first named by this op
    chunks: list[NewChunk]
    ranges: list[SealedRange]
    overlaid: list[int]
    recut: list[int]  # forks whose overlays were cut anew
    now_ns: int

    @property
    def rows(self) -> int:
        return len(self.chunks) + sum(len(one.sources) for one in self.ranges)


class Collect(Op, tag=15, frozen=True):
    """Delete those of the chunks that no extent names; forget that the others were suspected."""

    chunks: list[int]

    @property
    def rows(self) -> int:
        return len(self.chunks)


class Move(Op, tag=16, frozen=True):
    """Frames were copied: each (chunk, old disk, old pack, new place). Skips what is no longer there."""

    packs: list[tuple[int, int]]
    moves: list[tuple[int, int, int, Place]]

    @property
    def rows(self) -> int:
        return len(self.moves)


class ClosePack(Op, tag=17, frozen=True):
    pack: int
    disk: int
    size_bytes: int


class DropPack(Op, tag=18, frozen=True):
    """A pack without live frames leaves the tables; its file awaits deletion in `doomed` (I5)."""

    pack: int
    disk: int


class Deleted(Op, tag=19, frozen=True):
    """The files of doomed packs are gone."""

    packs: list[tuple[int, int]]  # (pack, disk)


class MarkChunks(Op, tag=20, frozen=True):
    """Chunks found bad (`good` false) or seen good again."""

    chunks: list[int]
    good: bool


class Reserve(Op, tag=21, frozen=True):
    """Inode numbers below `inode_limit` may be given out until the next Reserve (DESIGN.md §2)."""

    inode_limit: int


class Touched(Op, tag=22, frozen=True):
    """atimes gathered in RAM."""

    inodes: list[tuple[int, int]]


class AddDisk(Op, tag=23, frozen=True):
    disk: int
    uuid: bytes
    path: str


class RemoveDisk(Op, tag=24, frozen=True):
    disk: int


class KeepSnapshots(Op, tag=25, frozen=True):
    """The metadata snapshots now retained: (epoch, seq, hot segments they name)."""

    snapshots: list[tuple[int, int, list[int]]]


class SetDisk(Op, tag=26, frozen=True):
    """What a disk's header says now: its newest epoch; or that no new pack goes there (`draining`)."""

    disk: int
    epoch: int
    draining: bool
    path: str


class Scrubbed(Op, tag=27, frozen=True):
    """How far scrubbing is: the pass under way, and when the last whole one ended (0: none yet)."""

    begun_ns: int  # 0: none is under way
    ended_ns: int
    disk: int  # the last pack it has verified
    pack: int
    verified_bytes: int  # of frames, in the pass under way, or else in the last one
    found: int  # pieces of damage in it,
    repaired: int  # and how many of them are no more


class AttachBucket(Op, tag=28, frozen=True):
    """The volume has a bucket from now on: its tables are made, and its format is that of a volume with one."""


class Uploaded(Op, tag=29, frozen=True):
    """The bucket has a whole pack, proved. Of one that was dropped meanwhile the object is doomed at once."""

    pack: int
    disk: int
    size_bytes: int  # of the object
    crc64: bytes  # 8, big-endian
    placement: str
    put_s: int


class Demote(Op, tag=30, frozen=True):
    """The files of packs are about to go from their disks. Skips those that the bucket does not have."""

    packs: list[tuple[int, int]]  # (pack, disk)


class Recall(Op, tag=31, frozen=True):
    """The files of packs are on their disks again, durably."""

    packs: list[tuple[int, int]]


class PacksRead(Op, tag=32, frozen=True):
    """When packs were last read, gathered in RAM: (pack, disk, seconds since 1970)."""

    reads: list[tuple[int, int, int]]

    @property
    def rows(self) -> int:
        return len(self.reads)


class Pin(Op, tag=33, frozen=True):
    """A tree stays on disks, or no longer has to."""

    inode: int
    pinned: bool


class Publish(Op, tag=34, frozen=True):
    """The copies of the metadata that the bucket now has: (epoch, seq)."""

    copies: list[tuple[int, int]]


class ObjectsDeleted(Op, tag=35, frozen=True):
    """Doomed objects are gone."""

    packs: list[tuple[int, int]]


class ObjectLost(Op, tag=36, frozen=True):
    """The bucket does not have a pack any more, or not as it was put there."""

    pack: int
    disk: int


class Reclassed(Op, tag=37, frozen=True):
    """The object of a pack is of another class than we knew. Nothing happens to one that was dropped meanwhile."""

    pack: int
    disk: int
    placement: str
    put_s: int  # since when, by the bucket's clock: its minimum days begin anew


class DropPlaces(Op, tag=38, frozen=True):
    """Frames of a pack are about to go. Skips those whose chunk lies in none of `kept_in` that the bucket has."""

    pack: int
    disk: int
    chunks: list[int]
    kept_in: list[tuple[int, int]]  # (pack, disk)

    @property
    def rows(self) -> int:
        return len(self.chunks)


class WantTerm(Op, tag=39, frozen=True):
    """A life is about to take this term of the bucket's owner: durable before its object is created (DESIGN.md §17)."""

    number: int
    life: bytes  # its id


class TakeTerm(Op, tag=40, frozen=True):
    """A life has taken it: the bucket had no newer one. What a person decided about it is used up by that."""

    number: int
    life: bytes


AnyOp = (
    Create | Link | Unlink | Rmdir | Rename | SetAttributes | Truncate | Write | SetXattr | RemoveXattr | Release
    | Reap | Trim | Seal | Collect | Move | ClosePack | DropPack | Deleted | MarkChunks | Reserve | Touched
    | AddDisk | RemoveDisk | KeepSnapshots | SetDisk | Scrubbed | AttachBucket | Uploaded | Demote | Recall
    | PacksRead | Pin | Publish | ObjectsDeleted | ObjectLost | Reclassed | DropPlaces
    | WantTerm | TakeTerm
)  # fmt: skip


class Address(msgspec.Struct, frozen=True, gc=False):
    """Where a record lies: its number, its segment, and the position (bytes) of its first data piece."""

    seq: int
    segment: int
    data_position: int


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyOp] = msgspec.msgpack.Decoder(AnyOp)


def encode(op: AnyOp) -> bytes:
    return _encoder.encode(op)


def decode(data: bytes) -> AnyOp:
    """Inverse of `encode`. Raises msgspec.DecodeError (a ValueError) on anything else."""
    return _decoder.decode(data)
