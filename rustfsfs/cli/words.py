"""What the words in usages stand for: the end of a command's --help."""

import re
from collections.abc import Iterator

import click

MEANINGS = {
    "NAME": "a volume that /etc/rustfsfs/NAME.toml describes",
    "VOLUME": "the directory that a volume is",
    "MOUNTPOINT": "the directory where one is mounted",
}
TREES = "a file or directory in a mount"
OR_HERE = "; without any, the working directory"
OR_VOLUME = "Or VOLUME comes first, and PATHs are from its root."
WIDTH = 12


def explained(command: click.Command) -> click.Command:
    """The same, and its subcommands: their help ends with the words that are not explained in it."""
    lines = list(_lines(command))
    command.epilog = "\n".join(["\b", *lines]) if lines else None
    for sub in command.commands.values() if isinstance(command, click.Group) else ():
        explained(sub)
    return command


def _lines(command: click.Command) -> Iterator[str]:
    for argument in command.params:
        if not isinstance(argument, click.Argument):
            continue
        words = re.findall("[A-Z]+", (argument.metavar or argument.name or "").upper())
        if argument.nargs == -1:
            here = OR_HERE if argument.metavar is not None and argument.metavar.startswith("[") else ""
            yield f"{words[0]:<{WIDTH}}{TREES}{here}"
            yield f"{'':<{WIDTH}}{OR_VOLUME}"
        elif words[0] == "NAME":
            yield from (f"{word:<{WIDTH}}{MEANINGS[word]}" for word in words)
