"""The demo's beginnings: what was cut off is made anew, what is complete is left alone."""

from pathlib import Path

import pytest

from rustfsfs import demo


def test_a_demo_that_was_cut_off_is_told_from_one_that_is_complete(tmp_path: Path) -> None:
    assert not demo.is_begun(tmp_path)
    (tmp_path / "volume").mkdir()
    assert demo.is_begun(tmp_path) and not demo.is_complete(tmp_path)
    (tmp_path / "volume" / "header").touch()
    assert demo.is_complete(tmp_path)
    (tmp_path / demo.UNFINISHED).touch()
    assert demo.is_begun(tmp_path) and not demo.is_complete(tmp_path)


def test_starting_over_removes_what_the_demo_made_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "volume" / "journal").mkdir(parents=True)
    for name in ("key", "recovery-key", demo.UNFINISHED, "mine"):
        (tmp_path / name).touch()
    demo.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_interruption_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(demo, "remove", interrupted)
    monkeypatch.setattr("sys.argv", ["demo", "start", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        demo.main()
    assert caught.value.code == 130
    assert "starts over" in capsys.readouterr().err


def interrupted(_base: Path) -> None:
    raise KeyboardInterrupt
