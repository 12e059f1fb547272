"""Runs workloads on systems in turn: repeat 1 of a workload on every system, the next workload, ..., repeat 2."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rustfsfs.bench.figures import Repeats
from rustfsfs.bench.place import Place
from rustfsfs.bench.scale import Scale
from rustfsfs.bench.systems import System
from rustfsfs.bench.workloads import Workload

Note = Callable[[str], None]  # told what is done now
Results = dict[str, Repeats]  # by system


def run(
    systems: Sequence[System],
    batches: Sequence[Sequence[Workload]],
    *,
    base: Path,
    scale: Scale,
    repeats: int,
    note: Note,
) -> Results:
    """All figures. The workloads of one batch run in one mount, one after the other; every batch gets a new one."""
    results: Results = {system.name: {} for system in systems}
    for repeat in range(repeats):
        for batch in batches:
            wanted = [workload for workload in batch if not (workload.once and repeat)]
            for system in systems if wanted else ():
                with system.mounted(base) as place:
                    for workload in wanted:
                        note(f"repeat {repeat + 1} of {repeats}: {workload.name} on {system.name}")
                        _keep(results[system.name], measure(workload, place, scale))
    return results


def measure(workload: Workload, place: Place, scale: Scale) -> dict[str, float]:
    """One run of one workload."""
    found = dict(workload.run(place, scale))
    assert set(found) <= {metric.key for metric in workload.metrics}, (workload.name, set(found))
    return found


def _keep(repeats: Repeats, found: dict[str, float]) -> None:
    for key, value in found.items():
        repeats.setdefault(key, []).append(value)
