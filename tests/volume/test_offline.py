"""Commands on a volume that is not mounted."""

from pathlib import Path

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.volume import offline
from tests.volume.on_disk import Key, format_in


@pytest.fixture
def volume(tmp_path: Path) -> str:
    return str(format_in(tmp_path / "v"))


def test_a_mistake_in_the_settings_keeps_nobody_from_reading(volume: str, tmp_path: Path) -> None:
    Path(volume, "config.toml").write_text("[seal]\nquite = '5s'\n")
    assert offline.status(volume, Key())["volume"]["state"] == "clean"
    assert offline.fsck(volume, Key(), data=True) == []
    assert offline.export(volume, Key(), "/", str(tmp_path / "out")) == []
    assert len(offline.disk_list(volume, Key())) == 1
    with pytest.raises(UsageError, match=r"seal\.quiet"):
        offline.disk_add(volume, Key(), str(tmp_path / "more"))


def test_settings_that_are_not_utf8_are_a_mistake_of_the_user(volume: str, tmp_path: Path) -> None:
    Path(volume, "config.toml").write_bytes(b"# \xff\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        offline.disk_add(volume, Key(), str(tmp_path / "more"))
