"""rustfsfs format."""

import os
import secrets as random

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.secrets import Secret, new_options, read_secret
from rustfsfs.config import default_config_text
from rustfsfs.content.slots import RECOVERY_SIZE, format_recovery_key
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.values import parse_size
from rustfsfs.volume.formatting import format_volume
from rustfsfs.world import real_world


@click.command("format")
@click.argument("volume", type=places.PATH)
@click.option(
    "--disk",
    "disks",
    multiple=True,
    type=places.PATH,
    metavar="DIR",
    help="an empty directory for packs, instead of VOLUME; repeat it for several disks",
)
@new_options
@click.option(
    "--chunk-size", metavar="SIZE", default="256KiB", show_default=True, help="mean size of a chunk, 64KiB to 512KiB"
)
@click.option("--compression-level", metavar="N", default=3, show_default=True, type=int, help="of zstd, 1 to 19")
@click.option(
    "--copies",
    default="1",
    type=click.Choice(["1", "2"]),
    show_default=True,
    help="on how many disks each chunk is kept",
)
def command(
    volume: str,
    disks: tuple[str, ...],
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    chunk_size: str,
    compression_level: int,
    copies: str,
) -> None:
    """Make a new volume in the directory VOLUME, which is empty or not there yet.

    The recovery key opens the volume when the passphrase or key file is lost. It is printed once, or written to the
    new file that --recovery-key-file names.

    \b
    rustfsfs format /srv/volume --key-file /root/key --recovery-key-file /root/recovery
    """
    if recovery_key_file is not None and os.path.lexists(recovery_key_file):
        raise UsageError(f"{recovery_key_file} exists; the recovery key is written to a new file")
    secret = read_secret(passphrase_file, key_file, None, new=True, what="Passphrase for the new volume")
    make(volume, disks, secret, recovery_key_file, parse_size(chunk_size), compression_level, int(copies))


def make(
    volume: str,
    disks: tuple[str, ...],
    secret: Secret,
    recovery_key_file: str | None,
    chunk_avg_bytes: int,
    compression_level: int,
    copies: int,
) -> None:
    """The recovery key is written before the volume is made: a volume without one is never there."""
    recovery_key = random.token_bytes(RECOVERY_SIZE)
    text = format_recovery_key(recovery_key)
    if recovery_key_file is not None:
        _write_new(recovery_key_file, text + "\n")
    try:
        format_volume(
            real_world(),
            volume,
            disks=list(disks),
            secret=secret,
            recovery_key=recovery_key,
            chunk_avg_bytes=chunk_avg_bytes,
            compression_level=compression_level,
            copies=copies,
            config_text=default_config_text(),
        )
    except BaseException:
        if recovery_key_file is not None:
            os.unlink(recovery_key_file)
        raise
    exits.echo(f"{os.path.abspath(volume)} is a rustfsfs volume now.")
    if recovery_key_file is not None:
        exits.echo(f"The recovery key is in {recovery_key_file}: keep it somewhere else.")
    else:
        exits.echo(f"Recovery key, shown only now; write it down and keep it somewhere else:\n\n    {text}\n")


def _write_new(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise MachineTrouble(f"{path} cannot be written ({exc.strerror})") from exc
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        real_world().files.sync(file.fileno())
