"""rustfsfs help: pages, parts of them, the topics; whatever it is not."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rustfsfs.cli import exits, main
from rustfsfs.cli.main import COMMANDS
from rustfsfs.man.pages import TOPICS
from tests.test_docs import commands


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main.run(["help", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_topics(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, said = run(capsys=capsys)
    assert (code, said) == (exits.DONE, "")
    assert [line.split()[0] for line in shown.splitlines()[2:]] == list(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_is_shown(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, said = run(topic, capsys=capsys)
    assert (code, said) == (exits.DONE, "") and "SEE ALSO" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, said = run(name, capsys=capsys)
    assert (code, said) == (exits.DONE, "") and f"rustfsfs {name}" in shown
    assert ("SEE ALSO" in shown) == (name in TOPICS), "the part about the command only, unless a page is"


def test_an_unknown_topic_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, said = run("troublshooting", capsys=capsys)
    assert (code, shown) == (exits.USAGE, "")
    assert "no topic troublshooting; did you mean troubleshooting?" in said


def test_a_terminal_gets_a_pager(tmp_path: Path) -> None:
    """What the pager gets is the page; here it writes that to a file."""
    seen = tmp_path / "seen"
    ours, theirs = pty.openpty()
    environment = os.environ | {"PAGER": f"dd status=none of={seen}", "TERM": "xterm"}
    command = [sys.executable, "-m", "rustfsfs", "help", "ecs"]
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, timeout=60, check=True)
    os.close(theirs)
    os.close(ours)
    assert seen.read_text().startswith("rustfsfs-ecs(7)")


def shown_help(name: str, command: click.Command) -> str:
    """What NAME --help prints on a terminal of 80 columns."""
    context = click.Context(command, info_name=f"rustfsfs {name}", terminal_width=80)
    return command.get_help(context)


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_newcomer_finds_in_help_what_to_type(name: str, command: click.Command) -> None:
    shown = shown_help(name, command)
    usage, _, rest = shown.partition("\n\n")
    assert re.search(rf"^  rustfsfs {name}( |$)", shown, re.MULTILINE), "an example on a line of its own"
    for word in re.findall(r"[A-Z]{3,}", usage.partition("]")[2]):
        assert word in ("COMMAND", "ARGS", "BUCKET") or re.search(rf"\b{word}(s|\.toml)?\b", rest), (
            f"{word} is not explained"
        )
    assert not re.search(r"^  -.* (TEXT|INTEGER|FLOAT|PATH|INTEGER RANGE)(  |$)", shown, re.MULTILINE), (
        "no name for a value"
    )
    assert "..." not in rest, "a sentence that is cut off"
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{option.name} is not explained"


def test_the_list_of_commands_says_what_each_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == exits.DONE
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {what} " in f"{shown} " for name, what in COMMANDS.items())


def test_words_of_usages_are_explained_with_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["status", "--help"])
    assert capsys.readouterr().out.endswith(
        "  NAME        a volume that /etc/rustfsfs/NAME.toml describes\n"
        "  VOLUME      the directory that a volume is\n"
        "  MOUNTPOINT  the directory where one is mounted\n"
    )
    main.run(["tier", "plan", "--help"])
    assert "  PATH        a file or directory in a mount; without any, the working" in capsys.readouterr().out
    main.run(["tier", "pin", "--help"])
    assert "  PATH        a file or directory in a mount\n" in capsys.readouterr().out, "of which one is needed"
