"""rustfsfs-control(7) says what the control socket takes and gives: held against a volume's real answers."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from rustfsfs.errors import UsageError
from rustfsfs.histogram import BOUNDS_S
from rustfsfs.man import pages
from rustfsfs.mount import MountOptions, calls
from rustfsfs.service import reloading
from rustfsfs.service.control import ENDS_WITH_CLIENT, Call, run_control
from rustfsfs.service.protocol import ARGUMENTS, KINDS, LINE_SIZE_MAX, VERSION, check_arguments
from rustfsfs.tiers.bucket_rules import Finding, Severity
from rustfsfs.volume import names
from rustfsfs.volume.collecting import no_progress
from rustfsfs.volume.leftalone import Why
from rustfsfs.volume.volume import Volume
from tests.oss_server import serving
from tests.volume.on_bucket import NOISE, opened_with
from tests.volume.on_disk import DIRECTORY, format_in, write_file

PAGE = pages.source("rustfsfs-control.7")
KIND_OF_ARGUMENT = {bool: "yes/no", int: "whole number", float: "number", str: "text", list: "list of texts"}
OTHERS = {"bytes/s": "count", "bytes": "count", "ns": "count", "ms": "seconds", "ratio": "seconds"}
UNSEEN = {  # not in these answers: `failed` and `stays` want a bucket that fails, the rest is said of both below
    *(("tier_demote", field) for field in ("failed[].pack", "failed[].why")),
    *(("tier_recall", field) for field in ("stays[].pack", "stays[].why")),
    ("status", "bucket.backlog"),
}


class Row(NamedTuple):
    name: str
    kind: str
    is_argument: bool


def documented() -> dict[str, list[Row]]:
    """The rows of the page, by call."""
    found = {}
    for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `(.+?)` \| (argument: )?(.+?) \| .+ \|$", part.partition("\n## ")[0], re.MULTILINE)
        found[part.partition("\n")[0]] = [Row(name, kind, bool(argument)) for name, argument, kind in rows]
    return found


ROWS = documented()


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """What an answer holds, each with its place."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, value


def is_a(value: object, kind: str) -> bool:
    """Has a value the type that the page says?"""
    kind, _, null = kind.partition(" or ")
    if value is None:
        return null == "null"
    match OTHERS.get(kind, kind):
        case "count":
            return type(value) is int
        case "seconds":
            return type(value) in (int, float)
        case "text":
            return type(value) is str
        case "yes/no":
            return type(value) is bool
        case "list of texts":
            return isinstance(value, list) and all(type(one) is str for one in value)
        case "histogram":
            return isinstance(value, list) and [type(one) for one in value] == [int] * (len(BOUNDS_S) + 1)
    return False


def stands_for(row: str, place: str) -> bool:
    """A word in capitals is any name."""
    return re.fullmatch(re.sub(r"[A-Z]+", r"[^.\\[\\]]+", re.escape(row)), place) is not None


class Asked:
    """A volume's calls, and all they answered."""

    def __init__(self, calls_of_mount: dict[str, Call]) -> None:
        self.calls = calls_of_mount
        self.answers: list[tuple[str, Any]] = []

    async def __call__(self, name: str, **args: Any) -> Any:
        answer = await self.calls[name](args, no_progress)
        self.answers.append((name, answer))
        return answer


def options_of(path: Path) -> MountOptions:
    return MountOptions(
        volume=str(path),
        mount_point="/mnt",
        foreground=False,
        read_only=False,
        config_path=None,
        options=frozenset(),
        degraded=False,
        skip_seq=None,
    )


@asynccontextmanager
async def asking(tmp_path: Path) -> AsyncIterator[tuple[Volume, Asked]]:
    """A new volume on two disks, without a bucket yet."""
    path = format_in(tmp_path / "v", tmp_path / "d1", tmp_path / "d2")
    options = options_of(path)
    async with opened_with(path, None) as volume:
        reload = partial(reloading.reload, volume, options.sources)
        yield volume, Asked(calls(volume, options, reload))


async def answers(tmp_path: Path) -> list[tuple[str, Any]]:
    """Of every call, over what can happen to a volume: without a bucket and with one, well and in trouble."""
    credentials = tmp_path / "credentials"
    async with asking(tmp_path) as (volume, ask):
        with serving(tmp_path / "oss") as oss:
            credentials.write_text(f'access_key_id = "{oss.key_id}"\naccess_key_secret = "{oss.secret}"\n')
            credentials.chmod(0o600)
            way = {"endpoint": oss.endpoint, "region": oss.region, "credentials": str(credentials), "class": None}
            await ask("status")
            await ask("top")
            folder = names.create(volume, 1, b"d", mode=DIRECTORY, uid=0, gid=0).inode
            await write_file(volume, b"f", NOISE.randbytes(300_000), parent=folder)
            await ask("bucket_attach", url="oss://packs/vol", **way)
            await ask("seal")
            await ask("tier_plan")
            await ask("tier_pin", paths=["d"])
            await ask("tier_demote", paths=["d"], dry_run=True)
            await ask("tier_unpin", paths=["d/f"])
            await ask("tier_unpin", paths=["d"])
            await ask("tier_demote", paths=["d"], dry_run=False)
            await ask("tier_status", paths=["d"])
            await ask("tier_recall", paths=["d"], wait=True)
            (tmp_path / "v" / "config.toml").write_text('[journal]\nlimit = "2GiB"\n[seal]\nquiet = "9s"\n')
            await ask("reload")
            await ask("fsck", data=True)
            await ask("scrub", repair=True, rate_bytes_s=1 << 30)
            await ask("collect", live_share=0.5)
            await ask("disk_remove", path=str(tmp_path / "d2"))
            await ask("disk_add", path=str(tmp_path / "d3"))
            volume.health.tasks["sealer"] = "no room"
            volume.health.missing_disks[9] = "/srv/b is not there"
            for why in Why:
                volume.health.left_alone.leave((1, 1), why, "gone", now_s=trio.current_time())
            volume.tier.rules.append(Finding(Severity.WARN, "packs expire"))
            volume.counters.failed("read", 5)
            await ask("disk_list")
            await ask("status")
            await ask("top")
    return ask.answers


