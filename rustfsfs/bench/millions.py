"""`make bench-10m`: a volume of ten million files, and a file of four million extents, against the goals.

    python -m rustfsfs.bench.millions [FILES] [EXTENTS] [FOLDER]

The volume is made by `apply` directly: a tenth of the files in one directory, the others in directories of a hundred.
Each figure is printed beside its goal. Exit 1 when one is missed.
"""

import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rustfsfs import ops
from rustfsfs.bench.timing import timed
from rustfsfs.content.slots import SlotKind
from rustfsfs.meta import database
from rustfsfs.meta.apply import apply
from rustfsfs.meta.database import Metadata
from rustfsfs.units import ROOT
from rustfsfs.volume.formatting import format_volume
from rustfsfs.volume.header import unlocked
from rustfsfs.world import real_world

FILE, DIRECTORY = 0o100644, 0o040755
KEY = bytes(range(32))  # it protects nothing
SMALL = 10_000  # files of the volume that the large one is compared with
PER_DIRECTORY = 100
PER_SEAL, FRAMES_PER_PACK, CRUMB = 500, 4000, 4096
OPS_PER_COMMIT = 200_000
BUILD_CACHE_KIB = 400_000
ROUND = 2000  # operations of one kind
BESIDE_S_MAX = 900.0  # a deletion that has not ended by then


@dataclass(frozen=True, slots=True)
class Secret:
    kind: SlotKind = SlotKind.KEY_FILE
    value: bytes = KEY


class Builder:
    """Applies op after op to a database that nobody has open, and commits now and then."""

    def __init__(self, volume: Path) -> None:
        _header, keys = unlocked(real_world(), str(volume), Secret())
        self._path = volume
        self._db: Metadata = database.open_(str(volume / "metadata.db"), keys.database)
        self._db.run(f"PRAGMA cache_size = -{BUILD_CACHE_KIB}")
        self._count = 0
        self._now_ns = real_world().now_ns()
        self.inode = self._db.running.next_inode
        database.begin(self._db, spills=True)

    def do(self, op: ops.AnyOp) -> int:
        """Returns its seq. Data is said to lie in segment 1, which there is not: it is sealed at once."""
        seq = self._db.running.last_seq + 1
        apply(self._db, op, ops.Address(seq, 1, CRUMB))
        self._count += 1
        if self._count % OPS_PER_COMMIT == 0:
            self.commit()
            database.begin(self._db, spills=True)
        return seq

    def make(self, parent: int, name: bytes, mode: int) -> tuple[int, int]:
        """Returns (inode, fork)."""
        inode, self.inode = self.inode, self.inode + 1
        made = ops.Create(
            parent=parent, name=name, inode=inode, mode=mode, uid=0, gid=0, rdev=0, target=b"", now_ns=self._now_ns
        )
        return inode, self.do(made)

    def crumbs(self, name: bytes, count: int) -> None:
        """A file of `count` extents with holes between, each in a chunk of its own."""
        inode, fork = self.make(ROOT, name, FILE)
        chunk = self._db.running.next_chunk
        for first in range(0, count, PER_SEAL):
            pack = 1 + first // FRAMES_PER_PACK
            sealed = ops.Seal(packs=[(pack, 1)], chunks=[], ranges=[], overlaid=[], recut=[], now_ns=self._now_ns)
            for number in range(first, min(first + PER_SEAL, count)):
                at = 2 * CRUMB * number
                self.do(ops.Write(inode, at, CRUMB, [(0, CRUMB)], self._now_ns))
                place = ops.Place(1, pack, CRUMB + number % FRAMES_PER_PACK * 4180, 4180)
                sealed.chunks.append(ops.NewChunk(chunk, random.randbytes(32), CRUMB, [place]))
                source = ops.Source(at, CRUMB, 1, CRUMB, 0)
                sealed.ranges.append(ops.SealedRange(fork, at, CRUMB, chunk, 0, [source]))
                chunk += 1
            self.do(sealed)
            self.do(ops.ClosePack(pack, 1, 0))

    def commit(self) -> None:
        running = self._db.running
        running.inode_limit, running.next_inode, running.clean = self.inode + (1 << 20), self.inode, 1
        database.write_running(self._db)
        database.commit(self._db)
        database.settle(self._db)

    def close(self) -> None:
        self.commit()
        self._db.close()


