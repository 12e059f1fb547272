"""One case of rot: bytes are damaged, then every promise about damage is checked on the volume."""

import random
from dataclasses import dataclass

import trio

from rustfsfs.config import Config
from rustfsfs.errors import DamagedData, OpeningError, RustfsfsError, StoreError
from rustfsfs.meta import entries
from rustfsfs.units import ROOT
from rustfsfs.volume import reading, scrubbing
from rustfsfs.volume.opening import Opening, opened_volume
from rustfsfs.volume.volume import Volume
from rustfsfs.world import real_world
from tests.rot.stored import Rottable, Stored
from tests.volume.on_disk import Key

WAYS = ("flip", "truncate", "swap", "replay")
# of these, one copy or none is needed to read every file
NEEDED_BY_ALL = ("page", "page sums", "slot", "header")
IN_PACKS = ("frame", "directory", "pack header")


@dataclass(frozen=True)
class Case:
    """What was done to which object. `other` is the one it was swapped with."""

    way: str
    stored: Stored
    other: Stored | None = None

    def __str__(self) -> str:
        return f"{self.way} {self.stored.kind} {self.stored.path.name}@{self.stored.offset}+{self.stored.size_bytes}"


def draw_case(volume: Rottable, kind: str, way: str, draw: random.Random) -> Case | None:
    """Damage one object of a kind; None if that changes nothing (its older self is the same)."""
    objects = [one for one in volume.objects if one.kind == kind]
    one = draw.choice(objects)
    data = _read(one)
    if way == "flip":
        at = draw.randrange(len(data))
        _write(one, data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :])
        return Case(way, one)
    if way == "truncate":
        with open(one.path, "r+b") as file:
            file.truncate(one.offset + draw.randrange(max(1, len(data))))
        return Case(way, one)
    if way == "swap":
        other = draw.choice(objects)
        theirs = _read(other)
        size = min(len(data), len(theirs))
        if data[:size] == theirs[:size]:
            return None
        _write(one, theirs[:size])
        _write(other, data[:size])
        return Case(way, one, other)
    older = volume.older(one.path)
    if not older.exists():
        return None
    before = older.read_bytes()[one.offset : one.offset + one.size_bytes]
    if len(before) < len(data) or before == data or not any(before):
        return None
    _write(one, before)
    return Case(way, one)


def _read(one: Stored) -> bytes:
    with open(one.path, "rb") as file:
        file.seek(one.offset)
        return file.read(one.size_bytes)


def _write(one: Stored, data: bytes) -> None:
    with open(one.path, "r+b") as file:
        file.seek(one.offset)
        file.write(data)


@dataclass
class Verdict:
    """What the volume said of the damage."""

    refused: str | None = None  # why it did not open
    findings: tuple[str, ...] = ()
    failed: frozenset[str] = frozenset()  # files that could not be read whole

    @property
    def detected(self) -> bool:
        return self.refused is not None or bool(self.findings) or bool(self.failed)


def judge(volume: Rottable) -> Verdict:
    """Open, read every file, scrub. Fails for a wrong byte, and for an error that is none of ours."""
    verdict = Verdict()

    async def main() -> None:
        how = Opening(path=str(volume.path), secret=Key(), config=Config(), read_only=True, degraded=True)
        async with opened_volume(real_world(), how) as opened:
            verdict.failed = frozenset([name for name in volume.contents if not await _reads(opened, volume, name)])
            done = await scrubbing.scrub(opened, repair=False, rate_bytes_s=0)
            troubles = [
                *opened.health.missing_disks.values(),
                *([opened.health.trouble] if opened.health.trouble else []),
            ]
            verdict.findings = (*done.lines, *troubles)

    try:
        trio.run(main)
    except OpeningError as exc:
        verdict.refused = str(exc)
    return verdict


async def _reads(opened: Volume, volume: Rottable, name: str) -> bool:
    """True: every byte came back. Raises AssertionError for a wrong one."""
    try:
        row = entries.find_attributes(opened.metadata, ROOT, name.encode())
        assert row is not None, f"{name} is gone without an error"
        data = bytes(await reading.read(opened, row.inode, 0, 1 << 20))
    except (DamagedData, StoreError):
        return False
    assert data == volume.contents[name], f"{name} came back with wrong bytes"
    return True


def repair(volume: Rottable) -> list[str]:
    """Open for writing, scrub --repair, and again: what the second finds, and what does not read."""
    left: list[str] = []

    async def main() -> None:
        how = Opening(path=str(volume.path), secret=Key(), config=Config())
        async with opened_volume(real_world(), how) as opened:
            await scrubbing.scrub(opened, repair=True, rate_bytes_s=0)
            left.extend((await scrubbing.scrub(opened, repair=False, rate_bytes_s=0)).lines)
            left.extend([name for name in volume.contents if not await _reads(opened, volume, name)])

    try:
        trio.run(main)
    except RustfsfsError as exc:
        left.append(str(exc))
    volume.clean()
    return left


def judged(volume: Rottable, case: Case) -> str | None:
    """What promise was broken, or None. Leaves the volume damaged or mended: restore it."""
    try:
        verdict = judge(volume)
    except AssertionError as exc:
        return str(exc)
    if not verdict.detected:
        return "it was not noticed"
    kind = case.stored.kind
    if kind not in NEEDED_BY_ALL:
        if verdict.refused is not None:
            return f"the volume did not open: {verdict.refused}"
        mine = case.stored.files | (case.other.files if case.other else frozenset())
        if case.way == "truncate":
            mine |= _behind(volume, case.stored)
        if not verdict.failed <= mine:
            return f"others were harmed: {sorted(verdict.failed - mine)}"
    if volume.copies == 2 and kind not in ("page", "page sums", "hot"):
        left = repair(volume)
        if left:
            return f"not mended: {left[:3]}"
    return None


def _behind(volume: Rottable, cut: Stored) -> frozenset[str]:
    """Files that need what lay behind the place where a file was cut."""
    found: frozenset[str] = frozenset()
    for one in volume.objects:
        if one.path == cut.path and one.offset >= cut.offset:
            found |= one.files
    return found
