"""mount.rustfsfs, which mount(8) runs for lines of fstab: NAME|VOLUME POINT [-sfnv] [-o OPTIONS].

mount(8) keeps `noauto`, `x-...` and their kin to itself and hands over the rest; what is for others is dropped here.
"""

import getopt
import os
import sys
from typing import NamedTuple

from rustfsfs.cli import exits, main, places
from rustfsfs.errors import UsageError
from rustfsfs.service import mounts

USAGE, TROUBLE, INTERRUPTED, FAILED = 1, 2, 8, 32  # mount(8), exit status
DROPPED = {
    *("auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "async"),
    *("atime", "diratime", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime"),
}
DROPPED_BEGIN = ("x-", "X-", "comment=", "user=", "uhelper=", "helper=")
FILES = {"key-file": "--key-file", "passphrase-file": "--passphrase-file", "config": "--config"}


class Asked(NamedTuple):
    """What mount(8) was asked for, as arguments of `rustfsfs mount`."""

    spec: str
    point: str
    arguments: tuple[str, ...]
    is_fake: bool  # -f: everything but mounting


def run() -> None:
    """The program. Ends with an exit status of mount(8)."""
    main.prepare_streams()
    main.listen()
    sys.exit(status(sys.argv[1:]))


def status(words: list[str]) -> int:
    try:
        asked = parse(words)
        if asked.is_fake:
            places.find(asked.spec)
            return exits.DONE
        if is_there_already(asked):
            exits.say(f"{asked.spec} is mounted on {asked.point} already")
            return exits.DONE
    except Exception as exc:
        return code_of(main.report(exc))
    return code_of(main.run(["mount", asked.spec, asked.point, *asked.arguments]))


def code_of(code: int) -> int:
    """An exit code of ours as mount(8)'s."""
    return {exits.DONE: 0, exits.USAGE: USAGE, exits.BUG: TROUBLE, exits.INTERRUPTED: INTERRUPTED}.get(code, FAILED)


def is_there_already(asked: Asked) -> bool:
    """`mount -a` knows the volume by another name than the kernel does, and asks for it again."""
    point = mounts.resolve(asked.point)
    there = mounts.ours_at(point)
    if there is None or mounts.is_dead(point):
        return False
    site = places.site_of(asked.spec)
    return there.source == os.path.realpath(asked.spec if site is None else site.mount.volume)


def parse(words: list[str]) -> Asked:
    """Raises UsageError."""
    try:
        flags, rest = getopt.gnu_getopt(words, "sfnvo:N:t:")
    except getopt.GetoptError as exc:
        raise UsageError(f"mount.rustfsfs: {exc}; it takes NAME|VOLUME POINT [-sfnv] [-o OPTIONS]") from exc
    if len(rest) != 2:
        raise UsageError("mount.rustfsfs takes NAME|VOLUME POINT [-sfnv] [-o OPTIONS]")
    if any(flag == "-N" for flag, _value in flags):
        raise UsageError("mount.rustfsfs mounts in its own namespace only; use nsenter -t PID -m")
    options = [option for flag, value in flags if flag == "-o" for option in value.split(",") if option]
    if "remount" in options:  # else whoever wants it read-only is told that it is mounted, and all is well
        raise UsageError("mount.rustfsfs: nothing of a mount can be changed by remount; umount it, then mount it anew")
    spec, point = meant(rest[0]), rest[1]
    is_fake = any(flag == "-f" for flag, _value in flags)
    return Asked(spec, point, tuple(arguments_of(options)), is_fake)


def meant(spec: str) -> str:
    """mount(8) makes a path of a word that is one in its working directory: /home of the NAME home, when booting."""
    folder, word = os.path.split(spec)
    if not folder or folder != os.getcwd():
        return spec
    site = places.site_of(word)
    is_other = site is None or (places.is_volume(spec) and os.path.realpath(site.mount.volume) != spec)
    return spec if is_other else word


def arguments_of(options: list[str]) -> list[str]:
    """Of `rustfsfs mount`, which refuses what it does not know. What is for others than us is dropped."""
    arguments, ours = [], []
    for option in options:
        name, found, value = option.partition("=")
        if found and name in FILES:
            arguments += [FILES[name], value]
        elif option == "degraded":
            arguments.append("--degraded")
        elif option not in DROPPED and not option.startswith(DROPPED_BEGIN):
            ours.append(option)
    return [*arguments, "-o", ",".join(ours)] if ours else arguments


if __name__ == "__main__":
    run()
