"""The door to a volume's bucket: names in it, and the stacks of wrappers that requests go through."""

from dataclasses import dataclass, field
from typing import NamedTuple

from rustfsfs.content.keys import checksum
from rustfsfs.store.breaker import Breaker, BreakerPolicy, BreakingBucket
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.counting import CountingBucket, Requests
from rustfsfs.store.credentials import CredentialSource
from rustfsfs.store.limiting import Bandwidth, Gate, LimitedBucket
from rustfsfs.store.refreshing import RefreshingBucket
from rustfsfs.store.retrying import RetryingBucket, RetryPolicy
from rustfsfs.world import Timing

PACKS, METADATA = "packs/", "meta/"  # lifecycle rules of the bucket's owner may touch the first one only
HEADER = f"{METADATA}header"  # the volume's header: whose the prefix is, and what the volume's keys open
WAYS = 4  # of a `Door`
WRITE_DEADLINE_S = 60.0  # an upload that fails for longer has its turn again in a later round


def pack_key(pack: int, disk: int) -> str:
    """Of the object that a pack is, written once. Hash-spread: OSS serves 2 000 requests/s of one prefix (OSS.md)."""
    number = f"{pack:016x}-{disk:x}"
    return f"{PACKS}{checksum(number.encode())[:1].hex()}/{number}"


def parse_pack_key(key: str) -> tuple[int, int] | None:
    """(pack, disk); None: not the name of a pack."""
    try:
        pack, disk = (int(part, 16) for part in key.rpartition("/")[2].split("-"))
    except ValueError:
        return None
    return (pack, disk) if pack_key(pack, disk) == key else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One bucket by four ways, each with places of its own, so that nothing stands before a reader, and uploads before
    nothing else. They share circuit, credentials and the line: there a recall lets readers go first.
    """

    front: Bucket  # what an application waits for
    uploads: Bucket  # of packs
    reads: Bucket  # all other
    writes: Bucket
    breaker: Breaker
    knobs: "Knobs | None" = None  # a test's door may have no limits
    requests: Requests = field(default_factory=Requests)  # what went through it

    @property
    def name(self) -> str:
        return self.reads.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of the configuration. Rates in bytes a second; 0: as fast as it goes."""

    read_deadline_s: float
    concurrency: int  # requests at once, each way of a `Door`
    up_bytes_s: int
    down_bytes_s: int


class Way(NamedTuple):
    bucket: RetryingBucket
    gate: Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What of a door its limits are kept in."""

    ways: tuple[Way, ...]
    readers: tuple[Way, ...]  # those of them with the readers' deadline
    up: Bandwidth
    down: Bandwidth


def change_limits(door: Door, limits: Limits) -> None:
    """Other limits, for requests under way too. Circuit, connections and credentials stay."""
    knobs = door.knobs
    if knobs is None:
        return
    for way in knobs.ways:
        way.gate.resize(limits.concurrency)
    knobs.up.change(limits.up_bytes_s)
    knobs.down.change(limits.down_bytes_s)
    for way in knobs.readers:
        way.bucket.give_up_after(limits.read_deadline_s)


def open_door(bucket: Bucket, source: CredentialSource, *, limits: Limits, timing: Timing) -> Door:
    """Nothing is asked of the bucket yet."""
    requests = Requests()
    counted = CountingBucket(bucket, requests)
    breaker = Breaker(policy=BreakerPolicy(), clock_s=timing.clock_s)
    up, down = (Bandwidth(rate, timing=timing) for rate in (limits.up_bytes_s, limits.down_bytes_s))

    def way(deadline_s: float, *, writes: bool, gives_way: bool = False) -> Way:
        gate = Gate(limits.concurrency)
        limited = LimitedBucket(counted, gate=gate, up=up, down=down, gives_way=gives_way)
        patient = RetryPolicy(deadline_s=deadline_s)
        inner = BreakingBucket(RefreshingBucket(limited, source), breaker, writes=writes)
        return Way(RetryingBucket(inner, policy=patient, timing=timing), gate)

    front, reads = (way(limits.read_deadline_s, writes=False, gives_way=last) for last in (False, True))
    uploads, writes = way(WRITE_DEADLINE_S, writes=True), way(WRITE_DEADLINE_S, writes=True)
    return Door(
        front=front.bucket,
        uploads=uploads.bucket,
        reads=reads.bucket,
        writes=writes.bucket,
        breaker=breaker,
        knobs=Knobs(ways=(front, uploads, reads, writes), readers=(front, reads), up=up, down=down),
        requests=requests,
    )
