"""rustfsfs collect."""

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.service.client import call
from rustfsfs.units import format_size


@click.command("collect")
@click.argument("mountpoint", type=places.PATH, metavar=places.MOUNTED)
@click.option(
    "--live-share",
    metavar="SHARE",
    default=0.9,
    show_default=True,
    help="rewrite packs of which less than this share is needed: above 0, up to 1",
)
def command(mountpoint: str, live_share: float) -> int:
    """Free what nothing needs now, instead of in the background. Older metadata snapshots give way to a new one.

    \b
    rustfsfs collect /mnt
    """
    place = places.find_mounted(mountpoint)
    with progress_bar() as report:
        done = call(place.volume, "collect", {"live_share": live_share}, report)
    exits.echo(f"Freed {format_size(done['freed_bytes'])}; {format_size(done['dead_bytes'])} of the packs is dead.")
    return exits.DONE
