"""The workloads by name. Each is a function of a job that yields figures, and leaves its place empty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rustfsfs.bench.figures import Better, Measured, Metric
from rustfsfs.bench.job import Job
from rustfsfs.bench.workloads import odd, parallel, scattered, sealing, small, sqlite, stream, syncs, tree
from rustfsfs.errors import UsageError


@dataclass(frozen=True, slots=True)
class Workload:
    """`run` yields some of `metrics`: those that can be had on this machine and system."""

    name: str  # as --only takes it
    title: str
    metrics: tuple[Metric, ...]
    run: Callable[[Job], Measured]
    once: bool = False  # a count rather than a speed: repeating it shows nothing


WORKLOADS = (
    Workload("small", "many small files", small.METRICS, small.small_files),
    Workload("tree", "a source tree, by programs", tree.METRICS, tree.source_tree),
    Workload("stream", "large files, front to back", stream.METRICS, stream.stream),
    Workload("odd", "odd write sizes", odd.METRICS, odd.odd_writes),
    Workload("random", "random 4 KiB requests", scattered.METRICS, scattered.scattered),
    Workload("overwrite", "overwriting what is sealed", scattered.OVERWRITE_METRICS, scattered.overwrite, once=True),
    Workload("fsync", "fsync", syncs.METRICS, syncs.fsyncs),
    Workload("beside", "fsync beside a stream", syncs.BESIDE_METRICS, syncs.beside_a_stream),
    Workload("sqlite", "SQLite", sqlite.METRICS, sqlite.transactions),
    Workload("parallel", "several at once", parallel.METRICS, parallel.parallel),
    Workload("sealing", "beside the sealer", sealing.METRICS, sealing.beside_the_sealer),
)
MEMORY = Metric("memory", "daemon's resident memory, most", "MiB", Better.LOWER)  # over all workloads of a repeat


def chosen(names: Sequence[str]) -> list[Workload]:
    """The workloads of these names, in their own order; all if none is named. Raises UsageError."""
    known = {workload.name: workload for workload in WORKLOADS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no workload {unknown[0]}; there are {', '.join(known)}")
    return [workload for workload in WORKLOADS if not names or workload.name in names]


def metrics_of(workloads: Sequence[Workload]) -> list[Metric]:
    """In the table's order."""
    return [metric for workload in workloads for metric in workload.metrics] + [MEMORY]
