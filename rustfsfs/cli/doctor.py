"""rustfsfs doctor: what is wrong with this machine and its volumes, and what to do. Changes nothing."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import click

from rustfsfs.cli import exits, places
from rustfsfs.cli.config import check_site
from rustfsfs.cli.secrets import read_secret
from rustfsfs.doctor import machine, volume
from rustfsfs.doctor.finding import Finding, Level, problem
from rustfsfs.doctor.finding import stuck as it_hangs
from rustfsfs.errors import NotAVolume, OpeningError
from rustfsfs.mount import check_mount_point
from rustfsfs.service import machinefacts, mounts, sites, volumefacts
from rustfsfs.service.patience import Patience
from rustfsfs.siteconfig import Site
from rustfsfs.volume.from_bucket import MARKER
from rustfsfs.volume.header import unlocked
from rustfsfs.world import real_world

PATIENCE_S = 5.0  # for each thing that is asked
FORMAT = 1  # of the JSON; fields are added, never renamed
MACHINE = "machine"


class Report(NamedTuple):
    where: str  # MACHINE, or a NAME or VOLUME
    findings: list[Finding]


@click.command("doctor")
@click.argument("place", type=str, metavar=f"[{places.PLACE}]", required=False)  # click.Path would stat a hung mount
@click.option("--json", "as_json", is_flag=True, help="one JSON object, for programs")
def command(place: str | None, as_json: bool) -> int:
    """Look for what is wrong with the machine and a volume, or all of them, and say what to do. Changes nothing.

    Exit code 7 when there is a problem.

    \b
    rustfsfs doctor home
    """
    reports = [_machine(), *([_one(place)] if place is not None else _all())]
    exits.echo(json.dumps(as_values(reports)) if as_json else describe(reports))
    return exits.FINDINGS if count(reports, Level.PROBLEM) else exits.DONE


def _machine() -> Report:
    return Report(MACHINE, machine.findings(machinefacts.gather(Patience(PATIENCE_S))))


def _all() -> Iterator[Report]:
    """Every NAME, and what else is mounted."""
    known: set[str] = set()
    for name in sites.names(os.environ):
        site, report = _named(name)
        known |= {os.path.normpath(site.mount.volume)} if site is not None else set()
        yield report
    for source in dict.fromkeys(mount.source for mount in mounts.mounts() if mount.fstype == mounts.FSTYPE):
        if source not in known:
            yield examine(source, None)


def _named(name: str) -> tuple[Site | None, Report]:
    """None: its file is not understood, so nobody knows where its volume is."""
    try:
        site = sites.load(name, os.environ)
    except OpeningError as exc:
        return None, Report(name, [problem("settings", str(exc), f"correct {sites.path_of(name, os.environ)}")])
    return site, examine(site.mount.volume, site)


def _one(word: str) -> Report:
    """Raises NotAVolume. What hangs is a finding."""
    if sites.is_name(word, os.environ):
        return _named(word)[1]
    patience = Patience(PATIENCE_S)
    path = patience.ask(word, partial(_volume_at, word), None)
    return Report(word, [it_hangs(word, PATIENCE_S)]) if path is None else examine(path, None)


def _volume_at(word: str) -> str:
    """What is mounted there is not touched: it may hang. Raises NotAVolume."""
    there = mounts.ours_at(mounts.resolve(word))
    path = os.path.realpath(word) if there is None else there.source
    if there is None and not places.is_volume(path) and not os.path.lexists(f"{path}/{MARKER}"):
        raise NotAVolume(f"{word} is neither a rustfsfs volume, nor the mount point or the name of one")
    return path


def examine(path: str, site: Site | None) -> Report:
    patience = Patience(PATIENCE_S)
    found = volumefacts.gather(real_world(), path, site, patience, os.environ)
    if site is not None and found.header_format is not None:
        found = _with_point(_with_key(found, site, patience), site, patience)
        found = replace(found, stuck=tuple(patience.stuck))
        found = replace(found, settings_trouble=tuple(dict.fromkeys([*found.settings_trouble, *_of_site(site)])))
    return Report(path if site is None else site.name, volume.findings(found))


def _of_site(site: Site) -> Iterator[str]:
    try:
        check_site(site)
    except OpeningError as exc:
        yield str(exc)


def _with_key(found: volume.Volume, site: Site, patience: Patience) -> volume.Volume:
    """Does the key that the settings name open it? One that cannot be read, or by others too, is a finding already."""
    refused = any(one.trouble or (one.mode & volume.OTHERS and not one.may_be_read) for one in found.secrets)
    if not (site.mount.key_file or site.mount.passphrase_file) or refused:
        return found
    secret = partial(read_secret, None, None, None, site=site)
    try:
        opens = patience.ask("key", lambda: bool(unlocked(real_world(), found.path, secret())), False)
    except OpeningError as exc:
        return replace(found, key_trouble=str(exc))
    return replace(found, key_opens=opens)


def _with_point(found: volume.Volume, site: Site, patience: Patience) -> volume.Volume:
    """Could it be mounted where its settings say?"""
    if found.is_locked or found.mount_point is not None or not site.mount.point:
        return found
    work = partial(check_mount_point, real_world(), os.path.realpath(found.path), mounts.resolve(site.mount.point))
    try:
        patience.ask(f"mount point {site.mount.point}", work, None)
    except OpeningError as exc:
        return replace(found, point_trouble=str(exc))
    return found


def count(reports: Sequence[Report], level: Level) -> int:
    return sum(finding.level is level for report in reports for finding in report.findings)


def as_values(reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "findings": [
            {
                "where": report.where,
                "level": finding.level.value,
                "about": finding.about,
                "text": finding.text,
                "todo": finding.todo,
            }
            for report in reports
            for finding in report.findings
        ],
        "problems": count(reports, Level.PROBLEM),
        "warnings": count(reports, Level.WARNING),
    }


def describe(reports: Sequence[Report]) -> str:
    lines: list[str] = []
    for report in reports:
        lines.append(f"{report.where}:")
        for level, about, text, todo in report.findings:
            mark = level.value.upper() if level is Level.PROBLEM else level.value
            lines.append(f"  {mark:<8} {about}: {text}")
            if todo:
                lines.append(f"           -> {todo}")
    problems, warnings = count(reports, Level.PROBLEM), count(reports, Level.WARNING)
    lines.append(f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}.")
    return "\n".join(lines)


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
