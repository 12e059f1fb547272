"""rustfsfs key list|add|remove."""

import os
from datetime import UTC, datetime

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.secrets import Secret, open_options, read_secret
from rustfsfs.content.slots import RECOVERY_SIZE, SlotKind, format_recovery_key
from rustfsfs.errors import UsageError
from rustfsfs.volume import keys
from rustfsfs.volume.bucketfile import NAME
from rustfsfs.world import real_world


@click.group("key")
def command() -> None:
    """List, add or remove the keys that open a volume. No data is rewritten; works mounted or not.

    \b
    rustfsfs key list /srv/volume
    """


@command.command("list")
@click.argument("volume", type=places.PATH, metavar="NAME|VOLUME")
def list_(volume: str) -> int:
    """Show the key slots.

    \b
    rustfsfs key list /srv/volume
    """
    for slot in keys.list_slots(real_world(), places.find(volume).volume):
        made = datetime.fromtimestamp(slot.created_ns / 1e9, UTC).strftime("%Y-%m-%d") if slot.created_ns else ""
        exits.echo(f"{slot.number:>3}  {'damaged' if slot.kind is None else slot.kind.value:<12} {made}".rstrip())
    return exits.DONE


@command.command("add")
@click.argument("volume", type=places.PATH, metavar="NAME|VOLUME")
@open_options
@click.option("--new-passphrase-file", type=places.FILE, help="file with the new passphrase")
@click.option("--new-key-file", type=places.FILE, help="the new key file: at least 32 random bytes, mode 0600")
@click.option("--new-recovery-key", is_flag=True, help="make a recovery key and print it")
def add(
    volume: str,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    new_passphrase_file: str | None,
    new_key_file: str | None,
    new_recovery_key: bool,
) -> int:
    """Add a key; an old one is needed. Without an option for the new one, a passphrase is asked for.

    \b
    rustfsfs key add /srv/volume --key-file OLD --new-key-file NEW
    """
    if sum((new_passphrase_file is not None, new_key_file is not None, new_recovery_key)) > 1:
        raise UsageError("name one new key at a time")
    found = places.find(volume)
    opened_with = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site, what="Passphrase now")
    new = (
        Secret(SlotKind.RECOVERY, os.urandom(RECOVERY_SIZE))
        if new_recovery_key
        else read_secret(new_passphrase_file, new_key_file, None, new=True, what="New passphrase")
    )
    number = keys.add_slot(real_world(), found.volume, opened_with=opened_with, new=new)
    exits.echo(f"Key slot {number} was added.{_of_bucket(found)}")
    if new_recovery_key:
        exits.echo(f"Recovery key, shown only now:\n\n    {format_recovery_key(new.value)}\n")
    return exits.DONE


@command.command("remove")
@click.argument("volume", type=places.PATH, metavar="NAME|VOLUME")
@click.argument("number", type=int)
@open_options
def remove(
    volume: str, number: int, passphrase_file: str | None, key_file: str | None, recovery_key_file: str | None
) -> int:
    """Remove the key in slot NUMBER. `rustfsfs key list` shows the numbers; the last key stays.

    \b
    rustfsfs key remove /srv/volume 1 --key-file KEY
    """
    found = places.find(volume)
    opened_with = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
    keys.remove_slot(real_world(), found.volume, opened_with=opened_with, number=number)
    exits.echo(f"Key slot {number} was removed.{_of_bucket(found)}")
    return exits.DONE


def _of_bucket(found: places.Place) -> str:
    """A mount brings the header to the bucket within seconds; without one nobody does."""
    if found.is_mounted or not os.path.exists(f"{found.volume}/{NAME}"):
        return ""
    return " The bucket learns of it at the next mount; until then the keys as they were open what it has."
