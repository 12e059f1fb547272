"""The command `rustfsfs`: its commands by name, loaded when they are used, and the end of every error."""

import importlib
import io
import logging
import os
import sys
from typing import Any

import click

from rustfsfs import __version__
from rustfsfs.cli import exits, words
from rustfsfs.errors import RustfsfsError, UsageError
from rustfsfs.volume.notices import notice

COMMANDS = {
    "format": "make a new volume",
    "mount": "mount a volume",
    "umount": "unmount, and wait until everything is committed",
    "config": "check, show or reload the settings of a volume that has a name",
    "status": "show what a volume holds and how it is",
    "doctor": "look for what is wrong with the machine and its volumes, and say what to do",
    "top": "watch what a mount does: rates, latencies, caches, backlog",
    "seal": "seal all hot data into packs now",
    "collect": "free what nothing needs, now",
    "fsck": "check a volume, changing nothing",
    "scrub": "verify everything that is stored, and mend it",
    "key": "list, add or remove keys",
    "disk": "list, add or remove disks",
    "bucket": "put a bucket behind a volume, or show it",
    "tier": "show and change what lies on disks, and what in the bucket",
    "nfs": "print what an NFS server needs to export a mount",
    "cat": "print a file of an unmounted volume",
    "export": "copy a tree out of an unmounted volume",
    "bench": "measure how fast a directory is",
    "help": "show a page of the manual",
}


class _Commands(click.Group):
    """Imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module: Any = importlib.import_module(f"rustfsfs.cli.{name}")
        command: click.Command = module.command
        command.short_help = COMMANDS[name]
        return words.explained(command)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rustfsfs")
def rustfsfs() -> None:
    """A POSIX file system that deduplicates, compresses and encrypts, on local disks and in a bucket behind them.

    \b
    rustfsfs format /srv/volume --key-file /root/key
    rustfsfs mount /srv/volume /mnt --key-file /root/key
    rustfsfs status /mnt

    `rustfsfs COMMAND --help` shows the options of a command, `rustfsfs help` the manual, `rustfsfs help exit-codes` how
    commands end.
    """


def main() -> None:
    """Run, and end with a documented exit code and at most one sentence on stderr."""
    prepare_streams()
    listen()
    sys.exit(run(sys.argv[1:]))


def prepare_streams() -> None:
    """The three standard descriptors are there, and any file name can be printed."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file opened would become one of them
        pass
    os.close(fd)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            as_is = stream.encoding == "utf-8" and not stream.isatty()
            stream.reconfigure(errors="surrogateescape" if as_is else "backslashreplace")


def listen() -> None:
    """Of what the library logs, only notices reach the terminal: the rest is for the log of a mount."""
    logging.getLogger("rustfsfs").addHandler(logging.NullHandler())
    spoken = logging.StreamHandler(sys.stderr)
    spoken.setFormatter(logging.Formatter("rustfsfs: %(message)s"))
    notice.addHandler(spoken)


def run(arguments: list[str]) -> int:
    try:
        result = rustfsfs.main(args=arguments, prog_name="rustfsfs", standalone_mode=False)
        return result if isinstance(result, int) else exits.DONE
    except click.exceptions.Abort:
        exits.say("interrupted")
        return exits.INTERRUPTED
    except click.ClickException as exc:
        exc.show()
        return exits.USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return exits.DONE
    except FileNotFoundError as exc:
        return report(explained(exc))
    except (Exception, KeyboardInterrupt) as exc:
        return report(exc)


def explained(exc: FileNotFoundError) -> Exception:
    """Without its working directory a process can make nothing of a relative path."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return UsageError("the current directory is gone; change to another one")
    return exc


def report(exc: BaseException, folder: str | None = None) -> int:
    """One sentence, never a traceback; ours goes to a log."""
    code = exits.code_of(exc)
    text = exits.sentence_of(exc)
    if code == exits.BUG and not isinstance(exc, RustfsfsError):  # one of ours has its daemon's log in it already
        path = exits.log_bug(exc, folder)
        text += f"; the traceback is in {path}" if path else ""
    exits.say(text)
    return code
