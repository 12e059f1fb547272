"""rustfsfs help: pages, parts of them, the topics; whatever it is not."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from rustfsfs.cli import exits, main
from rustfsfs.cli.main import COMMANDS
from rustfsfs.man.pages import TOPICS


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
