"""rustfsfs export."""

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.errors import InUse
from rustfsfs.volume import offline


@click.command("export")
@click.argument("volume", type=places.PATH, metavar="NAME|VOLUME")
@click.argument("path")
@click.argument("directory", type=places.PATH)
@open_options
def command(
    volume: str,
    path: str,
    directory: str,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
) -> int:
    """Copy the tree PATH out of an unmounted volume into DIRECTORY, without FUSE. PATH is from the volume's root.

    What cannot be read is left out and named; exit code 7 then.

    \b
    rustfsfs export /srv/volume /home /tmp/rescued --key-file /root/key
    """
    found = places.find(volume)
    if found.is_mounted:
        raise InUse(f"{found.volume} is mounted on {found.mount_point}; copy from there")
    secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
    with progress_bar() as report:
        trouble = offline.export(found.volume, secret, path, directory, progress=report)
    for line in trouble:
        exits.echo(line)
    return exits.FINDINGS if trouble else exits.DONE
