"""The same random operations on a mount and on the local ext4: every result, errno, attribute and byte must agree.

Known differences, each with its reason:
- inode and device numbers, blocks, sizes of directories, order of listings, access times: each has its own;
- a set-group-ID bit without group execute: the kernel's FUSE code does not take it off when a stranger writes;
- a new entry below a default ACL: the kernel takes the umask off before FUSE sees the mode (README, Limits);
- xattrs of more than 4 KiB in all: ext4 has no room for them, rustfsfs has; the operations stay below.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model.operations import Draw
from tests.model.pair import Pair, paired, walk

pytestmark = [pytest.mark.fuse, pytest.mark.slow]
STEPS = 1200
SEEDS = [1, 2, 3]


@pytest.fixture(params=["dev,suid"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    for folder in map(str, [tmp_path, *tmp_path.parents]):
        if folder.startswith("/tmp/"):
            os.chmod(folder, 0o755)
    with paired(tmp_path, request.param) as both:
        yield both


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mount_behaves_like_ext4(pair: Pair, seed: int) -> None:
    walk(pair, Draw(seed), STEPS)


@pytest.mark.parametrize("pair", ["dev,suid,writeback"], indirect=True)
def test_so_does_one_whose_writes_the_kernel_keeps_back(pair: Pair) -> None:
    walk(pair, Draw(4), STEPS)
