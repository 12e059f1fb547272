"""`make bench-corpus`: how many bytes rustfsfs and restic make of the same corpus, part after part.

rustfsfs: what `packs` holds, and the metadata: the database and its sums after a clean unmount. Its snapshots (copies
of the database) are said apart. Not counted: the journal, empty then and as large as when it was made, and the
ballast; neither grows with what is stored. restic: the whole repository.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rustfsfs.bench.cleaning import remove, undisturbed
from rustfsfs.bench.corpus import Part
from rustfsfs.bench.programs import run
from rustfsfs.bench.report import Table
from rustfsfs.bench.systems import PASSWORD, Rustfsfs
from rustfsfs.bench.timing import timed
from rustfsfs.errors import MachineTrouble
from rustfsfs.units import MIB

GOAL = 1.05  # times what restic stores
HEADER = ("MiB", "given", "packs", "metadata", "restic", "ratio")


@dataclass(frozen=True, slots=True)
class Ours:
    """Bytes on the disk, of everything so far."""

    packs: int
    metadata: int
    snapshots: int

    @property
    def stored(self) -> int:
        return self.packs + self.metadata

    def since(self, before: "Ours") -> "Ours":
        return Ours(self.packs - before.packs, self.metadata - before.metadata, self.snapshots - before.snapshots)


@dataclass(frozen=True, slots=True)
class Row:
    """Of one part: bytes given, and by how much each system grew."""

    name: str
    given: int
    ours: Ours
    restic: int

    @property
    def ratio(self) -> float:
        return self.ours.stored / self.restic


def rows(parts: Sequence[str], given: Sequence[int], ours: Sequence[Ours], restic: Sequence[int]) -> list[Row]:
    """Growth from part to part, and all of them at the end.

    ours, restic  bytes on the disk before the first part, and after each
    """
    found = [
        Row(name, given[at], ours[at + 1].since(ours[at]), restic[at + 1] - restic[at]) for at, name in enumerate(parts)
    ]
    return [*found, Row("all", sum(given), ours[-1], restic[-1])]


def table(found: Iterable[Row]) -> Table:
    """In MiB; the ratio is (packs + metadata) / restic: less is better."""
    made = (
        (row.name, *map(_mib, (row.given, row.ours.packs, row.ours.metadata, row.restic)), f"{row.ratio:.3f}")
        for row in found
    )
    return Table(HEADER, tuple(made))


def as_json(found: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {
            "part": row.name,
            "given_bytes": row.given,
            "packs_bytes": row.ours.packs,
            "metadata_bytes": row.ours.metadata,
            "snapshots_bytes": row.ours.snapshots,
            "restic_bytes": row.restic,
            "ratio": round(row.ratio, 4),
        }
        for row in found
    ]


def sentences(total: Row, *, ours_s: float, restic_s: float) -> list[str]:
    """What the table does not say."""
    verdict = "the goal is met" if total.ratio <= GOAL else "the goal is missed"
    return [
        f"rustfsfs stores {total.ratio:.3f} times what restic does; {verdict} (at most {GOAL}).",
        f"Not in it: snapshots of the database ({_mib(total.ours.snapshots)} MiB), the journal and the ballast, whose "
        "sizes do not follow from what is stored.",
        f"cp -a, seal and unmount took {ours_s:.0f} s, restic backup {restic_s:.0f} s.",
    ]


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f}"


def missing() -> MachineTrouble | None:
    """Why nothing can be compared here."""
    if shutil.which("restic") is None:
        return MachineTrouble(
            "restic is not installed (Debian: apt-get install restic), so there is nothing to compare"
        )
    why = Rustfsfs().missing()
    return None if why is None else MachineTrouble(why)


def given_bytes(part: Part) -> int:
    """As programs see it: sizes of its files, holes included."""
    return sum(bytes_below(path) if path.is_dir() else path.stat().st_size for path in part.paths)


def bytes_below(folder: Path) -> int:
    """Sizes of all files; 0 if it is not there."""
    return sum(os.lstat(os.path.join(above, name)).st_size for above, _, names in os.walk(folder) for name in names)


def by_rustfsfs(parts: Iterable[Part], base: Path) -> Iterator[tuple[Ours, float]]:
    """Bytes and seconds: before the first part, and after each was copied, sealed, and the volume unmounted."""
    with Rustfsfs().mounted(base) as place:
        place.remount()
        yield volume_bytes(base / "volume"), 0.0
        for part in parts:
            with timed() as timer:
                for path in part.paths:
                    run("cp", "-a", path, place.root)
                    place.seal()
                place.remount()
            yield volume_bytes(base / "volume"), timer.s


def volume_bytes(volume: Path) -> Ours:
    database, sums = volume / "metadata.db", volume / "metadata.pages"
    metadata = sum(path.stat().st_size for path in (database, sums) if path.exists())
    return Ours(bytes_below(volume / "packs"), metadata, bytes_below(volume / "snapshots"))


def by_restic(parts: Iterable[Part], base: Path) -> Iterator[tuple[int, float]]:
    """Bytes and seconds: of the new repository, and after each part was backed up, path after path."""
    with restic_repository(base) as (repository, settings):
        yield bytes_below(repository), 0.0
        for part in parts:
            with timed() as timer:
                for path in part.paths:
                    run("restic", "backup", "--quiet", path, **settings)
            yield bytes_below(repository), timer.s


@contextmanager
def restic_repository(base: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A new one, and the environment that makes restic use it. All its settings are at their default."""
    repository, secret, cache = base / "repository", base / "restic-password", base / "restic-cache"
    settings = {
        "RESTIC_REPOSITORY": str(repository),
        "RESTIC_PASSWORD_FILE": str(secret),
        "RESTIC_CACHE_DIR": str(cache),
    }
    secret.write_bytes(PASSWORD)
    try:
        run("restic", "init", "--quiet", **settings)
        yield repository, settings
    finally:
        with undisturbed():
            remove(repository, secret, cache)


def restic_version() -> str:
    return subprocess.run(["restic", "version"], capture_output=True, text=True, check=False).stdout.strip()
