"""rustfsfs fsck."""

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.secrets import Secret, open_options, read_secret
from rustfsfs.errors import InUse, UsageError
from rustfsfs.service.client import call


@click.command("fsck")
@click.argument("place", type=places.PATH, metavar="VOLUME|MOUNTPOINT")
@open_options
@click.option("--data", is_flag=True, help="read and verify every frame too")
@click.option("--rebuild-index", is_flag=True, help="find all chunks again in the packs, when the index is damaged")
@click.option("--restore-metadata", is_flag=True, help="replace lost metadata by the newest snapshot on the disks")
def command(
    place: str,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    data: bool,
    restore_metadata: bool,
    rebuild_index: bool,
) -> int:
    """Check every invariant, changing nothing, mounted or not. Each finding is one line; exit code 7 if there are any.

    \b
    rustfsfs fsck /srv/volume --key-file /root/key --data
    """
    found = places.find(place)
    if restore_metadata and rebuild_index:
        raise UsageError("--restore-metadata and --rebuild-index are two ways; try --rebuild-index first")
    if restore_metadata or rebuild_index:
        if found.is_mounted:
            raise InUse(f"{found.volume} is mounted; unmount it first")
        secret = read_secret(passphrase_file, key_file, recovery_key_file)
        return _restore(found.volume, secret) if restore_metadata else _rebuild(found.volume, secret)
    with progress_bar() as report:
        if found.is_mounted:
            findings = call(found.volume, "fsck", {"data": data}, report)["findings"]
        else:
            from rustfsfs.volume import offline

            secret = read_secret(passphrase_file, key_file, recovery_key_file)
            findings = offline.fsck(found.volume, secret, data=data, progress=report)
    for line in findings:
        exits.echo(line)
    exits.echo(f"{len(findings)} findings." if findings else "No findings.")
    return exits.FINDINGS if findings else exits.DONE


def _restore(volume: str, secret: Secret) -> int:
    from rustfsfs.volume.restoring import restore_metadata

    exits.echo(restore_metadata(volume, secret))
    return exits.DONE


def _rebuild(volume: str, secret: Secret) -> int:
    from rustfsfs.volume.rebuilding import rebuild_index

    with progress_bar() as report:
        done, *lost = rebuild_index(volume, secret, progress=report)
    for line in lost:
        exits.echo(line)
    exits.echo(done)
    return exits.FINDINGS if lost else exits.DONE
