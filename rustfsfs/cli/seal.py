"""rustfsfs seal."""

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.errors import MachineTrouble
from rustfsfs.service.client import call
from rustfsfs.units import format_size


@click.command("seal")
@click.argument("mountpoint", type=places.PATH, metavar=places.MOUNTED)
def command(mountpoint: str) -> int:
    """Seal all hot data into packs: deduplicated, compressed, out of the journal.

    In the background it happens by itself. Exit code 6 if some of it cannot be sealed.

    \b
    rustfsfs seal /mnt
    """
    place = places.find_mounted(mountpoint)
    with progress_bar() as report:
        done = call(place.volume, "seal", {}, report)
    exits.echo(f"Sealed {format_size(done['sealed_bytes'])}.")
    if done["error"]:
        raise MachineTrouble(f"{format_size(done['hot_bytes'])} cannot be sealed and stays hot: {done['error']}")
    if done["hot_bytes"]:
        exits.echo(f"{format_size(done['hot_bytes'])} is hot: written since.")
    return exits.DONE
