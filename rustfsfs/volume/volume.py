"""Volume: a frozen bundle of parts, without methods. Its verbs are the modules beside this one."""

import logging
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from rustfsfs.cache.flights import Flights
from rustfsfs.cache.twoqueue import TwoQueueCache
from rustfsfs.config import Config
from rustfsfs.content.keys import Keys
from rustfsfs.content.slots import VolumeHeader
from rustfsfs.journal.barriers import Barriers
from rustfsfs.journal.journal import Journal
from rustfsfs.meta.database import Metadata
from rustfsfs.store.base import PackAppender, PackStore
from rustfsfs.tiers.ahead import Range, Reader
from rustfsfs.units import MIB
from rustfsfs.volume.counters import Counters
from rustfsfs.volume.gate import Gate
from rustfsfs.volume.leftalone import LeftAlone
from rustfsfs.volume.locking import DiskLocks
from rustfsfs.volume.lookups import Lookups
from rustfsfs.volume.pagesums import PageSums
from rustfsfs.volume.tier import Tier
from rustfsfs.world import World

log = logging.getLogger("rustfsfs")
WAL_SIZE_MAX = 64 * MIB
AHEAD_WORKERS = 3  # of their own: who waits for a read finds the others free
READ_ONLY_ASKED = "mounted read-only"  # the one reason that is no trouble


@dataclass(slots=True)
class Numbers:
    """What is given out next. Each only grows in one life of a process."""

    inode: int
    chunk: int
    pack: int


class FailingDisk(NamedTuple):
    """One that is there and could not take a pack, though it had room. Times are trio's clock."""

    why: str
    since_s: float
    again_s: float  # when it is tried again


@dataclass(slots=True)
class Health:
    """What went wrong, and what `status` says of it."""

    read_only_reason: str | None = None
    trouble: str | None = None  # found at opening: why it may only be read, and the command that helps
    restored_in_a_row: int = 0  # transactions rolled back without a good op between
    restored_for: BaseException | None = None  # the newest failure that was undone
    is_restoring: bool = False
    unclean_start: bool = False
    tasks: dict[str, str] = field(default_factory=dict)  # name of a task or a step -> last error, "" while well
    pauses_ms: list[float] = field(default_factory=list)  # the last 1 000 times the loop was held
    missing_disks: dict[int, str] = field(default_factory=dict)  # disk -> why it is not there: see `presence`
    lost_disks: dict[int, str] = field(default_factory=dict)  # of those that are -> why they did not say their space
    failing_disks: dict[int, FailingDisk] = field(default_factory=dict)  # of those that are: see `diskspace`
    asked: set[str] = field(default_factory=set)  # paths of disks that a thread asks for their space, to show it
    suspects: set[int] = field(default_factory=set)  # disks that something failed on; any thread adds to it
    short_batches: int = 0  # stored in fewer copies than the volume wants, and not known to have more by now
    short_again_s: float = -1e9  # trio's clock: when the background tries again to store more
    damaged_chunks: dict[int, str] = field(default_factory=dict)  # chunk -> how, of those found in this life
    damaged_metadata: str | None = None  # what a request met
    left_alone: LeftAlone = field(default_factory=LeftAlone)  # packs

    def notice(self, damage: str) -> None:
        """A request met damaged metadata: logged the first time."""
        if self.damaged_metadata is None:
            log.error("%s", damage)
        self.damaged_metadata = damage


class Storing(NamedTuple):
    """Frames on their way to disks."""

    since_s: float  # trio's clock
    disks: tuple[int, ...]


@dataclass(slots=True)
class Activity:
    """What the foreground does: read by the sealer's throttle and by admission."""

    requests: int = 0
    last_request_s: float = -1e9  # trio's clock
    last_write_s: OrderedDict[int, float] = field(default_factory=OrderedDict)  # fork -> when, most recent last
    sealed_bytes: int = 0  # since mount: progress, for writers that wait
    storing: Storing | None = None  # what is written to packs now, and holds `pack_lock`
    segment: int = 0  # the journal segment of the last record
    committed_seq: int = 0  # last_seq of the last COMMIT
    uncommitted_rows: int = 0  # changed since, as `Op.rows` counts
    epoch_rows: int = 1000  # so many make an epoch due: `tiers.pace.epoch_rows`
    wal_bytes: int = 0  # when last looked at
    wal_bytes_max: int = WAL_SIZE_MAX  # then the gate stays shut for a checkpoint that begins the WAL anew
    wal_begins_anew: bool = False  # with the next COMMIT


@dataclass(slots=True)
class Room:
    """What admission knows of free space, and who waits for some."""

    free_bytes: int = 0  # on all disks, when last looked at
    reserve_bytes: int = 0  # beyond those, for metadata
    looked_s: float = -1e9  # trio's clock
    made_s: float = -1e9  # when room was last made by collecting
    making: trio.Lock = field(default_factory=trio.Lock)  # held while it is
    waiting: int = 0  # requests held by backpressure
    refused_s: float = -1e9  # when there was no room for what came, and none has been seen since
    gave_up_s: float = -1e9  # when the mover was last waited for in vain
    is_above_high: bool = False  # all disks, when last looked at; of a volume with a bucket
    ballast_bytes: int = 0  # of the file that is given up when the disk is full; 0: given up


