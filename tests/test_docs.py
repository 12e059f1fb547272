"""The README names everything a user can meet, and nothing that is not there."""

import re
from pathlib import Path

import click
import pytest

from rustfsfs.cli.exits import MEANINGS
from rustfsfs.cli.helper import FILES
from rustfsfs.cli.main import COMMANDS, rustfsfs
from rustfsfs.config import Key
from rustfsfs.mount import KNOWN_OPTIONS
from rustfsfs.service.metrics import PROCESS, table
from rustfsfs.service.reloading import ALWAYS
from rustfsfs.siteconfig import SITE_KEYS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[tuple[str, click.Command]]:
    """Every command and subcommand, by its whole name."""
    context = click.Context(rustfsfs)
    found: list[tuple[str, click.Command]] = []
    for name in rustfsfs.list_commands(context):
        command = rustfsfs.get_command(context, name)
        assert command is not None, name
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`rustfsfs {name} " in README


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_is_in_the_readme_and_every_command_shows_an_example(name: str, command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert any(option in README for option in parameter.opts), (name, parameter.opts)
    assert f"rustfsfs {name.split()[0]} " in (command.help or ""), name


@pytest.mark.parametrize("key", SITE_KEYS, ids=lambda key: key.name)
def test_every_setting_is_in_the_readme_with_its_default(key: object) -> None:
    name, default = getattr(key, "name", ""), getattr(key, "default", "")
    assert f"| `{name}` | `{default}` |" in README


@pytest.mark.parametrize("key", [key for key in SITE_KEYS if key.fixed], ids=lambda key: key.name)
def test_every_setting_that_waits_for_a_mount_is_named_as_such(key: Key) -> None:
    if key.table in ALWAYS:
        assert "What is in `[mount]` and `[metrics]` waits for the next mount" in README
    else:
        assert f"but `{key.name}`, which waits for the next mount" in README


@pytest.mark.parametrize("option", FILES)
def test_every_option_of_fstab_is_in_the_readme(option: str) -> None:
    assert f"`{option}=F`" in README


@pytest.mark.parametrize("code", MEANINGS)
def test_every_exit_code_is_in_the_readme(code: int) -> None:
    assert f"| {code} | {MEANINGS[code]} |" in README


@pytest.mark.parametrize("option", [option for option in KNOWN_OPTIONS if option not in ("rw", "defaults")])
def test_every_mount_option_is_in_the_readme(option: str) -> None:
    assert f"`{option}`" in README


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_every_metric_is_in_the_readme_with_its_help(row: tuple[str, str, str]) -> None:
    name, kind, text = row
    assert f"| `{name}` | {kind} | {text} |" in README


def test_no_other_metric_is_in_the_readme() -> None:
    named = {name.partition("{")[0] for name, _kind, _text in table()} | set(PROCESS)
    assert set(re.findall(r"`((?:rustfsfs|process)_[a-z_]+)", README)) == named


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_top_level_holds_nothing_else() -> None:
    allowed = {
        "pyproject.toml",
        "rustfsfs",
        "tests",
        "systemd",
        "README.md",
        "LICENSE",
        "Makefile",
        ".ci",
        ".gitignore",
    }
    ignored = {".git", ".venv", "demo", *(line.strip("/\n") for line in (ROOT / ".gitignore").read_text().splitlines())}
    left = {path.name for path in ROOT.iterdir()} - allowed - ignored
    assert {name for name in left if not name.endswith(".egg-info")} == set()
