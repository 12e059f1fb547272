"""A mount and a directory of the local ext4, and every operation done on both. See test_against_ext4."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.model.actor import Actor
from tests.model.operations import Draw
from tests.mounted import Mounted

COMPARE_EVERY = 40
DISTURB_EVERY = 150


class Pair:
    """Two trees and the operations done on both. `options`: of -o."""

    def __init__(self, mounted: Mounted, reference: Path, options: str) -> None:
        self.mounted = mounted
        self.options = options
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
            if "writeback" in self.options:
                subprocess.run(["sync", "-f", str(self.mounted.point)], check=True)
            self._between(self.mounted.kill)
        elif kind == 2:
            self.mounted.run("collect", self.mounted.point)
        elif kind == 3:
            self._between(self.mounted.umount)
        else:
            subprocess.run(["sync"], check=True)

    def _between(self, end: Any) -> None:
        end()
        self.mounted.mount("-o", self.options)

    def close(self) -> None:
        self.reference.close()
        self.actor.close()


def walk(pair: Pair, draw: Draw, steps: int, compared: Callable[[int], bool] = lambda _count: True) -> None:
    """So many operations on both, with looks and disturbances between, and a check of the volume at the end.

    compared   called with the operations since the last look, when all was the same; False ends the walk
    """
    for number in range(1, steps + 1):
        operation = draw.operation()
        while is_known_to_differ(operation):
            operation = draw.operation()
        pair.do(operation)
        if number % COMPARE_EVERY == 0:
            pair.compare()
            if not compared(COMPARE_EVERY):
                break
        if number % DISTURB_EVERY == 0:
            pair.disturb(number // DISTURB_EVERY)
            pair.compare()
    pair.mounted.umount()
    findings = pair.mounted.fsck("--data")
    assert findings == [], findings[:5]


@contextmanager
def paired(folder: Path, options: str = "dev,suid") -> Iterator[Pair]:
    """A new volume and a new directory beside it, in a folder that all users may pass through."""
    mounted = Mounted(folder)
    mounted.format("--chunk-size", "64KiB")
    mounted.mount("-o", options)
    reference = folder / "reference"
    reference.mkdir()
    for root in (reference, mounted.point):
        os.chmod(root, 0o777)
    both = Pair(mounted, reference, options)
    try:
        yield both
    finally:
        both.close()
        mounted.clean_up()


def is_known_to_differ(operation: tuple[Any, ...]) -> bool:
    """Default ACLs make what is created below them differ, as the README says; `acl` sets access ACLs only here."""
    return bool(operation[0] == "acl" and operation[3] == "system.posix_acl_default")
