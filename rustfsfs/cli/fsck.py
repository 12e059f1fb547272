"""rustfsfs fsck."""

import os
from collections.abc import Callable, Mapping
from functools import partial

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.secrets import Secret, open_options, read_secret
from rustfsfs.errors import InUse, NotAVolume, UsageError
from rustfsfs.service.client import call
from rustfsfs.store.bucket import Bucket


@click.command("fsck")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@open_options
@click.option("--data", is_flag=True, help="read and verify every stored byte too, in the bucket as well")
@click.option("--rebuild-index", is_flag=True, help="find all chunks again in the packs, when the index is damaged")
@click.option("--restore-metadata", is_flag=True, help="replace lost metadata by the newest snapshot on the disks")
@click.option(
    "--rebuild-from-bucket", is_flag=True, help="replace it by the bucket's newest copy; VOLUME may be a new directory"
)
@click.option(
    "--accept-restored", is_flag=True, help="what was restored is the volume; what only newer metadata names may go"
)
@click.option("--bucket", "url", metavar="oss://BUCKET/PREFIX", help="the bucket, when VOLUME/bucket.toml is lost")
@click.option("--endpoint", metavar="URL", help="where it is, like oss-cn-hangzhou.aliyuncs.com")
@click.option("--region", metavar="REGION", help="its region, if the endpoint does not tell it")
@click.option(
    "--credentials", metavar="SOURCE", help="environment (the default), ecs, ecs:ROLE, or a file of mode 0600"
)
def command(
    place: str,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    data: bool,
    restore_metadata: bool,
    rebuild_index: bool,
    rebuild_from_bucket: bool,
    accept_restored: bool,
    url: str | None,
    endpoint: str | None,
    region: str | None,
    credentials: str | None,
) -> int:
    """Check every invariant, changing nothing, mounted or not. Each finding is one line; exit code 7 if there are any.

    \b
    rustfsfs fsck /srv/volume --key-file /root/key --data
    """
    if restore_metadata + rebuild_index + rebuild_from_bucket + accept_restored > 1:
        raise UsageError(
            "--rebuild-index, --restore-metadata and --rebuild-from-bucket are three ways, of which"
            " `rustfsfs help recovery` says which one first; --accept-restored comes after one of them"
        )
    where = {"url": url, "endpoint": endpoint, "region": region, "credentials": credentials}
    if rebuild_from_bucket:
        ask = partial(read_secret, passphrase_file, key_file, recovery_key_file, site=places.site_of(place))
        return _rebuild_from_bucket(place, where, ask)
    if any(where.values()):
        raise UsageError("--bucket, --endpoint, --region and --credentials are for --rebuild-from-bucket")
    found = places.find(place)
    if restore_metadata or rebuild_index or accept_restored:
        if found.is_mounted:
            raise InUse(f"{found.volume} is mounted; unmount it first")
        secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
        if accept_restored:
            return _accept(found.volume, secret)
        return _restore(found.volume, secret) if restore_metadata else _rebuild(found.volume, secret)
    with progress_bar() as report:
        if found.is_mounted:
            findings = call(found.volume, "fsck", {"data": data}, report)["findings"]
        else:
            from rustfsfs.volume import offline

            secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
            findings = offline.fsck(found.volume, secret, data=data, progress=report)
    for line in findings:
        exits.echo(line)
    exits.echo(f"{len(findings)} findings." if findings else "No findings.")
    return exits.FINDINGS if findings else exits.DONE


def _restore(volume: str, secret: Secret) -> int:
    from rustfsfs.volume.restoring import restore_metadata

    exits.echo(restore_metadata(volume, secret, bucket=_bucket_of(volume)))
    return exits.DONE


def _accept(volume: str, secret: Secret) -> int:
    from rustfsfs.volume import offline

    exits.echo(offline.accept_restored(volume, secret))
    return exits.DONE


def _bucket_of(volume: str) -> Callable[[], Bucket] | None:
    """What reaches the volume's bucket, if VOLUME says which it is."""
    from rustfsfs.config import Config
    from rustfsfs.volume import bucketfile, connecting
    from rustfsfs.world import real_world

    world = real_world()
    if not world.files.exists(f"{volume}/{bucketfile.NAME}"):
        return None

    def reach() -> Bucket:
        file = bucketfile.read_bucket_file(world.files, volume)
        assert file is not None
        return connecting.door_to(file, connecting.source_of(world, file), Config()).reads

    return reach


def _rebuild(volume: str, secret: Secret) -> int:
    from rustfsfs.volume.rebuilding import rebuild_index

    with progress_bar() as report:
        done, *lost = rebuild_index(volume, secret, bucket=_bucket_of(volume), progress=report)
    for line in lost:
        exits.echo(line)
    exits.echo(done)
    return exits.FINDINGS if lost else exits.DONE


def _rebuild_from_bucket(place: str, where: Mapping[str, str | None], ask: Callable[[], Secret]) -> int:
    from rustfsfs.config import Config
    from rustfsfs.volume import bucketfile, connecting
    from rustfsfs.volume.from_bucket import rebuild_from_bucket
    from rustfsfs.world import real_world

    volume, world = _not_mounted(place), real_world()
    if where["url"] is None and (lone := next((name for name, value in where.items() if value), None)):
        raise UsageError(f"--{lone} is for a bucket that --bucket names")
    if where["url"] is not None:
        credentials = places.whole_path(where["credentials"] or bucketfile.ENVIRONMENT)
        new: bucketfile.BucketFile | None = bucketfile.bucket_file_of({**where, "credentials": credentials})
        file = new
    else:
        new, file = None, bucketfile.read_bucket_file(world.files, volume)
    if file is None:
        raise UsageError(f"{volume}/{bucketfile.NAME} is not there; name the bucket with --bucket and --endpoint")
    secret = ask()
    door = connecting.door_to(file, connecting.source_of(world, file), Config())
    with progress_bar() as report:
        done = rebuild_from_bucket(volume, secret, door.reads, settings=new, progress=report)
    for line in (*done.notes, *done.lost, done.done):
        exits.echo(line)
    return exits.FINDINGS if done.lost else exits.DONE


def _not_mounted(place: str) -> str:
    """A volume, or a directory that may become one. Raises InUse."""
    try:
        found = places.find(place)
    except NotAVolume:
        site = places.site_of(place)
        return os.path.realpath(place if site is None else site.mount.volume)
    if found.is_mounted:
        raise InUse(f"{found.volume} is mounted; unmount it first")
    return found.volume
