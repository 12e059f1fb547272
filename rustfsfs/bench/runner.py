"""Runs workloads on systems in turn: repeat 1 of a workload on every system, the next workload, ..., repeat 2."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rustfsfs.bench.figures import Repeats
from rustfsfs.bench.job import Job
from rustfsfs.bench.scale import Scale
from rustfsfs.bench.systems import System
from rustfsfs.bench.workloads import MEMORY, Workload
from rustfsfs.units import MIB

Note = Callable[[str], None]  # told what is done now
Results = dict[str, Repeats]  # by system


def run(
    systems: Sequence[System],
    batches: Sequence[Sequence[Workload]],
    *,
    base: Path,
    workshop: Path,
    scale: Scale,
    repeats: int,
    note: Note,
) -> Results:
    """All figures. The workloads of one batch run in one mount, one after the other; every batch gets a new one.

    base      a directory on the disk that the systems lie on; they make and remove their own below it
    workshop  an empty directory on a plain disk
    """
    results: Results = {system.name: {} for system in systems}
    for repeat in range(repeats):
        found: dict[str, dict[str, float]] = {system.name: {} for system in systems}
        for batch in batches:
            wanted = [workload for workload in batch if not (workload.once and repeat)]
            for system in systems if wanted else ():
                with system.mounted(base) as place:
                    job = Job(place, scale, workshop)
                    for workload in wanted:
                        note(f"repeat {repeat + 1} of {repeats}: {workload.name} on {system.name}")
                        measure(workload, job, found[system.name])
        for name, figures in found.items():
            for key, value in figures.items():
                results[name].setdefault(key, []).append(value)
    return results


def measure(workload: Workload, job: Job, found: dict[str, float]) -> None:
    """Run a workload once; its figures and the daemon's memory join what this repeat has found."""
    keys = {metric.key for metric in workload.metrics}
    for key, value in workload.run(job):
        assert key in keys, (workload.name, key)
        found[key] = value
    memory_bytes = job.place.memory_bytes_max()
    if memory_bytes is not None:
        found[MEMORY.key] = max(found.get(MEMORY.key, 0.0), memory_bytes / MIB)
