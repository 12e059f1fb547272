"""A volume that is opened, and its bucket: the door to it, and what earlier lives left on the cache disk.

Nothing here asks the network, so a mount comes up during an outage. What is wrong with the bucket's settings keeps
nobody from what is local: it is `Tier.trouble`.
"""

from collections.abc import Iterable

import trio

from rustfsfs.cache.piecefiles import PieceFiles
from rustfsfs.cache.pieces import Piece, PieceIndex
from rustfsfs.config import Config
from rustfsfs.errors import RustfsfsError
from rustfsfs.store.cold import WAYS, Door, Limits, open_door
from rustfsfs.store.credentials import CredentialSource
from rustfsfs.volume.bucketfile import NAME, BucketFile, credential_source, read_bucket_file
from rustfsfs.volume.volume import Volume, log
from rustfsfs.world import World, real_timing


async def connect(volume: Volume) -> None:
    """Set up `volume.tier`, once, while the volume is opened. Without a bucket there is nothing to do."""
    tier = volume.tier
    try:
        file = await trio.to_thread.run_sync(read_bucket_file, volume.world.files, volume.path)
        tier.trouble = _contradiction(volume, file)
        if file is not None and tier.trouble is None:
            source = source_of(volume.world, file)
            tier.door = await trio.to_thread.run_sync(door_to, file, source, volume.config)
    except RustfsfsError as exc:
        tier.trouble = str(exc)
    if tier.trouble is not None:
        log.error("the volume's bucket cannot be used: %s", tier.trouble)
    if tier.door is not None:
        await begin_cache(volume)


def _contradiction(volume: Volume, file: BucketFile | None) -> str | None:
    """Why the file and the metadata cannot both be right."""
    path = f"{volume.path}/{NAME}"
    if volume.metadata.is_tiered and file is None:
        return f"{path}, which says where the volume's bucket is, is not there; rustfsfs bucket attach writes it anew"
    if file is not None and not volume.metadata.is_tiered:
        return (
            f"{path} names {file.address}, of which the metadata knows nothing: attaching it was cut off, or the"
            " metadata is older; attach it again"
        )
    return None


def source_of(world: World, file: BucketFile) -> CredentialSource:
    return credential_source(file.credentials, now_s=lambda: world.now_ns() / 1e9)


def door_to(file: BucketFile, source: CredentialSource, config: Config) -> Door:
    """Blocking: the SDK takes a while to load, which only those wait for who have a bucket. Raises MachineTrouble."""
    from rustfsfs.store.oss import OssBucket

    timing, concurrency = real_timing(), config.bucket.concurrency
    bucket = OssBucket(file.address, source, clock_s=timing.clock_s, connections_max=WAYS * concurrency)
    return open_door(bucket, source, limits=limits_of(config), timing=timing)


def limits_of(config: Config) -> Limits:
    return Limits(
        read_deadline_s=config.cold.read_deadline_s,
        concurrency=config.bucket.concurrency,
        up_bytes_s=config.bucket.upload_bytes_s,
        down_bytes_s=config.bucket.download_bytes_s,
    )


async def begin_cache(volume: Volume) -> None:
    """Take up what lies on the cache disk. Where nothing can be written, nothing is kept, and each read is a GET."""
    begun = await trio.to_thread.run_sync(_begun_cache, volume)
    if begun is not None:
        volume.tier.files, volume.tier.pieces = begun


def _begun_cache(volume: Volume) -> tuple[PieceFiles, PieceIndex] | None:
    """Blocking: a millisecond for some hundred pieces."""
    if volume.world.files.space(volume.path).read_only:
        return None
    files, pieces = PieceFiles(volume.world.files, volume.path), PieceIndex(volume.config.cache.disk_bytes)
    try:
        files.delete(fill(pieces, files.begin()))
    except OSError as exc:
        log.warning("what is read from the bucket cannot be kept in %s (%s)", files.path, exc.strerror)
        return None
    return files, pieces


def fill(index: PieceIndex, found: Iterable[Piece]) -> list[Piece]:
    """Put pieces into an index; returns those that do not fit, or are in others: their files are to be deleted."""
    left: list[Piece] = []
    for piece in found:
        gone = index.add(piece)
        left += [piece] if gone is None else gone
    return left
