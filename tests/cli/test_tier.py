"""`rustfsfs tier`: which volume PATHs are of, what is asked of it, and how the answers read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rustfsfs.cli import places, tier
from rustfsfs.cli.main import run
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.service import mounts
from rustfsfs.volume import tiercommands
from rustfsfs.volume.collecting import Progress
from rustfsfs.volume.mountinfo import Mount
from rustfsfs.volume.volume import Volume
from tests.mounted import Mounted
from tests.volume.on_disk import Key, format_in

RECALLED: dict[str, Any] = {
    "came_packs": 3,
    "came_bytes": 3 << 20,
    "stays": [],
    "packs": 3,
    "bytes": 3 << 20,
    "missing": [],
    "frozen": 0,
    "ready_in_s": None,
}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    key = tmp_path / "key"
    key.write_bytes(Key().value)
    key.chmod(0o600)
    return format_in(tmp_path / "v")


def answering(monkeypatch: pytest.MonkeyPatch, name: str, answer: dict[str, Any]) -> list[tuple[dict[str, Any], bool]]:
    """A fake of one call; what it was asked, and whether the volume could be written."""
    asked: list[tuple[dict[str, Any], bool]] = []

    async def call(volume: Volume, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        asked.append((args, volume.health.read_only_reason is None))
        progress(1, 2, "half")
        (Path(volume.path) / "ballast").unlink(missing_ok=True)
        return answer

    monkeypatch.setitem(tiercommands.COMMANDS, name, call)
    return asked


@pytest.mark.parametrize(
    ("arguments", "name", "answer", "want", "writes", "says"),
    [
        pytest.param(
            ["status", "/a//b/", "c"],
            "tier_status",
            {
                "packs": 4,
                "local_bytes": 3 << 20,
                "both_bytes": 1 << 20,
                "cold_bytes": 5 << 20,
                "hot_bytes": 100,
                "frozen_packs": 2,
                "frozen_bytes": 1 << 20,
                "up_bytes_s": 12 << 20,
                "down_bytes_s": 0,
                "pinned": ["/a"],
                "pinned_cold_bytes": 7 << 20,
                "paths": [{"path": "a/b", "tier": "mixed", "stored_bytes": 2 << 20, "cold_bytes": 1 << 20}],
            },
            {"paths": ["a/b", "c"]},
            False,
            [
                "Hot      100 B not",
                "Local    2.0 MiB on",
                "Both     1.0 MiB",
                "Cold     5.0 MiB",
                "Frozen   2 packs of those, 1.0 MiB, to be",
                "Traffic  up 12.0 MiB/s, down 0 B/s in the last minute",
                "Pinned   /a (7.0 MiB of that in the bucket only, until the disks have room)",
                "mixed    /a/b: 2.0",
            ],
            id="status",
        ),
        pytest.param(
            ["plan", "a/b"],
            "tier_plan",
            {
                "steps": [{"pack": 7, "disk": 1, "action": "upload it", "why": "protect says so", "bytes": 1 << 20}],
                "backlog_bytes": 1 << 20,
                "retained_bytes": 3 << 20,
            },
            {"paths": ["a/b"]},
            False,
            [
                "pack 7 of disk 1: upload it (protect says so), 1.0 MiB",
                "To be uploaded: 1.0 MiB",
                "To be deleted once no older metadata names it: 3.0 MiB",
            ],
            id="plan",
        ),
        pytest.param(
            ["plan"],
            "tier_plan",
            {"steps": [], "backlog_bytes": 0, "retained_bytes": 0},
            {"paths": [""]},
            False,
            ["Nothing is due.\nTo be uploaded: 0 B\n"],
            id="idle",
        ),
        pytest.param(
            ["demote", "--dry-run"],
            "tier_demote",
            {
                "packs": 1,
                "bytes": 1 << 20,
                "freed_bytes": 0,
                "hot_bytes": 100,
                "kept": [{"pack": 3, "why": "a pinned tree needs it"}],
                "failed": [],
                "unpublished": None,
            },
            {"paths": [""], "dry_run": True},
            True,
            [
                "pack 3 stays: a pinned tree needs it",
                "1 pack (1.0 MiB) would go to the bucket. 100 B more is not sealed yet, and would be first.\n",
            ],
            id="demote, dry",
        ),
        pytest.param(
            ["demote", "a"],
            "tier_demote",
            {"packs": 2, "bytes": 1 << 20, "freed_bytes": 1 << 19, "hot_bytes": 0, "kept": [], "failed": []}
            | {"unpublished": None},
            {"paths": ["a"], "dry_run": False},
            True,
            ["2 packs (1.0 MiB) in the bucket only now; 512.0 KiB freed"],
            id="demote",
        ),
        pytest.param(
            ["recall", "a", "--wait"],
            "tier_recall",
            RECALLED,
            {"paths": ["a"], "dry_run": False, "wait": True},
            True,
            ["3 of 3 packs (3.0 MiB) came back to the disks."],
            id="recall",
        ),
        pytest.param(
            ["recall", "--dry-run"],
            "tier_recall",
            RECALLED | {"frozen": 1, "came_packs": 2, "ready_in_s": 5 * 3600.0},
            {"paths": [""], "dry_run": True, "wait": False},
            True,
            ["1 pack would have to be restored first, within 5 h; --wait", "2 of 3 packs (3.0 MiB) would come back"],
            id="recall, dry",
        ),
        pytest.param(["pin", "a"], "tier_pin", {"pinned": ["/a"]}, {"paths": ["a"]}, True, ["Pinned: /a"], id="pin"),
        pytest.param(
            ["unpin", "a"],
            "tier_unpin",
            {"pinned": [], "covered": []},
            {"paths": ["a"]},
            True,
            ["Pinned: nothing"],
            id="unpin",
        ),
    ],
)
def test_a_volume_that_is_not_mounted_is_opened_and_asked(
    volume: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    name: str,
    answer: dict[str, Any],
    want: dict[str, Any],
    writes: bool,
    says: list[str],
) -> None:
    asked = answering(monkeypatch, name, answer)
    command, *rest = arguments
    opening = ["--key-file", str(volume.parent / "key")]
    assert run(["tier", command, str(volume), *rest, *opening]) == 0
    shown = capsys.readouterr().out
    assert asked == [(want, writes)]
    for words in says:
        assert words in shown
    assert run(["tier", command, str(volume), *rest, *opening, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    (volume / "ballast").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("command", "answer", "says"),
    [
        pytest.param("recall", RECALLED | {"missing": ["/a/b"]}, "lost in the bucket: /a/b\n", id="lost"),
        pytest.param(
            "recall",
            RECALLED | {"came_packs": 2, "stays": [{"pack": 3, "why": "it is on its way already"}]},
            "pack 3 stays: it is on its way already\n2 of 3 packs (3.0 MiB) came back",
            id="not all of it came",
        ),
        pytest.param(
            "demote",
            {"packs": 0, "bytes": 0, "freed_bytes": 0, "hot_bytes": 0, "kept": []}
            | {"failed": [{"pack": 1, "why": "frame 3 is damaged"}], "unpublished": None},
            "pack 1 stays: frame 3 is damaged\n0 packs (0 B) in the bucket only now",
            id="could not go",
        ),
        pytest.param(
            "unpin",
            {"pinned": ["/a"], "covered": [{"path": "a/b", "by": "/a"}]},
            "/a/b stays on the disks: /a is pinned",
            id="pinned above",
        ),
        pytest.param(
            "demote",
            {"packs": 2, "bytes": 1 << 20, "freed_bytes": 1 << 19, "hot_bytes": 0, "kept": [], "failed": []}
            | {"unpublished": "no network"},
            "freed on the disks.\nThe newest names are on this host only until the next copy of the metadata: no net",
            id="its names could not go",
        ),
    ],
)
def test_what_could_not_be_moved_is_a_finding(
    volume: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    answer: dict[str, Any],
    says: str,
) -> None:
    answering(monkeypatch, f"tier_{command}", answer)
    assert run(["tier", command, str(volume), "--key-file", str(volume.parent / "key")]) == 7
    assert says in capsys.readouterr().out
    (volume / "ballast").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["pin"], 2, "a dot is the working directory", id="nothing to pin"),
        pytest.param(["status", "/"], 4, "neither a rustfsfs volume", id="no volume"),
        pytest.param(["demote", "{volume}"], 3, "no terminal", id="no key"),
        pytest.param(["status", "{volume}", "--key-file", "{key}"], 2, "has no bucket", id="no bucket"),
    ],
)
def test_mistakes_are_one_sentence(
    volume: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    filled = [text.format(volume=volume, key=volume.parent / "key") for text in arguments]
    assert run(["tier", *filled]) == code
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1


def mounted_at(monkeypatch: pytest.MonkeyPatch, *points: Path, dead: bool = False) -> None:
    found = [Mount(str(point), mounts.FSTYPE, f"/srv{point}", "0:1", None) for point in points]

    def covering(path: str) -> Mount | None:
        return next((mount for mount in found if mounts.is_inside(path, mount.point)), None)

    monkeypatch.setattr(mounts, "covering", covering)
    monkeypatch.setattr(mounts, "is_dead", lambda _point: dead)
    monkeypatch.setattr(places, "find", lambda path: places.Place(f"/srv{path}", path, 1))


@pytest.mark.parametrize(
    ("paths", "want"),
    [
        pytest.param(lambda base: [base / "m"], [""], id="the mount point"),
        pytest.param(lambda base: [base / "m" / "a" / "b", f"{base}/m/c/"], ["a/b", "c"], id="paths in it"),
        pytest.param(lambda base: [base / "link" / "x"], ["a/x"], id="a symbolic link on the way"),
        pytest.param(lambda base: [], ["a"], id="the working directory"),
    ],
)
def test_paths_in_a_mount_are_named_from_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: Callable[[Path], list[str | Path]], want: list[str]
) -> None:
    (tmp_path / "m" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "m" / "a")
    monkeypatch.chdir(tmp_path / "m" / "a")
    mounted_at(monkeypatch, tmp_path / "m")
    named = tier.locate([str(path) for path in paths(tmp_path)])
    assert (named.place.volume, named.inside) == (f"/srv{tmp_path}/m", want)


def test_paths_of_two_mounts_and_those_of_a_dead_one_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    mounted_at(monkeypatch, one, other)
    with pytest.raises(UsageError, match="does not lie in"):
        tier.locate([str(one / "a"), str(other / "b")])
    with pytest.raises(UsageError, match="does not lie in"):
        tier.locate([str(one / "a"), str(tmp_path)])
    mounted_at(monkeypatch, one, dead=True)
    with pytest.raises(MachineTrouble, match="daemon is gone"):
        tier.locate([str(one / "a")])


@pytest.mark.fuse
@pytest.mark.slow  # a mount, and several processes
def test_on_a_mount_the_daemon_is_asked(mounted: Mounted) -> None:
    (mounted.point / "d").mkdir()
    for place in (mounted.point / "d", mounted.volume):
        done = mounted.run("tier", "status", place, check=False)
        assert done.returncode == 2 and "has no bucket" in done.stderr
