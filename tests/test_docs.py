"""README and man pages together name all that users can meet, nothing else, and no command that would be refused."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rustfsfs.cli import helper
from rustfsfs.cli.exits import MEANINGS
from rustfsfs.cli.main import COMMANDS, rustfsfs
from rustfsfs.config import Key
from rustfsfs.man import pages
from rustfsfs.man.text import section, text
from rustfsfs.mount import KNOWN_OPTIONS
from rustfsfs.service.metrics import PROCESS, table
from rustfsfs.service.reloading import ALWAYS
from rustfsfs.siteconfig import SITE_KEYS, parse_site
from rustfsfs.store.credentials import FILE_KEYS
from rustfsfs.volume import bucketfile

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {file: pages.source(file) for file in pages.TOPICS.values()}
TEXTS = {"README.md": README, **PAGES}
EVERYTHING = "\n".join(TEXTS.values())
FIELDS = re.findall(r"^\| `.+", PAGES["rustfsfs-control.7"], re.MULTILINE)  # of answers: dots lead into objects there
COMMANDS_PAGE, SETTINGS, FSTAB = PAGES["rustfsfs.1"], PAGES["rustfsfs.toml.5"], PAGES["mount.rustfsfs.8"]
KEYS = {"--key-file", "--passphrase-file", "--recovery-key-file"}  # explained once, for all commands


def commands() -> list[tuple[str, click.Command]]:
    """Every command and subcommand, by its whole name."""
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = rustfsfs.get_command(click.Context(rustfsfs), name)
        assert command is not None, name
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
    return found


NAMED = dict(commands())


def options(command: click.Command) -> set[str]:
    """With two hyphens, or their only form."""
    found = set()
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            long = [option for option in parameter.opts if option.startswith("--")]
            found |= set(long or parameter.opts)
    return found


def part_about(name: str) -> str:
    """What rustfsfs(1) says of a command."""
    part = section(pages.page("rustfsfs.1"), name)
    assert part is not None, f"rustfsfs(1) has no part about {name}"
    return text(part, width=100)


def by_name(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "name", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_part_of_the_page(name: str) -> None:
    assert f"rustfsfs {name}" in part_about(name)


@pytest.mark.parametrize(("name", "command"), NAMED.items(), ids=by_name)
def test_every_option_is_in_the_part_about_its_command_and_every_command_shows_an_example(
    name: str, command: click.Command
) -> None:
    shown = part_about(name.split()[0])
    for option in options(command) - KEYS:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown), option
    for option in KEYS:
        assert f"`{option} F`" in COMMANDS_PAGE
    assert f"rustfsfs {name.split()[0]}" in (command.help or ""), "an example in --help"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_part_about_a_command_names_no_option_of_others(name: str) -> None:
    known = {option for other, command in NAMED.items() if other.split()[0] == name for option in options(command)}
    named = set(re.findall(r"^    (--[a-z-]+|-o)\b", part_about(name), re.MULTILINE))
    assert named <= known


@pytest.mark.parametrize("key", SITE_KEYS, ids=by_name)
def test_every_setting_is_documented_with_its_default(key: Key) -> None:
    assert f"| `{key.name}` | `{key.default}` |" in SETTINGS


def test_no_other_setting_is_documented() -> None:
    known = {key.name for key in SITE_KEYS}
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", SETTINGS, re.MULTILINE)) == known
    tables = "|".join({key.table for key in SITE_KEYS})
    files = ("bucket.toml", "mount.rustfsfs")
    text = "\n".join(line for line in EVERYTHING.splitlines() if line not in FIELDS)
    named = set(re.findall(rf"`((?:{tables})\.[a-z_]+)\b", text)) - set(files)
    assert named <= known


@pytest.mark.parametrize("key", [key for key in SITE_KEYS if key.fixed], ids=by_name)
def test_every_setting_that_waits_for_a_mount_is_named_as_such(key: Key) -> None:
    if key.table in ALWAYS:
        assert "What is in `[mount]` and `[metrics]` waits for the next mount" in SETTINGS
    else:
        assert f"but `{key.name}`, which waits for the next mount" in SETTINGS


@pytest.mark.parametrize("key", [*bucketfile.KEYS, *sorted(FILE_KEYS)])
def test_every_key_of_bucket_and_credentials_files_is_documented(key: str) -> None:
    assert f"| `{key}` |" in SETTINGS


@pytest.mark.parametrize("option", [*helper.FILES, *sorted(helper.DROPPED), *helper.DROPPED_BEGIN])
def test_every_option_of_fstab_is_documented(option: str) -> None:
    assert re.search(rf"`{option}(=F|\.\.\.)?`", FSTAB)


@pytest.mark.parametrize(
    "code", [helper.USAGE, helper.TROUBLE, helper.INTERRUPTED, helper.FAILED], ids=lambda code: str(code)
)
def test_every_exit_code_of_the_helper_is_documented(code: int) -> None:
    for page in (FSTAB, PAGES["rustfsfs-exit-codes.7"]):
        assert re.search(rf"[ :]{code} [a-z]", page)


def test_exactly_the_exit_codes_that_there_are_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", PAGES["rustfsfs-exit-codes.7"], re.MULTILINE)
    assert rows == [(str(code), meaning) for code, meaning in MEANINGS.items()]


@pytest.mark.parametrize("option", KNOWN_OPTIONS)
def test_every_mount_option_is_documented(option: str) -> None:
    part = COMMANDS_PAGE.partition("## Mount options")[2].partition("## ")[0]
    assert f"`{option}`" in part


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_every_metric_is_documented_with_its_help(row: tuple[str, str, str]) -> None:
    name, kind, help_text = row
    assert f"| `{name}` | {kind} | {help_text} |" in PAGES["rustfsfs-metrics.7"]


def test_no_other_metric_is_documented() -> None:
    named = {name.partition("{")[0] for name, _kind, _text in table()} | set(PROCESS)
    found = set(re.findall(r"(?<!user.)\b((?:rustfsfs|process)_[a-z_]+)", EVERYTHING))
    assert found == named


def constants_of(tree: ast.Module) -> dict[str, str]:
    """The texts that a module gives names to."""
    found = {}
    for node in ast.walk(tree):
        for target in node.targets if isinstance(node, ast.Assign) else []:
            assert isinstance(node, ast.Assign)
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[name.id] = value.value
    return found


def looked_up(node: ast.AST) -> ast.expr | None:
    """What an environment is asked for, if one is here."""
    if isinstance(node, ast.Subscript):
        where, asked = node.value, node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
        where, asked = node.func.value, next(iter(node.args), ast.Constant(None))
    else:
        return None
    return asked if re.search(r"(^|[._])env(iron(ment)?)?$", ast.unparse(where)) else None


def read_from_the_environment() -> Iterator[str]:
    """The variables that the program looks up; of the benchmark they are those of the programs it measures."""
    for path in (ROOT / "rustfsfs").rglob("*.py"):
        if path.is_relative_to(ROOT / "rustfsfs" / "bench"):
            continue
        tree = ast.parse(path.read_text())
        constants = constants_of(tree)
        for asked in filter(None, map(looked_up, ast.walk(tree))):
            if isinstance(asked, ast.Name):
                yield constants[asked.id]
            elif isinstance(asked, ast.Constant) and isinstance(asked.value, str):
                yield asked.value


def test_every_variable_of_the_environment_is_documented() -> None:
    part = COMMANDS_PAGE.partition("## Environment")[2].partition("## ")[0]
    found = set(read_from_the_environment())
    assert {"RUSTFSFS_CONFIG_DIR", "OSS_ACCESS_KEY_ID", "NOTIFY_SOCKET"} <= found, "the search finds some"
    assert {name for name in found if f"`{name}`" not in part} == set()


def test_every_topic_is_in_the_readme_with_its_page() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| \[[a-z.-]+\(\d\)\]\(rustfsfs/man/(.+)\.md\) \| (.+) \|$", README, re.MULTILINE
    )
    assert rows == [(topic, file, pages.page(file).summary) for topic, file in pages.TOPICS.items()]


def test_every_link_in_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), target


def typed(source: str) -> Iterator[str]:
    """The command lines in code blocks: what a shell would split them into, without what is for the shell."""
    for block in re.findall(r"(?ms)^```(?:sh)?\n(.*?)^```$", source):
        for line in block.replace("\\\n", " ").splitlines():
            for one in re.split(r"&&|\|\||[;|](?= )| > |#", line):
                if re.match(r"\s*rustfsfs [a-z]", one):
                    yield one.strip()


EXAMPLES = [pytest.param(line, id=line) for source in TEXTS.values() for line in dict.fromkeys(typed(source))]
HELP_EXAMPLES = [
    pytest.param(line, id=line)
    for command in NAMED.values()
    for line in dict.fromkeys(re.findall(r"^ *(rustfsfs [a-z].*)$", command.help or "", re.MULTILINE))
]


@pytest.mark.parametrize("line", [*EXAMPLES, *HELP_EXAMPLES])
def test_every_example_is_a_command_that_would_be_taken(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])[1:]
    command: click.Command = rustfsfs
    name = "rustfsfs"
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    context = command.make_context(name, words)  # raises UsageError
    if command.name == "mount":
        for group in context.params["options"]:
            assert set(group.split(",")) <= set(KNOWN_OPTIONS)


SITES = [block for source in TEXTS.values() for block in re.findall(r"(?ms)^```(?:toml)?\n(\[.*?)^```$", source)]


@pytest.mark.parametrize("text", SITES)
def test_every_example_of_settings_is_right(text: str) -> None:
    assert parse_site(text, name="data", where="data.toml").mount.point


@pytest.mark.parametrize("file", TEXTS)
def test_commands_and_options_that_are_named_in_the_text_exist(file: str) -> None:
    for span in re.findall(r"(?<!`)`(rustfsfs [^`]+)`", TEXTS[file]):
        words = span.replace("\\|", "|").split()[1:]
        if not re.fullmatch(r"[a-z]+", words[0]):
            continue
        assert words[0] in COMMANDS, span
        subs = [word for word in words[1:2] if isinstance(NAMED[words[0]], click.Group)]
        names = [words[0]] if not subs else [f"{words[0]} {sub}" for sub in re.findall(r"[a-z]+", subs[0])]
        known = {option for name in names for option in options(NAMED[name])} | {"--help"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, span


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z0-9-]+)", EVERYTHING):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_summary_of_a_page_is_short() -> None:
    for file in PAGES:
        assert len(pages.page(file).summary) <= 100


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
