"""`make demo-oss` on a small tree."""

from pathlib import Path

import pytest

from tests.oss_server import OssServer, demo


@pytest.mark.fuse
def test_it_ends_with_every_byte_compared(oss: OssServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    (source / "f").write_bytes(bytes(range(256)) * 1000)
    (source / "below" / "g").write_text("g")
    (tmp_path / "base").mkdir()
    try:
        demo.show(tmp_path / "base", oss, source)
    finally:
        (tmp_path / "base" / "volume" / "ballast").unlink(missing_ok=True)
    said = capsys.readouterr().out
    assert "Packs left on the disk: 0" in said
    assert "2 files are the same" in said
    assert "GET     Standard" in said.partition("5. ")[2]