async def test_the_page_tells_every_field_of_every_answer_with_its_type_and_no_other(tmp_path: Path) -> None:
    seen = set()
    for call, answer in await answers(tmp_path):
        fields = [row for row in ROWS[call] if not row.is_argument]
        for place, value in leaves(answer) if answer else ():
            rows = [row for row in fields if stands_for(row.name, place)]
            if not rows and value in (None, [], {}):  # what it would hold is told
                assert any(row.name.startswith((f"{place}.", f"{place}[]")) for row in fields), (call, place)
                continue
            assert len(rows) == 1, f"the page does not tell {place} of {call}"
            assert is_a(value, rows[0].kind), (call, place, value, rows[0].kind)
            seen.add((call, rows[0].name))
    told = {(call, row.name) for call, rows in ROWS.items() for row in rows if not row.is_argument}
    assert told - seen == UNSEEN


def test_the_page_has_every_call_with_its_arguments() -> None:
    told = {call: {row.name: row.kind for row in rows if row.is_argument} for call, rows in ROWS.items()}
    assert told == {
        call: {name: KIND_OF_ARGUMENT[kind] for name, kind in known.items()} for call, known in ARGUMENTS.items()
    }


async def test_every_call_of_a_mount_is_in_the_table_of_arguments(tmp_path: Path) -> None:
    async with asking(tmp_path) as (_volume, ask):
        assert set(ask.calls) == set(ARGUMENTS)
        with pytest.raises(UsageError, match="tier_demote takes no argument dry-run; did you mean dry_run"):
            await ask("tier_demote", **{"dry-run": True})
    assert ask.answers == []


@pytest.mark.parametrize(
    ("call", "args", "says"),
    [
        pytest.param("status", {"x": 1}, "status takes no argument x", id="to a call that takes none"),
        pytest.param("tier_plan", {"path": ["d"]}, "did you mean paths", id="misspelt"),
        pytest.param("tier_demote", {"dry_run": "no"}, "dry_run is true or false", id="a text for true or false"),
        pytest.param("tier_demote", {"paths": "d"}, "paths is a list of texts", id="a text for a list"),
        pytest.param("scrub", {"rate_bytes_s": 1.5}, "rate_bytes_s is a whole number", id="a fraction"),
        pytest.param("scrub", {"rate_bytes_s": True}, "rate_bytes_s is a whole number", id="true for a number"),
        pytest.param("disk_add", {"path": 1}, "path is a text", id="a number for a text"),
    ],
)
def test_an_argument_that_is_not_known_or_of_another_type_is_refused(
    call: str, args: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_arguments(call, args)


def test_null_is_no_argument() -> None:
    args: dict[str, Any] = {"paths": [], "dry_run": None, "wait": True}
    assert check_arguments("tier_recall", args) == {"paths": [], "wait": True}
    assert check_arguments("collect", {"live_share": 1}) == {"live_share": 1}
    assert set(KINDS) == set(KIND_OF_ARGUMENT)


def test_what_the_page_says_of_the_lines_is_so() -> None:
    ending = re.search(r"^Closing the connection ends ((?:`[a-z_]+`(?:, | and )?)+) within half a second", PAGE, re.M)
    assert ending is not None and set(re.findall(r"`([a-z_]+)`", ending[1])) == ENDS_WITH_CLIENT
    assert f"of {LINE_SIZE_MAX >> 10} KiB at the most" in PAGE and f"the version, {VERSION}." in PAGE
    bounds = ", ".join(f"{bound:g}" for bound in BOUNDS_S[:-1])
    assert f"up to {bounds} and {BOUNDS_S[-1]:g} seconds, and longer" in PAGE


async def test_the_page_s_program_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = re.search(r"^```\n(import json.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert program is not None
    code = program[1].replace("/srv/volume", str(tmp_path / "v"))
    async with asking(tmp_path) as (_volume, ask), trio.open_nursery() as nursery:
        await nursery.start(run_control, str(tmp_path / "v"), ask.calls)
        await trio.to_thread.run_sync(exec, code, {})
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out == "True []\n"
