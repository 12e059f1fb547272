"""rustfsfs disk list|add|remove."""

import os

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.service.client import call
from rustfsfs.units import format_size
from rustfsfs.volume.directories import check_file_system, check_name


@click.group("disk")
def command() -> None:
    """List, add or remove the disks of a volume, mounted or not.

    \b
    rustfsfs disk add /mnt /srv/disk2
    """


@command.command("list")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@open_options
def list_(place: str, passphrase_file: str | None, key_file: str | None, recovery_key_file: str | None) -> int:
    """Show the disks that packs lie on.

    \b
    rustfsfs disk list /mnt
    """
    found = places.find(place)
    if found.is_mounted:
        rows = call(found.volume, "disk_list", {})["disks"]
    else:
        from rustfsfs.volume import offline

        rows = offline.disk_list(
            found.volume, read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
        )
    for row in rows:
        free = "" if row["free_bytes"] is None else f", {format_size(row['free_bytes'])} free"
        exits.echo(
            f"{row['number']:>3}  {row['state']:<9} {row['path']}  {format_size(row['stored_bytes'])} stored{free}"
        )
    return exits.DONE


@command.command("add")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@click.argument("disk", type=places.PATH)
@open_options
def add(place: str, disk: str, passphrase_file: str | None, key_file: str | None, recovery_key_file: str | None) -> int:
    """Add DISK, an empty directory on another disk. Or say where a disk that moved lies now.

    \b
    rustfsfs disk add /mnt /srv/disk2
    """
    found, path = places.find(place), os.path.abspath(disk)
    check_name(path)
    check_file_system(path)  # before a daemon is asked: in its own mount it would wait for itself for ever
    if found.is_mounted:
        path = os.path.realpath(path)
        number = call(found.volume, "disk_add", {"path": path})["number"]
    else:
        from rustfsfs.volume import offline

        secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
        number = offline.disk_add(found.volume, secret, path, site=found.site)
    exits.echo(f"{path} is disk {number} of the volume now.")
    return exits.DONE


@command.command("remove")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@click.argument("disk", type=places.PATH)
@open_options
def remove(
    place: str, disk: str, passphrase_file: str | None, key_file: str | None, recovery_key_file: str | None
) -> int:
    """Move everything off DISK, then forget it; resumes if cut off.

    \b
    rustfsfs disk remove /mnt /srv/disk2
    """
    found, path = places.find(place), os.path.abspath(disk)
    with progress_bar() as report:
        if found.is_mounted:
            call(found.volume, "disk_remove", {"path": path}, report)
        else:
            from rustfsfs.volume import offline

            secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
            offline.disk_remove(found.volume, secret, path, site=found.site, progress=report)
    exits.echo(f"{path} is no disk of the volume any more; {what_can_go(path, found.volume)} can be deleted.")
    return exits.DONE


def what_can_go(disk: str, volume: str) -> str:
    """VOLUME itself stops being a disk, but stays the volume."""
    if os.path.realpath(disk) == os.path.realpath(volume):
        return f"{disk}/packs and {disk}/snapshots"
    return "what is left in it"
