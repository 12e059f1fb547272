"""Verbs on extended attributes that the mount's own tests do not reach."""

from pathlib import Path

import pytest

from rustfsfs.errors import TooBig
from rustfsfs.volume import xattrs
from rustfsfs.volume.xattrs import LIST_SIZE_MAX
from tests.volume.in_memory import new_file, new_volume


@pytest.mark.parametrize("size", [pytest.param(255, id="few and long"), pytest.param(63, id="many and short")])
async def test_names_fill_what_listxattr_can_answer_and_no_more(tmp_path: Path, size: int) -> None:
    async with new_volume(tmp_path) as volume:
        inode = new_file(volume, b"f")
        fitting = [b"user.%0*d" % (size - 5, number) for number in range(LIST_SIZE_MAX // (size + 1))]
        for name in fitting:
            xattrs.set_(volume, inode, name, b"")
        with pytest.raises(TooBig):
            xattrs.set_(volume, inode, b"user.more", b"")
        xattrs.set_(volume, inode, fitting[3], b"another value")
        assert xattrs.names(volume, inode) == fitting
