"""rustfsfs tier status|plan|demote|recall|pin|unpin."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.console import progress_bar
from rustfsfs.cli.places import Place
from rustfsfs.cli.secrets import open_options, read_secret
from rustfsfs.cli.status import describe_rates
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.service import mounts
from rustfsfs.service.client import call
from rustfsfs.units import format_duration, format_size
from rustfsfs.volume.mountinfo import Mount

F = TypeVar("F", bound=Callable[..., Any])
Keys = dict[str, str | None]  # the options that open an unmounted volume
Shown = dict[str, Any]


class Named(NamedTuple):
    """What PATHs stand for."""

    place: Place
    inside: list[str]  # from the volume's root; "" is all of it


@click.group("tier")
def command() -> None:
    """Show what lies on the disks and what in the bucket only, and move it.

    PATHs lie in a mount; without any, the working directory does. Or VOLUME comes first, and PATHs are from its root.

    \b
    rustfsfs tier demote /mnt/photos --dry-run
    """


def path_arguments(command: F, metavar: str = "[PATH]...") -> F:
    """PATHs, how to open a volume, --json."""
    command = click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")(command)
    return click.argument("paths", nargs=-1, metavar=metavar)(open_options(command))


def needed_path_arguments(command: F) -> F:
    return path_arguments(command, "PATH...")


dry_run_option = click.option("--dry-run", is_flag=True, help="say what would move, and move nothing")


@command.command("status")
@path_arguments
def status(paths: tuple[str, ...], as_json: bool, **keys: str | None) -> int:
    """Show how much lies where, of the volume and of PATHs.

    \b
    rustfsfs tier status /mnt/photos
    """
    named = locate(paths)
    shown = ask(named, "tier_status", {"paths": named.inside}, keys)
    return tell(shown, as_json, describe_status)


@command.command("plan")
@path_arguments
def plan(paths: tuple[str, ...], as_json: bool, **keys: str | None) -> int:
    """Show what would move next of what PATHs need, and why.

    \b
    rustfsfs tier plan /mnt
    """
    named = locate(paths)
    shown = ask(named, "tier_plan", {"paths": named.inside}, keys)
    return tell(shown, as_json, describe_plan)


@command.command("demote")
@path_arguments
@dry_run_option
def demote(paths: tuple[str, ...], as_json: bool, dry_run: bool, **keys: str | None) -> int:
    """Move what PATHs need to the bucket now. It is sealed, uploaded, proved, dropped here; the metadata goes too.

    Exit code 7 if some of it could not be.

    \b
    rustfsfs tier demote /mnt/photos/2019
    """
    named = locate(paths)
    args = {"paths": named.inside, "dry_run": dry_run}
    shown = ask(named, "tier_demote", args, keys)
    tell(shown, as_json, lambda found: describe_demoted(found, dry_run=dry_run))
    return exits.FINDINGS if shown["failed"] or shown["unpublished"] is not None else exits.DONE


@command.command("recall")
@path_arguments
@dry_run_option
@click.option("--wait", is_flag=True, help="wait until frozen packs are restored, and bring them back too")
def recall(paths: tuple[str, ...], as_json: bool, dry_run: bool, wait: bool, **keys: str | None) -> int:
    """Bring what PATHs need back to the disks. Exit code 7 if some of it is lost, or could not come.

    \b
    rustfsfs tier recall /mnt/photos/2019 --wait
    """
    named = locate(paths)
    args = {"paths": named.inside, "dry_run": dry_run, "wait": wait}
    shown = ask(named, "tier_recall", args, keys)
    tell(shown, as_json, lambda found: describe_recalled(found, dry_run=dry_run))
    return exits.FINDINGS if shown["missing"] or shown["stays"] else exits.DONE


@command.command("pin")
@needed_path_arguments
def pin(paths: tuple[str, ...], as_json: bool, **keys: str | None) -> int:
    """Keep PATHs, and all that will be below them, on the disks.

    \b
    rustfsfs tier pin /mnt/mail
    """
    return _pin("tier_pin", paths, keys, as_json)


@command.command("unpin")
@needed_path_arguments
def unpin(paths: tuple[str, ...], as_json: bool, **keys: str | None) -> int:
    """Let PATHs move to the bucket again. Exit code 7 if a pin above one keeps it.

    \b
    rustfsfs tier unpin /mnt/mail
    """
    return _pin("tier_unpin", paths, keys, as_json)


def _pin(name: str, paths: tuple[str, ...], keys: Keys, as_json: bool) -> int:
    if not paths:
        raise UsageError("name what is to stay on the disks, or no longer has to; a dot is the working directory")
    named = locate(paths)
    shown = ask(named, name, {"paths": named.inside}, keys)
    tell(shown, as_json, describe_pinned)
    return exits.FINDINGS if shown.get("covered") else exits.DONE


def locate(paths: Sequence[str]) -> Named:
    """The volume that PATHs are of. Raises UsageError (of two), NotAVolume, MachineTrouble (the daemon is gone)."""
    first, *rest = paths or ["."]
    mount = _mount_of(first)
    if mount is None:
        return Named(places.find(first), [_inside(path) for path in rest or [""]])
    inside = []
    for path in (first, *rest):
        if _mount_of(path) != mount:
            raise UsageError(f"{path} does not lie in {mount.point}, as {first} does")
        inside.append(os.path.relpath(mounts.resolve(path), mount.point))
    return Named(places.find(mount.point), [_inside(path) for path in inside])


def _mount_of(path: str) -> Mount | None:
    """Our mount that a path lies in."""
    found = mounts.covering(mounts.resolve(path))
    if found is None or found.fstype != mounts.FSTYPE:
        return None
    if mounts.is_dead(found.point):
        raise MachineTrouble(f"{path} lies in {found.point}, whose daemon is gone; mount {found.source} again")
    return found


def _inside(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def ask(named: Named, name: str, args: dict[str, Any], keys: Keys) -> Shown:
    """The result of a call, of the mount or of the volume that is opened for it."""
    with progress_bar() as report:
        if named.place.is_mounted:
            mounted: Shown = call(named.place.volume, name, args, report)
            return mounted
        from rustfsfs.volume import offline

        secret = read_secret(
            keys["passphrase_file"], keys["key_file"], keys["recovery_key_file"], site=named.place.site
        )
        read_only = name in ("tier_status", "tier_plan")
        return offline.tier(
            named.place.volume, secret, name, args, read_only=read_only, site=named.place.site, progress=report
        )


def tell(shown: Shown, as_json: bool, describe: Callable[[Shown], str]) -> int:
    exits.echo(json.dumps(shown) if as_json else describe(shown))
    return exits.DONE


def describe_status(shown: Shown) -> str:
    only_here_bytes = max(0, shown["local_bytes"] - shown["both_bytes"])
    rows = [
        ("Hot", f"{format_size(shown['hot_bytes'])} not sealed yet"),
        ("Local", f"{format_size(only_here_bytes)} on the disks only"),
        ("Both", f"{format_size(shown['both_bytes'])} on the disks and in the bucket"),
        ("Cold", f"{format_size(shown['cold_bytes'])} in the bucket only"),
        *([("Frozen", _frozen(shown))] if shown["frozen_packs"] else []),
        ("Traffic", describe_rates(shown)),
        ("Packs", f"{shown['packs']:,}"),
        *([("Bucket", f"READ ONLY: {shown['fenced']}")] if shown.get("fenced") else []),
        ("Pinned", _pinned(shown)),
    ]
    lines = [f"{name:<8} {text}" for name, text in rows]
    for one in shown["paths"]:
        sizes = f"{format_size(one['stored_bytes'])} stored, {format_size(one['cold_bytes'])} in the bucket only"
        lines.append(f"{one['tier']:<8} /{one['path'].lstrip('/')}: {sizes}")
    return "\n".join(lines)


def _pinned(shown: Shown) -> str:
    left = shown["pinned_cold_bytes"]
    waiting = f" ({format_size(left)} of that in the bucket only, until the disks have room)" if left else ""
    return (", ".join(shown["pinned"]) or "nothing") + waiting


def describe_plan(shown: Shown) -> str:
    lines = [
        f"pack {step['pack']} of disk {step['disk']}: {step['action']} ({step['why']}), {format_size(step['bytes'])}"
        for step in shown["steps"]
    ]
    ends = [f"To be uploaded: {format_size(shown['backlog_bytes'])}"]
    if shown["retained_bytes"]:
        ends.append(f"To be deleted once no older metadata names it: {format_size(shown['retained_bytes'])}")
    return "\n".join([*(lines or ["Nothing is due."]), *ends])


def describe_demoted(shown: Shown, *, dry_run: bool) -> str:
    lines = [f"pack {one['pack']} stays: {one['why']}" for one in (*shown["kept"], *shown["failed"])]
    what = f"{_packs(shown['packs'])} ({format_size(shown['bytes'])})"
    if dry_run:
        hot = (
            f" {format_size(shown['hot_bytes'])} more is not sealed yet, and would be first."
            if shown["hot_bytes"]
            else ""
        )
        return "\n".join([*lines, f"{what} would go to the bucket.{hot}"])
    lines.append(f"{what} in the bucket only now; {format_size(shown['freed_bytes'])} freed on the disks.")
    if shown["unpublished"] is not None:
        lines.append(
            f"The newest names are on this host only until the next copy of the metadata: {shown['unpublished']}"
        )
    return "\n".join(lines)


def describe_recalled(shown: Shown, *, dry_run: bool) -> str:
    lines = [f"lost in the bucket: {path}" for path in shown["missing"]]
    lines += [f"pack {one['pack']} stays: {one['why']}" for one in shown["stays"]]
    if shown["frozen"]:
        ready = "" if shown["ready_in_s"] is None else f", within {format_duration(shown['ready_in_s'])}"
        asked = "would have to be restored first" if dry_run else "frozen, and asked to be restored"
        lines.append(f"{_packs(shown['frozen'])} {asked}{ready}; --wait waits for that")
    came = "would come" if dry_run else "came"
    all_of_them = f"{_packs(shown['packs'])} ({format_size(shown['bytes'])})"
    return "\n".join([*lines, f"{shown['came_packs']:,} of {all_of_them} {came} back to the disks."])


def describe_pinned(shown: Shown) -> str:
    covered = [f"/{one['path']} stays on the disks: {one['by']} is pinned" for one in shown.get("covered", [])]
    return "\n".join([*covered, "Pinned: " + (", ".join(shown["pinned"]) or "nothing")])


def _frozen(shown: Shown) -> str:
    return f"{_packs(shown['frozen_packs'])} of those, {format_size(shown['frozen_bytes'])}, to be restored first"


def _packs(count: int) -> str:
    return f"{count:,} {'pack' if count == 1 else 'packs'}"
