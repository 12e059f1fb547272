"""rustfsfs scrub."""

from typing import Any

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.errors import UsageError
from rustfsfs.service.client import call
from rustfsfs.units import format_size
from rustfsfs.values import parse_size


@click.command("scrub")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@open_options
@click.option("--repair", is_flag=True, help="mend what has a good copy elsewhere")
@click.option("--limit", metavar="RATE", help="read at most so much a second, like 20MiB")
def command(
    place: str,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    repair: bool,
    limit: str | None,
) -> int:
    """Read and verify everything that is stored, while the volume is in use; exit code 7 if damage is left.

    \b
    rustfsfs scrub /mnt --repair --limit 50MiB
    """
    found = places.find(place)
    rate_bytes_s = parse_size(limit) if limit is not None else 0
    if limit is not None and not rate_bytes_s:
        raise UsageError("the limit is a size above 0, like 20MiB")
    args = {"repair": repair, "rate_bytes_s": rate_bytes_s}
    with progress_bar() as report:
        if found.is_mounted:
            done = call(found.volume, "scrub", args, report)
        else:
            from rustfsfs.volume import offline

            done = offline.scrub(
                found.volume,
                read_secret(passphrase_file, key_file, recovery_key_file, site=found.site),
                args,
                site=found.site,
                progress=report,
            )
    for line in done["findings"]:
        exits.echo(line)
    left = done["found"] - done["repaired"]
    exits.echo(f"Verified {format_size(done['verified_bytes'])} of frames and all metadata: {describe(done, left)}")
    if done["cold_bytes"]:
        exits.echo(f"{format_size(done['cold_bytes'])} in the bucket were not looked at: fsck --data reads them.")
    return exits.FINDINGS if left else exits.DONE


def describe(done: dict[str, Any], left: int) -> str:
    if not done["found"]:
        return "no damage."
    later = f"; {done['not_now']} could not be mended now, since the bucket does not give it" if done["not_now"] else ""
    return f"{done['found']} found, {done['repaired']} repaired, {left} left{later}."
