"""rustfsfs help [TOPIC]."""

import shutil
import sys

import click

from rustfsfs.cli import exits
from rustfsfs.errors import UsageError
from rustfsfs.man import pages, text
from rustfsfs.man.markup import Page
from rustfsfs.values import nearest


@click.command("help")
@click.argument("topic", required=False, metavar="[TOPIC|COMMAND]")
def command(topic: str | None) -> int:
    """Show a page of the manual, or what it says of a COMMAND; without TOPIC, which pages there are.

    \b
    rustfsfs help ecs
    rustfsfs help mount
    """
    if topic is None:
        exits.echo(contents())
    else:
        show(text.text(find(topic), width=shutil.get_terminal_size().columns))
    return exits.DONE


def contents() -> str:
    """The topics, a line each."""
    lines = [f"  {topic:<16} {pages.page(file).summary}" for topic, file in pages.TOPICS.items()]
    return "\n".join(["Topics of `rustfsfs help TOPIC`; a command's name does as well:", "", *lines])


def find(word: str) -> Page:
    """A page, or the part of rustfsfs(1) about a command. Raises UsageError."""
    topic = pages.topic_of(word)
    if topic is not None:
        return pages.page(pages.TOPICS[topic])
    from rustfsfs.cli.main import COMMANDS  # late: it names this module

    part = text.section(pages.page(pages.TOPICS["commands"]), word) if word in COMMANDS else None
    if part is None:
        near = nearest(word, [*pages.TOPICS, *COMMANDS])
        raise UsageError(f"there is no topic {word}{near}; `rustfsfs help` names them all")
    return part


def show(shown: str) -> None:
    """On a terminal through a pager."""
    if sys.stdout is not None and sys.stdout.isatty():
        click.echo_via_pager(shown)
    else:
        exits.echo(shown.rstrip("\n"))
