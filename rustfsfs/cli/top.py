"""rustfsfs top: what a mount does, live. On a terminal one screen, elsewhere lines."""

import json
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from rustfsfs.cli import exits, places, rates
from rustfsfs.errors import NotAVolume, UsageError
from rustfsfs.service import mounts
from rustfsfs.service.client import call
from rustfsfs.volume.mountinfo import Mount

INTERVAL_S, INTERVAL_S_MIN = 2.0, 0.2
QUIT = "qQ\x03"  # as typed; the last is Ctrl-C, where the terminal makes no signal of it
Figures = dict[str, Any]


@click.command("top")
@click.argument("place", type=places.PATH, metavar=f"[{places.MOUNTED}]", required=False)
@click.option(
    "--interval",
    "interval_s",
    type=float,
    default=INTERVAL_S,
    metavar="SECONDS",
    show_default=True,
    help=f"between two looks, {INTERVAL_S_MIN:g} at least",
)
@click.option("--once", is_flag=True, help="look once, for the length of one interval, and end")
@click.option(
    "--json", "as_json", is_flag=True, help="the counters themselves, one JSON object each time, for programs"
)
def command(place: str | None, interval_s: float, once: bool, as_json: bool) -> int:
    """Watch what a mount does: operations and their latencies, bytes, caches, journal, bucket.

    Of the only mount there is, unless one is named. Needs no key. On a terminal it is one screen that is drawn anew: q
    or Ctrl-C ends it, any other key looks at once. Elsewhere it is a line each time.

    Exit code 0 when it is ended; 5 when the mount ends meanwhile, 4 when nothing is mounted.

    \b
    rustfsfs top
    rustfsfs top /mnt --interval 10
    rustfsfs top /mnt --once --json
    """
    if not interval_s >= INTERVAL_S_MIN:
        raise UsageError(f"--interval: {interval_s:g} s is too short; at least {INTERVAL_S_MIN:g}")
    volume = places.find_mounted(only_mount(mounts.mounts()) if place is None else place).volume
    try:
        if as_json:
            _print_json(volume, interval_s, once=once)
        elif sys.stdout.isatty() and not once:
            _watch(volume, interval_s)
        else:
            _print_lines(volume, interval_s, once=once)
    except KeyboardInterrupt:
        pass  # how it ends
    return exits.DONE


def only_mount(found: Sequence[Mount]) -> str:
    """The mount point, if one of these is ours. Raises NotAVolume, UsageError."""
    points = sorted({mount.point for mount in found if mount.fstype == mounts.FSTYPE})
    if not points:
        raise NotAVolume("no rustfsfs volume is mounted")
    if len(points) > 1:
        raise UsageError(f"there are several mounts; name one of {', '.join(points)}")
    return points[0]


def _ask(volume: str) -> Figures:
    found: Figures = call(volume, "top", {})
    return found


def _print_json(volume: str, interval_s: float, *, once: bool) -> None:
    while True:
        exits.echo(json.dumps(_ask(volume)))
        if once:
            return
        _wait(interval_s)


def _print_lines(volume: str, interval_s: float, *, once: bool) -> None:
    before = _ask(volume)
    while True:
        _wait(interval_s)
        now = _ask(volume)
        exits.echo("\n".join(rates.lines(before, now)) if once else rates.line(before, now))
        if once:
            return
        before = now


def _watch(volume: str, interval_s: float) -> None:
    from rich.live import Live
    from rich.text import Text

    before = _ask(volume)
    with _keys() as keys, Live(screen=True, auto_refresh=False) as live:
        pause_s = INTERVAL_S_MIN  # so that there is soon something to see
        while True:
            now = _ask(volume)
            text = "\n".join([*rates.lines(before, now), "", "q ends this"])
            live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
            if now["at_s"] - before["at_s"] >= interval_s / 2:
                before = now
            if _wait(pause_s, keys) in QUIT:
                return
            pause_s = interval_s


@contextmanager
def _keys() -> Iterator[int | None]:
    """The descriptor of a terminal that gives each key at once, and shows none; None: keys come from no terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield None
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _wait(seconds: float, keys: int | None = None) -> str:
    """So long, or until a key; which one, or a space."""
    ready, _, _ = select.select([] if keys is None else [keys], [], [], seconds)
    return (os.read(keys, 1).decode(errors="replace") or "q") if keys is not None and ready else " "
