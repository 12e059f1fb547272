"""What was stored is counted right, and the comparison says politely when there is nothing to compare with."""

import itertools
import json
from pathlib import Path

import pytest

from rustfsfs.bench import corpus, stored
from rustfsfs.bench.__main__ import main
from rustfsfs.bench.stored import Ours

BYTES = [Ours(0, 100, 10), Ours(1000, 300, 30), Ours(1500, 400, 30)]


def test_rows_are_growth_and_all_of_it() -> None:
    first, second, total = stored.rows(["a", "b"], [5000, 6000], BYTES, [50, 1250, 1850])
    assert (first.ours, first.restic, first.ratio) == (Ours(1000, 200, 20), 1200, 1.0)
    assert (second.ours, second.restic, second.ratio) == (Ours(500, 100, 0), 600, 1.0)
    assert (total.name, total.given, total.ours, total.restic) == ("all", 11000, BYTES[-1], 1850)
    assert total.ratio == 1900 / 1850


def test_the_table_is_in_mebibytes() -> None:
    row = stored.Row("image", 10 << 20, Ours(5 << 20, 1 << 19, 0), 5 << 20)
    made = stored.table([row])
    assert made.rows == (("image", "10.0", "5.0", "0.5", "5.0", "1.100"),)
    assert len(made.header) == len(made.rows[0])


@pytest.mark.parametrize(
    ("packs", "said"), [pytest.param(105, "is met", id="at most"), pytest.param(106, "is missed", id="more")]
)
def test_the_goal_is_judged(packs: int, said: str) -> None:
    row = stored.Row("all", 1000, Ours(packs, 0, 0), 100)
    assert said in stored.sentences(row, ours_s=1, restic_s=1)[0]


def test_bytes_of_files_are_counted_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(bytes(5))
    (tmp_path / "other").write_bytes(bytes(7))
    part = corpus.Part("both", (tmp_path / "a", tmp_path / "other"))
    assert stored.given_bytes(part) == stored.bytes_below(tmp_path) == 12
    assert stored.bytes_below(tmp_path / "nothing") == 0


def test_without_restic_it_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["corpus", "--dir", str(tmp_path), "--out", str(tmp_path)]) == 6
    assert "restic is not installed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fuse
def test_rustfsfs_stores_less_of_what_it_has_already(tmp_path: Path) -> None:
    folder, base = tmp_path / "corpus", tmp_path / "base"
    folder.mkdir()
    base.mkdir()
    parts = corpus.make(folder, corpus.TINY)
    steps = [ours for ours, _s in stored.by_rustfsfs(parts, base)]
    assert steps[0].packs == 0 < steps[0].metadata
    given = [stored.given_bytes(part) for part in parts]
    trees, _tars, image, copy, total = stored.rows([part.name for part in parts], given, steps, [1] * 5)
    assert 0 < trees.ours.packs < trees.given / corpus.TINY.version_count
    assert 0 < copy.ours.packs < image.ours.packs < image.given / 2
    assert total.ours.packs == sum(step.packs - before.packs for before, step in itertools.pairwise(steps))
    assert json.dumps(stored.as_json([total]))
    assert list(base.iterdir()) == []
