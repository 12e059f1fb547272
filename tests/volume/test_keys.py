"""Key slots without a process."""

from pathlib import Path

import pytest

from rustfsfs.errors import UsageError
from rustfsfs.volume import keys
from rustfsfs.world import real_world
from tests.volume.on_disk import Key, format_in


def test_a_key_that_is_in_already_is_refused_with_its_slot(tmp_path: Path) -> None:
    path = str(format_in(tmp_path / "v"))
    with pytest.raises(UsageError, match="opens slot 0 already"):
        keys.add_slot(real_world(), path, opened_with=Key(), new=Key())
    assert keys.add_slot(real_world(), path, opened_with=Key(), new=Key(value=b"n" * 32)) == 2
    assert len(keys.list_slots(real_world(), path)) == 3
