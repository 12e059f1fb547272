"""The same random operations on a mount and on the local ext4: every result, errno, attribute and byte must agree.

Known differences, each with its reason:
- inode and device numbers, blocks, sizes of directories, order of listings, access times: each has its own;
- a set-group-ID bit without group execute: the kernel's FUSE code does not take it off when a stranger writes;
- a new entry below a default ACL: the kernel takes the umask off before FUSE sees the mode (README, Limits);
- xattrs of more than 4 KiB in all: ext4 has no room for them, rustfsfs has; the operations stay below.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model.actor import Actor
from tests.model.operations import Draw
from tests.mounted import Mounted

pytestmark = [pytest.mark.fuse, pytest.mark.slow]
STEPS = int(os.environ.get("RUSTFSFS_MODEL_STEPS", "1200"))
SEEDS = [int(seed) for seed in os.environ.get("RUSTFSFS_MODEL_SEEDS", "1,2,3").split(",")]
COMPARE_EVERY = 40
DISTURB_EVERY = 150


class Pair:
    """Two trees and the operations done on both."""

    def __init__(self, mounted: Mounted, reference: Path) -> None:
        self.mounted = mounted
        self.reference = Actor(reference)
        self.actor = Actor(mounted.point)
        self.history: list[tuple[Any, ...]] = []

    def do(self, operation: tuple[Any, ...]) -> None:
        self.history.append(operation)
        want, got = self.reference.ask(operation), self.actor.ask(operation)
        assert got == want, self._story(f"{got} instead of {want}")

    def compare(self) -> None:
        want, got = self.reference.ask("describe"), self.actor.ask("describe")
        for path in sorted(set(want) | set(got)):
            assert got.get(path) == want.get(path), self._story(
                f"{path!r}: {got.get(path)} instead of {want.get(path)}"
            )

    def _story(self, what: str) -> str:
        lines = [f"    {operation}" for operation in self.history[-12:]]
        whole = self.mounted.base / "history"
        whole.write_text("\n".join(map(str, self.history)))
        return "\n".join([f"after {len(self.history)} operations ({whole}): {what}", "the last were", *lines])

    def disturb(self, number: int) -> None:
        """Things that must not change anything an application sees."""
        kind = number % 5
        if kind == 0:
            self.mounted.seal()
        elif kind == 1:
            self._between(self.mounted.kill)
        elif kind == 2:
            self.mounted.run("collect", self.mounted.point)
        elif kind == 3:
            self._between(self.mounted.umount)
        else:
            subprocess.run(["sync"], check=True)

    def _between(self, end: Any) -> None:
        end()
        self.mounted.mount("-o", "dev,suid")

    def close(self) -> None:
        self.reference.close()
        self.actor.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    mounted = Mounted(tmp_path)
    mounted.format("--chunk-size", "64KiB")
    mounted.mount("-o", "dev,suid")
    reference = tmp_path / "reference"
    reference.mkdir()
    for root in (reference, mounted.point):
        os.chmod(root, 0o777)
    for folder in ("", *map(str, tmp_path.parents)):
        if folder not in ("", "/") and folder.startswith("/tmp/"):
            os.chmod(folder, 0o755)
    os.chmod(tmp_path, 0o755)
    both = Pair(mounted, reference)
    try:
        yield both
    finally:
        both.close()
        mounted.clean_up()


def is_known_to_differ(operation: tuple[Any, ...]) -> bool:
    """Default ACLs make what is created below them differ, as the README says; `acl` sets access ACLs only here."""
    return bool(operation[0] == "acl" and operation[3] == "system.posix_acl_default")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mount_behaves_like_ext4(pair: Pair, seed: int) -> None:
    draw = Draw(seed)
    for number in range(1, STEPS + 1):
        operation = draw.operation()
        while is_known_to_differ(operation):
            operation = draw.operation()
        pair.do(operation)
        if number % COMPARE_EVERY == 0:
            pair.compare()
        if number % DISTURB_EVERY == 0:
            pair.disturb(number // DISTURB_EVERY)
            pair.compare()
    pair.mounted.umount()
    assert pair.mounted.fsck("--data") == []
