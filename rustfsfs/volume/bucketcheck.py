"""Asking a bucket whether it can hold a volume, before anything depends on it. Blocking; the rules are `tiers`'.

What is refused changes nothing, there or here. The last step writes the volume's header into the bucket, so that the
prefix is this volume's from then on. `look` is the part that only asks, for later: its owner may change his mind.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rustfsfs.bucketfacts import Placement
from rustfsfs.content.slots import decode_header
from rustfsfs.errors import (
    CloudRefused,
    DamagedData,
    InUse,
    NotAVolume,
    ObjectExists,
    ObjectMissing,
    OpeningError,
    RustfsfsError,
)
from rustfsfs.store.address import BucketAddress
from rustfsfs.store.bucket import Bucket
from rustfsfs.store.cold import HEADER, METADATA, PACKS
from rustfsfs.store.credentials import CredentialSource
from rustfsfs.tiers.bucket_rules import AttachFacts, Finding, Severity, judge
from rustfsfs.volume.copies import header_in
from rustfsfs.volume.status import dashed
from rustfsfs.world import real_timing

if TYPE_CHECKING:
    from rustfsfs.store.oss import OssBucket  # it brings much that is for those alone who have a bucket

PROBE = f"{METADATA}probe-"  # and random digits; objects of an attempt that was cut off are nobody's
PROBE_S_MAX = 3600.0  # no attempt takes so long


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is to be attached, and to which volume."""

    address: BucketAddress
    placement: Placement  # of the packs
    uuid: bytes
    header: bytes  # the volume's
    objects: tuple[tuple[str, int], ...]  # (key, size in bytes) of some that the volume has in its bucket; none: yet
    is_elsewhere: bool  # another place than the one those were put to


def check(
    bucket: "OssBucket", one: Candidate, *, now_s: Callable[[], float], random_bytes: Callable[[int], bytes]
) -> list[str]:
    """Warnings, a sentence each. `now_s` is the wall clock.

    Raises CloudUnavailable, CloudRefused (it cannot be used, and why), InUse (the prefix is somebody else's, or does
    not have what this volume put into it).
    """
    facts = _ask(bucket, one.address, one.placement, now_s())
    _refuse(bucket, facts)
    is_ours = check_owner(bucket, one)
    if not is_ours:
        _refuse_inside(bucket)
    _tidy(bucket, now_s())
    creates_only, arrived = _probe(bucket, one.placement, random_bytes)
    facts = replace(facts, creates_only=creates_only, probe_placement=arrived)
    _refuse(bucket, facts)
    _sign(bucket, one, is_ours=is_ours)
    return [finding.text for finding in judge(facts)]


def look(address: BucketAddress, source: CredentialSource, placement: Placement, *, now_s: float) -> list[Finding]:
    """What is wrong with a bucket as it is now, worst first: three requests, all of which only read.

    now_s   the wall clock

    Raises CloudUnavailable, CloudRefused.
    """
    from rustfsfs.store.oss import OssBucket

    source.get()
    return judge(_ask(OssBucket(address, source, clock_s=real_timing().clock_s), address, placement, now_s))


def _ask(bucket: "OssBucket", address: BucketAddress, placement: Placement, now_s: float) -> AttachFacts:
    prefix = address.whole_key("")
    skew_s = now_s - bucket.server_time_s()
    return AttachFacts(
        bucket=bucket.facts(),
        rules=bucket.lifecycle(),
        volume_prefix=prefix,
        packs_prefix=prefix + PACKS,
        endpoint=address.endpoint,
        region=address.region,
        placement=placement,
        clock_skew_s=skew_s,
    )


def _refuse(bucket: Bucket, facts: AttachFacts) -> None:
    """Raises CloudRefused with all that is wrong."""
    wrong = [finding.text for finding in judge(facts) if finding.severity is Severity.REFUSE]
    if wrong:
        raise CloudRefused(f"{bucket.name} cannot be used: {'. Also: '.join(wrong)}")


