"""rustfsfs nfs: what an NFS server is told to export a mount."""

from uuid import UUID

import click

from rustfsfs.cli import exits, places
from rustfsfs.service.client import call
from rustfsfs.service.exports import Export, Server, configuration

NAME = "NAME"  # stands in the text for the name that the volume was given in /etc/rustfsfs


@click.command("nfs")
@click.argument("place", type=places.PATH, metavar=places.MOUNTED)
@click.option(
    "--server",
    type=click.Choice([server.value for server in Server]),
    required=True,
    help="the NFS server of the kernel, or NFS-Ganesha",
)
@click.option(
    "--clients",
    metavar="HOSTS",
    multiple=True,
    default=["127.0.0.1"],
    show_default=True,
    help="who may mount it: addresses, networks, hosts, with commas",
)
def command(place: str, server: str, clients: tuple[str, ...]) -> int:
    """Print the configuration that exports a mounted volume over NFS, and what binds the server to the mount.

    \b
    rustfsfs nfs /mnt --server kernel --clients 192.168.1.0/24 > /etc/exports.d/home.exports
    """
    found = places.find_mounted(place)
    assert found.mount_point is not None
    volume = call(found.volume, "status", {})["volume"]
    export = Export(
        name=NAME if found.site is None else found.site.name,
        point=found.mount_point,
        uuid=UUID(volume["uuid"]),
        clients=[one.strip() for group in clients for one in group.split(",") if one.strip()],
    )
    exits.echo(configuration(export, Server(server)).rstrip("\n"))
    if not volume["nfs_strict"]:
        exits.say(
            f"warning: {found.mount_point} is not mounted with nfs=strict: after a power cut clients may miss names "
            'that they were told of; see "1." in what is printed'
        )
    return exits.DONE
