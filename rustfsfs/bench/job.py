"""What a workload is given."""

from dataclasses import dataclass
from pathlib import Path

from rustfsfs.bench.place import Place
from rustfsfs.bench.scale import Scale


@dataclass(frozen=True, slots=True)
class Job:
    place: Place
    scale: Scale
    workshop: Path  # on a plain disk, for what is prepared once and used by all