def check_owner(bucket: Bucket, one: Candidate) -> bool:
    """Is the prefix this volume's already? False: there is nothing in it. Raises InUse."""
    found = header_in(bucket)
    if found is not None:
        _compare(bucket, found, one.uuid)
    else:
        stranger = next((facts.key for facts in bucket.list("") if not facts.key.startswith(PROBE)), None)
        if stranger is not None:
            raise InUse(f"{bucket.name} is not empty ({stranger}); name a prefix that nothing else uses")
    check_packs(bucket, one)
    return found is not None


def check_packs(bucket: Bucket, one: Candidate) -> None:
    """Are they there? Of one's own bucket some may be lost, while its credentials are new. Raises InUse."""
    enough = all if one.is_elsewhere else any
    if one.objects and not enough(_has(bucket, *known) for known in one.objects):
        raise InUse(
            f"{bucket.name} does not have what this volume put into its bucket; copy all of it there first, or name the"
            " place where it is"
        )


def _refuse_inside(bucket: "OssBucket") -> None:
    """Raises InUse: the prefix lies in another volume's, whose owner takes all below it for that one's."""
    for above in bucket.above():
        if _holds_volume(above):
            raise InUse(f"{bucket.name} lies inside {above.name}, which holds a volume; name a prefix beside that")


def _holds_volume(bucket: Bucket) -> bool:
    """False also where we may not look: who gives us a prefix of our own has taken care."""
    try:
        found = header_in(bucket)
        return found is not None and bool(decode_header(found))
    except (CloudRefused, NotAVolume):
        return False
    except OpeningError:  # damaged, or of a newer format
        return True


def _has(bucket: Bucket, key: str, size_bytes: int) -> bool:
    try:
        return bucket.head(key).size_bytes == size_bytes
    except ObjectMissing:
        return False


def _compare(bucket: Bucket, found: bytes, uuid: bytes) -> None:
    try:
        theirs = decode_header(found).uuid
    except OpeningError as exc:
        raise InUse(f"{bucket.name} holds something else than this volume ({HEADER}: {exc}); name another") from exc
    if theirs != uuid:
        raise InUse(f"{bucket.name} holds another volume, {dashed(theirs)}; name a prefix that nothing else uses")


def _tidy(bucket: Bucket, now_s: float) -> None:
    """What attempts that were cut off have left here goes."""
    left = [facts.key for facts in bucket.list(PROBE) if now_s - facts.modified_s > PROBE_S_MAX]
    if left:
        bucket.delete(left)


def _probe(bucket: Bucket, placement: Placement, random_bytes: Callable[[int], bytes]) -> tuple[bool, Placement]:
    """Write, read and delete an object as packs will be: is a second PUT of its name refused, and where does it lie?"""
    key, body = PROBE + random_bytes(8).hex(), random_bytes(16)
    with _deleted_afterwards(bucket, key):
        bucket.put(key, body, placement=placement)
        arrived, creates_only = bucket.head(key).placement, False
        try:
            bucket.put(key, body + b"again", placement=placement)
        except ObjectExists:
            creates_only = True
        if creates_only and arrived is placement and bucket.get(key, 0, len(body)) != body:
            raise DamagedData(f"{bucket.name} does not give back what was put into it; is it OSS?")
        return creates_only, arrived


@contextmanager
def _deleted_afterwards(bucket: Bucket, key: str) -> Iterator[None]:
    """Whatever happens: a PUT that failed may have been done. An error of the block is the one that is told."""
    try:
        yield
    except BaseException:
        with suppress(RustfsfsError):
            bucket.delete([key])
        raise
    bucket.delete([key])


def _sign(bucket: Bucket, one: Candidate, *, is_ours: bool) -> None:
    """The volume's header, where there is none. Create-only: of two volumes at once one is refused.

    One that is there publishing brings up to date, which knows whose the bucket is.
    """
    if is_ours:
        return
    try:
        bucket.put(HEADER, one.header, placement=Placement.STANDARD)
    except ObjectExists:
        check_owner(bucket, one)
