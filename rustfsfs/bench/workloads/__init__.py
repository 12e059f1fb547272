"""The workloads by name. Each is a function of a place and a scale that yields figures, and leaves the place empty."""

from collections.abc import Callable
from dataclasses import dataclass

from rustfsfs.bench.figures import Measured, Metric
from rustfsfs.bench.place import Place
from rustfsfs.bench.scale import Scale
from rustfsfs.bench.workloads import small


@dataclass(frozen=True, slots=True)
class Workload:
    """`run` yields some of `metrics`: those that can be had on this machine and system."""

    name: str
    metrics: tuple[Metric, ...]
    run: Callable[[Place, Scale], Measured]
    once: bool = False  # a count rather than a speed: repeating it shows nothing


WORKLOADS = (Workload("small", small.METRICS, small.small_files),)
