"""rustfsfs cat."""

import sys

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.errors import InUse
from rustfsfs.volume import offline


@click.command("cat")
@click.argument("volume", type=places.PATH, metavar="NAME|VOLUME")
@click.argument("path")
@open_options
def command(
    volume: str, path: str, passphrase_file: str | None, key_file: str | None, recovery_key_file: str | None
) -> int:
    """Print the file PATH of an unmounted volume, without FUSE. PATH is from the volume's root.

    \b
    rustfsfs cat /srv/volume /etc/fstab --key-file /root/key
    """
    found = places.find(volume)
    if found.is_mounted:
        raise InUse(f"{found.volume} is mounted on {found.mount_point}; read the file there")
    secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
    offline.cat(found.volume, secret, path, write)
    return exits.DONE


def write(data: bytes) -> None:
    with exits.written():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
