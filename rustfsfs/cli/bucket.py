"""rustfsfs bucket attach|show."""

from typing import Any

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.cli.status import describe_bucket
from rustfsfs.service.client import call
from rustfsfs.store.credentials import KEY_ID, KEY_SECRET, SESSION_TOKEN
from rustfsfs.units import format_duration, format_size
from rustfsfs.volume.bucketfile import ENVIRONMENT, NAME, bucket_file_of, read_bucket_file
from rustfsfs.world import real_world


@click.group("bucket")
def command() -> None:
    """Put a bucket of OSS behind a volume, mounted or not.

    \b
    rustfsfs bucket attach /srv/volume oss://BUCKET/PREFIX --endpoint https://oss-cn-hangzhou.aliyuncs.com
    """


@command.command("attach")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
@click.argument("url", metavar="oss://BUCKET/PREFIX")
@open_options
@click.option("--endpoint", required=True, metavar="URL", help="where the bucket is, like oss-cn-hangzhou.aliyuncs.com")
@click.option("--region", metavar="REGION", help="its region, if the endpoint does not tell it")
@click.option(
    "--credentials",
    default=ENVIRONMENT,
    metavar="SOURCE",
    help="where they are: environment (the default), ecs, ecs:ROLE, or a file of mode 0600",
)
@click.option(
    "--class", "placement", type=click.Choice(["Standard", "IA"]), help="of the packs, if config.toml has none"
)
def attach(
    place: str,
    url: str,
    passphrase_file: str | None,
    key_file: str | None,
    recovery_key_file: str | None,
    endpoint: str,
    region: str | None,
    credentials: str,
    placement: str | None,
) -> int:
    """Check a bucket, and put it behind a volume. What is below PREFIX in it becomes the volume's own.

    With the bucket that a volume has already: reach it by another endpoint or other credentials.

    \b
    rustfsfs bucket attach /mnt oss://packs/home --endpoint https://oss-cn-hangzhou.aliyuncs.com --credentials ecs
    """
    found = places.find(place)
    values = {"url": url, "endpoint": endpoint, "region": region, "credentials": places.whole_path(credentials)}
    bucket_file_of(values)  # what cannot be is said before a key is asked for
    args = values | {"class": placement}
    with progress_bar() as report:
        if found.is_mounted:
            done = call(found.volume, "bucket_attach", args, report)
        else:
            from rustfsfs.volume import offline

            secret = read_secret(passphrase_file, key_file, recovery_key_file, site=found.site)
            done = offline.bucket_attach(found.volume, secret, args, site=found.site, progress=report)
    for text in done["warnings"]:
        exits.say(f"warning: {text}")
    exits.echo(describe(done, found.volume, credentials))
    return exits.DONE


def describe(done: dict[str, Any], volume: str, credentials: str) -> str:
    """What is kept where from now on, and what would still be lost."""
    within_s, after_s = done["protect_within_s"], done["demote_after_s"]
    if within_s is None:
        there = "packs that are demoted (protect.enabled is false: the others are on the disks only)"
    else:
        there = f"a copy of every pack, uploaded within {format_duration(within_s)} of being sealed"
    idle = "" if after_s is None else f" or it was not read for {format_duration(after_s)}"
    lines = [
        f"{done['name']} is the bucket of {volume} now{'' if done['is_new'] else ', reached anew'}.",
        f"There: {there}, in class {done['class']};",
        "       the volume's header with its key slots, and a copy of the metadata every"
        f" {format_duration(done['metadata_interval_s'])}. All of it is encrypted.",
        f"Here:  all of it, until a disk is {done['demote_high']:.0%} full{idle}; then the coldest are only there.",
        f"       What is read from there is kept in {volume}/cold, up to {format_size(done['cache_bytes'])}.",
        "Lost with this machine would be: what is not sealed yet"
        f" ({format_size(done['hot_bytes'])} now), packs that are not uploaded yet (about"
        f" {format_size(done['unsent_bytes'])} now),",
        "       and what changed since the last copy of the metadata. Without a key all is lost: keep one elsewhere.",
    ]
    if credentials == ENVIRONMENT:
        lines.append(f"Mount it with {KEY_ID} and {KEY_SECRET} ({SESSION_TOKEN} too, if temporary) in the environment.")
    return "\n".join(lines)


@command.command("show")
@click.argument("place", type=places.PATH, metavar=places.PLACE)
def show(place: str) -> int:
    """Show which bucket a volume has. Of a mounted one also how it is. Needs no key.

    \b
    rustfsfs bucket show /mnt
    """
    found = places.find(place)
    file = read_bucket_file(real_world().files, found.volume)
    state: dict[str, Any] = {"bucket": None, "hot_bytes": 0}
    if found.is_mounted:
        state = call(found.volume, "status", {})
    if file is None:
        exits.echo(f"{found.volume}/{NAME} is not there: the volume has no bucket, or it is to be attached again.")
    else:
        rows = [
            ("Bucket", str(file.address)),
            ("Endpoint", f"{file.address.endpoint}, region {file.address.region}"),
            ("Credentials", file.credentials),
        ]
        exits.echo("\n".join(f"{name:<12} {text}" for name, text in rows))
    for name, text in describe_bucket(state["bucket"], hot_bytes=state["hot_bytes"]):
        exits.echo(f"{name:<12} {text}")
    return exits.DONE