@dataclass(slots=True)
class Report:
    """Figures as they come."""

    missed: list[str] = field(default_factory=list)

    def say(self, what: str, value: float, unit: str, goal: float | None = None) -> None:
        verdict = "" if goal is None else f"   goal <= {goal:g} {unit}   {'met' if value <= goal else 'MISSED'}"
        print(f"{what:62} {value:10.3g} {unit}{verdict}", flush=True)
        if goal is not None and value > goal:
            self.missed.append(what)


@dataclass(slots=True)
class Scene:
    """A volume and its mount."""

    base: Path
    name: str

    @property
    def volume(self) -> Path:
        return self.base / self.name

    @property
    def point(self) -> Path:
        return self.base / f"{self.name}-mount"

    def build(self, files: int, extents: int) -> None:
        self.point.mkdir()
        format_volume(
            real_world(),
            str(self.volume),
            disks=[],
            secret=Secret(),
            recovery_key=KEY,
            chunk_avg_bytes=65536,
            compression_level=1,
            copies=1,
            config_text="",
        )
        builder = Builder(self.volume)
        large, _fork = builder.make(ROOT, b"large", DIRECTORY)
        for number in range(files // 10):
            builder.make(large, b"entry-%08d" % number, FILE)
        for number in range(-(-(files - files // 10) // PER_DIRECTORY)):
            parent, _fork = builder.make(ROOT, b"dir%06d" % number, DIRECTORY)
            for other in range(PER_DIRECTORY):
                builder.make(parent, b"file-%04d" % other, FILE)
        if extents:
            builder.crumbs(b"crumbs", extents)
        builder.close()

    def run(self, *arguments: str | Path) -> float:
        """A command of rustfsfs; seconds it took."""
        with timed() as timer:
            subprocess.run(
                [sys.executable, "-m", "rustfsfs", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL
            )
        return timer.s

    def mount(self) -> float:
        return self.run("mount", self.volume, self.point, "--key-file", self.base / "key")

    def umount(self) -> float:
        return self.run("umount", self.point)

    def kill(self) -> None:
        pid = int(json.loads((self.volume / "lock").read_text())["pid"])
        os.kill(pid, signal.SIGKILL)
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.01)
        subprocess.run(["umount", "-l", str(self.point)], check=True)

    def forget(self) -> None:
        """The kernel drops what it holds of the database."""
        with open(self.volume / "metadata.db", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def each_s(work: Callable[[int], object], count: int = ROUND) -> list[float]:
    """Seconds that each of some calls took."""
    took = []
    for number in range(count):
        started_s = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - started_s)
    return took


def measure_operations(scene: Scene, files: int) -> dict[str, float]:
    """Median seconds of operations at random places, each on a file that was not asked for before."""
    directories = max(1, (files - files // 10) // PER_DIRECTORY)
    picks = random.sample(range(directories * PER_DIRECTORY), min(4 * ROUND, directories * PER_DIRECTORY))
    path = [scene.point / f"dir{n // PER_DIRECTORY:06d}" / f"file-{n % PER_DIRECTORY:04d}" for n in picks]
    few = len(path) // 4
    stat = each_s(lambda n: os.stat(path[n]), few)
    change = each_s(lambda n: os.chmod(path[few + n], 0o600), few)
    rename = each_s(lambda n: os.rename(path[2 * few + n], f"{path[2 * few + n]}-new"), few)
    create = each_s(lambda n: os.close(os.open(f"{path[n]}-more", os.O_CREAT | os.O_WRONLY)), few)
    unlink = each_s(lambda n: os.unlink(path[3 * few + n]), few)
    named = zip(("stat", "chmod", "rename", "create", "unlink"), (stat, change, rename, create, unlink), strict=True)
    return {name: statistics.median(took) for name, took in named}


def measure_mounts(scene: Scene, report: Report) -> None:
    scene.mount()  # the first one takes the sums of all pages
    scene.umount()
    report.say("mount after a clean stop", scene.mount(), "s", 1.0)
    report.say("unmount", scene.umount(), "s")
    scene.forget()
    report.say("mount after a clean stop, nothing of it in memory", scene.mount(), "s")
    for number in range(ROUND):
        (scene.point / f"killed{number}").touch()
    scene.kill()
    report.say("mount after SIGKILL", scene.mount(), "s", 10.0)


def measure_directory(scene: Scene, files: int, report: Report) -> None:
    count = files // 10
    large = scene.point / "large"
    names = [large / f"entry-{random.randrange(count):08d}" for _ in range(ROUND)]
    looked_up = statistics.median(each_s(lambda n: os.stat(names[n])))
    report.say(f"look up in a directory of {count} entries", looked_up * 1e6, "us", 200)
    with timed() as timer:
        found = sum(1 for _ in os.scandir(large))
    assert found == count, (found, count)
    report.say(f"list a directory of {count} entries", timer.s, "s", 20.0)


def beside(scene: Scene) -> Iterator[float]:
    """Seconds of small operations one after the other, on files of their own."""
    folder = scene.point / "beside"
    folder.mkdir(exist_ok=True)
    for number in itertools.count():
        name = folder / str(number)
        yield from each_s(lambda _n, name=name: os.close(os.open(name, os.O_CREAT | os.O_WRONLY)), 1)  # type: ignore[misc]
        yield from each_s(lambda n, name=name: os.chmod(name, 0o600 + n % 2), 1)  # type: ignore[misc]
        yield from each_s(lambda _n, name=name: os.unlink(name), 1)  # type: ignore[misc]
        time.sleep(0.0005)


def unfinished(scene: Scene) -> int:
    """Bytes of chunks that are yet to be freed."""
    shown = subprocess.run(
        [sys.executable, "-m", "rustfsfs", "status", str(scene.point), "--json"], check=True, capture_output=True
    )
    return int(json.loads(shown.stdout)["unique_bytes"])


def measure_deletion(scene: Scene, extents: int, report: Report) -> None:
    (scene.point / "crumbs").unlink()
    longest_s, took = 0.0, []
    until_s = looked_s = time.perf_counter()
    until_s += BESIDE_S_MAX
    for one_s in beside(scene):
        took.append(one_s)
        longest_s = max(longest_s, one_s)
        now_s = time.perf_counter()
        if now_s > looked_s + 10:
            looked_s = now_s
            if now_s > until_s or not unfinished(scene):
                break
    report.say(f"deleting {extents} extents: median of other operations", statistics.median(took) * 1e3, "ms")
    report.say("                      longest wait of any of them", longest_s * 1e3, "ms", 20.0)


def measure_pauses(scene: Scene, files: int, report: Report) -> None:
    """COMMIT while attributes of files all over the volume change."""
    directories = max(1, (files - files // 10) // PER_DIRECTORY)
    until_s = time.perf_counter() + 20
    while time.perf_counter() < until_s:
        number = random.randrange(directories)
        os.utime(scene.point / f"dir{number:06d}")
    shown = subprocess.run(
        [sys.executable, "-m", "rustfsfs", "status", str(scene.point), "--json"], check=True, capture_output=True
    )
    pauses = json.loads(shown.stdout)["pause_ms"]
    report.say("COMMIT beside scattered changes: the longest pause", max(pauses.values()), "ms", 50.0)


def main(files: int, extents: int, folder: str | None) -> int:
    report = Report()
    with tempfile.TemporaryDirectory(dir=folder, prefix="rustfsfs-10m-") as base:
        (Path(base) / "key").write_bytes(KEY)
        (Path(base) / "key").chmod(0o600)
        small, scene = Scene(Path(base), "small"), Scene(Path(base), "ten")
        try:
            small.build(SMALL, 0)
            small.mount()
            few = measure_operations(small, SMALL)
            small.umount()
            shutil.rmtree(small.volume)
            with timed() as timer:
                scene.build(files, extents)
            size_bytes = (scene.volume / "metadata.db").stat().st_size
            print(f"{files} files and {extents} extents made in {timer.s:.0f} s: {size_bytes / (1 << 20):.0f} MiB")
            measure_mounts(scene, report)
            many = measure_operations(scene, files)
            for name, median_s in many.items():
                print(f"{name}: {few[name] * 1e6:.0f} us among {SMALL} files, {median_s * 1e6:.0f} us among {files}")
                report.say(f"{name} compared with {SMALL} files", median_s / few[name], "times", 2.5)
            measure_directory(scene, files, report)
            measure_pauses(scene, files, report)
            if extents:
                measure_deletion(scene, extents, report)
            scene.umount()
        finally:
            for one in (small, scene):
                subprocess.run(["umount", "-l", str(one.point)], check=False, capture_output=True)
    print("all goals met" if not report.missed else f"missed: {', '.join(report.missed)}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    count, extents, *rest = [*sys.argv[1:], *("10000000", "4000000")[len(sys.argv) - 1 :]]
    sys.exit(main(int(count), int(extents), rest[0] if rest else None))
