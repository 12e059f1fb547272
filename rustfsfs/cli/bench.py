"""rustfsfs bench: the workloads in a directory of the user's, on whatever file system it lies."""

import os
import tempfile
from pathlib import Path

import click

from rustfsfs.bench import chart, machine, report, runner, screen, systems
from rustfsfs.bench.caches import can_drop_all
from rustfsfs.bench.cleaning import interruptible
from rustfsfs.bench.scale import FULL, QUICK, Scale
from rustfsfs.bench.workloads import WORKLOADS, Workload, chosen, metrics_of
from rustfsfs.cli import exits, places
from rustfsfs.errors import MachineTrouble, UsageError
from rustfsfs.units import format_size

NAMES = ", ".join(workload.name for workload in WORKLOADS)


@click.command("bench")
@click.argument("directory", type=places.PATH, metavar="DIR")
@click.option("--quick", is_flag=True, help="smaller files and fewer of them: 30 s instead of some minutes")
@click.option(
    "--repeat", "repeats", type=click.IntRange(1, 100), metavar="N", default=1, show_default=True, help="how many times"
)
@click.option("--only", "names", multiple=True, metavar="NAME", help=f"a workload; repeat it. There are {NAMES}")
@click.option("--json", "json_path", type=places.FILE, help="write every figure to this file")
@click.option("--chart", "chart_path", type=places.FILE, help="draw them into this file: .svg or .png")
def command(
    directory: str, quick: bool, repeats: int, names: tuple[str, ...], json_path: str | None, chart_path: str | None
) -> int:
    """Measure how fast DIR is, a mount of rustfsfs or any other directory. Leaves nothing in it.

    Started by root it drops the caches of the whole machine again and again, and so measures more.

    \b
    rustfsfs bench /mnt --quick
    rustfsfs bench /mnt --only small --only tree --repeat 3 --json figures.json --chart figures.svg
    """
    scale, workloads, folder = QUICK if quick else FULL, chosen(names), Path(os.path.realpath(directory))
    check(folder, scale.space_bytes)
    for path in (json_path, chart_path):
        check_output(path)
    system = systems.Given(folder)
    results = measure(system, workloads, scale, repeats)
    metrics = metrics_of(workloads)
    facts = machine.describe(folder)
    screen.show(report.table(metrics, results, ()), [report.noise_sentence(results, repeats), *_left_out()])
    if json_path:
        versions = {system.name: system.version()}
        found = report.as_json(metrics, results, machine=facts, systems=versions, repeats=repeats)
        screen.write_json(found, Path(json_path))
    if chart_path:
        drawn = chart.alone(metrics, results[system.name], system=f"{folder} ({facts['file system']})")
        screen.write_chart(drawn, Path(chart_path))
    return exits.DONE


def measure(system: systems.System, workloads: list[Workload], scale: Scale, repeats: int) -> runner.Results:
    """What is prepared lies in the temporary directory, so that reading it costs DIR nothing."""
    with interruptible(), tempfile.TemporaryDirectory(prefix="rustfsfs-bench-") as workshop:
        check(Path(workshop), scale.workshop_bytes)
        return runner.run(
            [system],
            [workloads],
            base=Path(workshop),
            workshop=Path(workshop),
            scale=scale,
            repeats=repeats,
            note=screen.note,
        )


def check(folder: Path, space_bytes: int) -> None:
    """Raises UsageError, MachineTrouble: there, writable, with room enough?"""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MachineTrouble(f"{folder} cannot be written to")
    found = os.statvfs(folder)
    free_bytes = found.f_bavail * found.f_frsize
    if free_bytes < space_bytes:
        free, needed = format_size(free_bytes), format_size(space_bytes)
        raise MachineTrouble(f"{folder} has {free} free and the benchmark needs {needed}; --quick needs less")


def check_output(path: str | None) -> None:
    """Before minutes of work, not after. Raises UsageError."""
    if path and not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        raise UsageError(f"{path} cannot be written")


def _left_out() -> list[str]:
    if can_drop_all():
        return []
    return ["Only root can drop the caches; the figures that need it are left out."]
