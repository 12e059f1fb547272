"""Attaching a bucket: everything is asked first, so that what is refused changes nothing.

Order: the volume's header in the bucket → bucket.toml durable → AttachBucket op → COMMIT → the door. Cut anywhere, the
same command does the rest.
"""

from dataclasses import dataclass
from functools import partial

import trio

from rustfsfs import ops
from rustfsfs.bucketfacts import Placement
from rustfsfs.errors import CloudRefused, InUse, MachineTrouble, RustfsfsError, UsageError
from rustfsfs.meta import objects
from rustfsfs.store.cold import Door, pack_key
from rustfsfs.store.credentials import CredentialSource
from rustfsfs.units import format_size
from rustfsfs.volume import bucketcheck, connecting, epochs
from rustfsfs.volume.bucketcheck import Candidate
from rustfsfs.volume.bucketfile import ENVIRONMENT, NAME, BucketFile, read_bucket_file, write_bucket_file
from rustfsfs.volume.collecting import Progress, no_progress
from rustfsfs.volume.header import find_header
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.recording import ensure_writable, record
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import real_timing

OBJECTS_SAMPLED = 16  # HEADs, to see that a bucket is the one with the volume's packs


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    name: str
    is_new: bool  # it had none; else the same data by another way: endpoint, credentials
    warnings: list[str]


async def attach(
    volume: Volume, file: BucketFile, *, placement: Placement | None = None, progress: Progress = no_progress
) -> Attached:
    """Make a bucket the volume's, or reach the same one by another way. `placement`: of packs, if one was named.

    Raises UsageError, InUse, MachineTrouble, CloudUnavailable, CloudRefused; then nothing has changed.
    """
    ensure_writable(volume)
    _check_class(volume, placement)
    _check_room(volume)
    source = connecting.source_of(volume.world, file)
    progress(0, 2, f"asking {file.address}")
    known = known_objects(volume)
    warnings = await trio.to_thread.run_sync(
        _check, volume, file, source, known, limiter=volume.tier.workers, abandon_on_cancel=True
    )
    progress(1, 2, "waiting for uploads that are under way")
    door = await trio.to_thread.run_sync(connecting.door_to, file, source, volume.config)
    async with volume.tier.lock:  # nothing is uploaded while the door changes
        await volume.gate.opened()
        if not known and known_objects(volume):
            raise InUse(f"{volume.path} put packs into its bucket meanwhile; try again")
        is_new = not volume.metadata.is_tiered
        await _change(volume, file, door)
    volume.wishes.tier.set()
    volume.wishes.publish.set()
    log.info("%s is the volume's bucket now", file.address)
    return Attached(name=str(file.address), is_new=is_new, warnings=warnings)


def _check_class(volume: Volume, placement: Placement | None) -> None:
    here = volume.config.bucket.placement
    if placement is not None and placement is not here:
        raise UsageError(
            f"bucket.class is {here.value} here, not {placement.value}; attach the bucket while the volume is not"
            " mounted, or change the settings and reload them first"
        )


def _check_room(volume: Volume) -> None:
    """The cache needs its room on VOLUME's disk."""
    free_bytes = volume.world.files.space(volume.path).free_bytes + volume.tier.pieces.bytes
    wanted_bytes = volume.config.cache.disk_bytes
    if wanted_bytes > free_bytes:
        raise MachineTrouble(
            f"the disk of {volume.path} has {format_size(free_bytes)} free, and cache.disk is"
            f" {format_size(wanted_bytes)}; set a smaller cache.disk in {volume.path}/config.toml, or free some space"
        )


def known_objects(volume: Volume) -> tuple[tuple[str, int], ...]:
    """(key, size) of some packs in the bucket, those that are lost there left out."""
    if not volume.metadata.is_tiered:
        return ()
    found = objects.sample(volume.metadata, OBJECTS_SAMPLED)
    lost = volume.health.left_alone.packs(Why.LOST, now_s=trio.current_time())
    return tuple((pack_key(one.pack, one.disk), one.size_bytes) for one in found if (one.pack, one.disk) not in lost)


def _check(volume: Volume, file: BucketFile, source: CredentialSource, known: tuple[tuple[str, int], ...]) -> list[str]:
    """Blocking, and without a second try: a person waits, and can try again."""
    from rustfsfs.store.oss import OssBucket

    world = volume.world
    try:
        source.get()
    except CloudRefused as exc:
        whose = " of the process that has the volume open; --credentials names other places"
        raise CloudRefused(f"{exc}{whose if file.credentials == ENVIRONMENT else ''}") from exc
    candidate = Candidate(
        address=file.address,
        placement=volume.config.bucket.placement,
        uuid=volume.header.uuid,
        header=find_header(world, volume.path),
        objects=known,
        is_elsewhere=_is_elsewhere(volume, file),
    )
    bucket = OssBucket(file.address, source, clock_s=real_timing().clock_s)
    return bucketcheck.check(bucket, candidate, now_s=lambda: world.now_ns() / 1e9, random_bytes=world.random_bytes)


def _is_elsewhere(volume: Volume, file: BucketFile) -> bool:
    """Also where the file that says so is nonsense. Blocking."""
    try:
        before = read_bucket_file(volume.world.files, volume.path)
    except (UsageError, MachineTrouble):
        return True
    return before is None or str(before.address) != str(file.address)


async def _change(volume: Volume, file: BucketFile, door: Door) -> None:
    """Under `tier.lock`."""
    tier = volume.tier
    await _write(volume, file)
    await volume.gate.opened()
    if not volume.metadata.is_tiered:
        try:
            record(volume, ops.AttachBucket())
        except RustfsfsError:
            await _write(volume, None)
            raise
    await epochs.commit(volume)
    if tier.files is None:
        await connecting.begin_cache(volume)
    tier.door, tier.trouble, tier.rules = door, None, []  # what is wrong would have been refused
    await connecting.keep_to_settings(volume)  # they may have been reloaded meanwhile


async def _write(volume: Volume, file: BucketFile | None) -> None:
    try:
        await trio.to_thread.run_sync(partial(write_bucket_file, volume.world.files, volume.path, file))
    except OSError as exc:
        raise MachineTrouble(f"{volume.path}/{NAME} cannot be written ({exc.strerror})") from exc