@dataclass(slots=True)
class Handles:
    """Which inodes are in use, and what was read of them."""

    counts: dict[int, int] = field(default_factory=dict)  # inode -> open handles
    lookups: Lookups = field(default_factory=Lookups)  # of the front end
    nameless: dict[int, bool] = field(default_factory=dict)  # inode without a name -> does the front end know it?
    free: deque[int] = field(default_factory=deque)  # inodes without a name that nobody uses: the reaper's
    touched: dict[int, int] = field(default_factory=dict)  # inode -> atime_ns not recorded yet


@dataclass(slots=True)
class Ahead:
    """Who reads a file in order, and what is to be decoded before it is asked for. Both are bounded."""

    readers: OrderedDict[int, Reader] = field(default_factory=OrderedDict)  # inode -> its reader, most recent last
    wanted: deque[tuple[int, Range]] = field(default_factory=lambda: deque(maxlen=64))  # (inode, range of the file)
    workers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(AHEAD_WORKERS))


@dataclass(slots=True)
class Warmth:
    """Which pages of the database may lie on the disk only: `volume.warming`."""

    is_cold: bool = False  # the kernel did not hold all of it, when last looked at
    recent: OrderedDict[tuple[int, int], float] = field(default_factory=OrderedDict)  # read -> when, trio's clock
    scouts: list[Metadata] = field(default_factory=list)  # connections that only read, those that are free
    limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(4))  # disks may queue


@dataclass(slots=True)
class Pins:
    """What must not be deleted for a while (DESIGN.md §2, I5). Journal segments are pinned by the journal itself."""

    packs: dict[tuple[int, int], int] = field(default_factory=dict)  # (pack, disk) -> readers
    snapshot_begins: bool = False  # it is not known yet what it names: nothing at all is deleted
    snapshot_seq: int = 1 << 62  # one that is being made names what was dropped later than this
    dropped_seq: int = 1 << 62  # as does one that is about to be deleted, and may be there yet after a power cut
    published_seq: int = 1 << 62  # as does one on its way to the bucket, of objects


@dataclass(slots=True)
class Wishes:
    """Events that wake tasks early; replaced when seen."""

    seal: trio.Event = field(default_factory=trio.Event)
    epoch: trio.Event = field(default_factory=trio.Event)  # so many rows changed that a COMMIT is due
    reap: trio.Event = field(default_factory=trio.Event)
    collect: trio.Event = field(default_factory=trio.Event)
    segments: trio.Event = field(default_factory=trio.Event)
    ahead: trio.Event = field(default_factory=trio.Event)  # something is to be read ahead
    damage: trio.Event = field(default_factory=trio.Event)  # a damaged chunk's paths are to be logged
    disks: trio.Event = field(default_factory=trio.Event)  # one may be gone
    tier: trio.Event = field(default_factory=trio.Event)  # the mover has something to do
    restore: trio.Event = field(default_factory=trio.Event)  # a frozen pack's restore is to be asked for
    publish: trio.Event = field(default_factory=trio.Event)  # the bucket is to have the metadata now
    snapshot: trio.Event = field(default_factory=trio.Event)  # the journal is full of what only an old one names


@dataclass(slots=True)
class Settings:
    """As they are now: `volume.reloading` puts others here, so nobody keeps what it read of them."""

    config: Config
    lock: trio.Lock = field(default_factory=trio.Lock)  # one who reloads them at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One open volume. Everything but the worker threads' jobs runs on the trio thread."""

    path: str
    header: VolumeHeader
    keys: Keys
    settings: Settings
    world: World
    metadata: Metadata
    reader: Metadata  # a second connection, for workers: checkpoint, fsck, status, snapshots
    reader_lock: trio.Lock
    journal: Journal
    barriers: Barriers
    gate: Gate
    disks: dict[int, PackStore]  # those that are there
    disk_locks: DiskLocks
    writers: dict[int, PackAppender]  # disk -> its open pack; the sealer's and collector's, under `pack_lock`
    page_sums: PageSums  # of the database's pages; under `commit_lock`
    pack_lock: trio.Lock
    seal_lock: trio.Lock  # one sealer at a time
    commit_lock: trio.Lock  # one COMMIT and its checkpoint at a time
    collect_lock: trio.Lock  # one who rewrites, drops and deletes packs at a time
    scrub_lock: trio.Lock  # one who scrubs at a time
    snapshot_lock: trio.Lock  # one who makes or deletes snapshots at a time
    cache: TwoQueueCache[int | tuple[int, int], bytes]  # of chunks, and (chunk, part) of those read in part
    flights: Flights[int, bytes]
    readers: trio.CapacityLimiter  # worker threads for chunk reads
    sealers: trio.CapacityLimiter  # worker threads for cutting and sealing
    journal_limit_bytes: int
    numbers: Numbers
    health: Health
    activity: Activity
    counters: Counters
    room: Room
    handles: Handles
    ahead: Ahead
    warmth: Warmth
    pins: Pins
    wishes: Wishes
    tier: Tier  # the bucket's side
    noatime: bool

    @property
    def config(self) -> Config:
        return self.settings.config
