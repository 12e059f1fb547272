"""rustfsfs config check|show|reload."""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from rustfsfs.cli import exits, places
from rustfsfs.config import Setting
from rustfsfs.errors import OpeningError, UsageError
from rustfsfs.listening import UnixSocket, parse_listen
from rustfsfs.mount import KNOWN_OPTIONS
from rustfsfs.service import mounts, reloading, sites
from rustfsfs.service.client import call
from rustfsfs.service.reloading import Sources
from rustfsfs.siteconfig import Site
from rustfsfs.values import nearest
from rustfsfs.volume.formatting import CONFIG


@click.group("config")
def command() -> None:
    """Check, show or reload what /etc/rustfsfs/NAME.toml and VOLUME/config.toml say.

    \b
    rustfsfs config check home
    """


@command.command("check")
@click.argument("name", required=False)
@click.option("--file", "path", type=places.FILE, help="check this file, wherever it lies, instead")
def check(name: str | None, path: str | None) -> int:
    """Check the settings of NAME, or of all names, without mounting. A line for each file.

    Exit code 2 if there is a mistake.

    \b
    rustfsfs config check home
    """
    if name is not None and path is not None:
        raise UsageError("name a NAME or --file F, not both")
    if path is not None:
        return check_all([os.path.abspath(path)])
    if name is not None:
        return check_all([sites.load(name, os.environ).path])
    names = sites.names(os.environ)
    if not names:
        exits.echo(f"There is no NAME.toml in {sites.folder(os.environ)}.")
    return check_all([sites.path_of(one, os.environ) for one in names])


def check_all(paths: Sequence[str]) -> int:
    """A line each; the code of the last that is wrong."""
    code = exits.DONE
    for path in paths:
        try:
            check_site(sites.load_file(path))
        except OpeningError as exc:
            exits.say(str(exc))
            code = exc.exit_code
        else:
            exits.echo(f"{path}: well")
    return code


def check_site(site: Site) -> None:
    """Raises UsageError for what is wrong in its file or VOLUME/config.toml, MachineTrouble."""
    for option in site.mount.options:
        if option not in KNOWN_OPTIONS:
            raise UsageError(f"{site.path}: unknown mount option {option}{nearest(option, KNOWN_OPTIONS)}")
    for sentence in _contradictions(site):
        raise UsageError(f"{site.path}: {sentence}")
    reloading.read(sources_of(site))


def _contradictions(site: Site) -> Iterator[str]:
    """What a mount would refuse, as far as the paths themselves say it: nothing is asked, as it may hang."""
    if not site.mount.point:
        return
    volume, point = os.path.normpath(site.mount.volume), os.path.normpath(site.mount.point)
    listen = parse_listen(site.metrics.listen)
    if mounts.is_inside(point, volume) or mounts.is_inside(volume, point):
        yield f"mount.point {point} lies inside or around mount.volume {volume}; name another directory"
    if isinstance(listen, UnixSocket) and mounts.is_inside(os.path.normpath(listen.path), point):
        yield f"metrics.listen {listen} lies inside mount.point {point}; name another path"


def sources_of(site: Site) -> Sources:
    return Sources(own=f"{site.mount.volume}/{CONFIG}", must_exist=False, site=site)


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def show(name: str, as_json: bool) -> int:
    """Show every setting of NAME: the value in effect, and its origin.

    \b
    rustfsfs config show home
    """
    site = sites.load(name, os.environ)
    found = reloading.read(sources_of(site))
    exits.echo(json.dumps({one.key.name: as_values(one) for one in found}) if as_json else describe(found, site))
    return exits.DONE


def as_values(one: Setting) -> dict[str, Any]:
    """Also what the other file says of it, if that does not count."""
    found: dict[str, Any] = {"value": one.text, "origin": one.origin}
    return found if one.hidden is None else found | {"hidden": as_values(one.hidden)}


def describe(found: Sequence[Setting], site: Site) -> str:
    """TOML that says the same, each line with its origin, and what does not count in a line of its own."""
    lines: list[str] = []
    table = ""
    for one in found:
        if one.key.table != table:
            table = one.key.table
            lines += [""] * bool(lines) + [f"[{table}]"]
        name = one.key.name.partition(".")[2]
        lines.append(f"{name} = {one.text}".ljust(40) + f"  # {one.origin}")
        if one.hidden is not None:
            says = f"{name} is {one.hidden.text} in {one.hidden.origin}"
            lines.append(f"# {says}, which does not count: the table [{table}] of {site.path} replaces that one")
    return "\n".join(lines)


@command.command("reload")
@click.argument("place", type=places.PATH, metavar=places.MOUNTED)
def reload(place: str) -> int:
    """Have a mount read its settings anew. Says what changed, and what waits for the next mount.

    Exit code 2, and nothing has changed, if there is a mistake.

    \b
    rustfsfs config reload home
    """
    exits.echo(describe_reloaded(call(places.find_mounted(place).volume, "reload", {})))
    return exits.DONE


def describe_reloaded(done: dict[str, Any]) -> str:
    lines = [f"{one['key']} is {one['value']} now" for one in done["changed"]]
    lines += [f"{one['key']} = {one['value']} waits for the next mount: {one['why']}" for one in done["waiting"]]
    return "\n".join(lines) or "Nothing has changed."
