"""`make bench`, `bench-quick`, `bench-corpus`: all systems in turn, the guard against regressions, bytes stored.

python -m rustfsfs.bench compare --out DIR [--dir DIR] [--repeat N] [--only NAME]... [--systems NAME,...] [--quick]
python -m rustfsfs.bench guard [--dir DIR] [--update]
python -m rustfsfs.bench corpus [--out DIR] [--dir DIR] [--tiny]
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rustfsfs.bench import chart, corpus, guard, machine, report, runner, screen, stored, systems
from rustfsfs.bench.cleaning import interruptible
from rustfsfs.bench.scale import FULL, GUARD, QUICK
from rustfsfs.bench.workloads import chosen, metrics_of
from rustfsfs.errors import RustfsfsError, UsageError

RATIOS = Path(__file__).with_name("ratios.json")
COMPARISONS = (
    ("rustfsfs", "null"),
    ("rustfsfs", "disk"),
    ("gocryptfs", "null"),
    ("bindfs", "null"),
)
CHARTED = ("rustfsfs", "gocryptfs", "bindfs")
GUARDED = ("small", "tree", "stream", "random", "fsync")  # the workloads that yield guard.KEYS
INTERRUPTED = 130  # as the commands say it


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        with interruptible():
            return int(options.work(options))
    except RustfsfsError as exc:
        print(f"rustfsfs bench: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("rustfsfs bench: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rustfsfs.bench", description="The benchmark of all systems.")
    commands = parser.add_subparsers(required=True)
    comparing = commands.add_parser("compare", help="every workload on every system")
    comparing.set_defaults(work=compare)
    comparing.add_argument("--out", type=Path, default=Path(".results"), help="folder of the table, JSON and chart")
    comparing.add_argument("--repeat", type=int, default=3)
    comparing.add_argument("--only", default="", help="workloads, with commas")
    comparing.add_argument("--systems", default="", help="systems, with commas")
    comparing.add_argument("--mount-options", default="", help="of rustfsfs, with commas")
    comparing.add_argument("--quick", action="store_true", help="small sizes")
    guarding = commands.add_parser("guard", help="fail if a key ratio is below 80 %% of the committed one")
    guarding.set_defaults(work=watch)
    guarding.add_argument("--repeat", type=int, default=3)
    guarding.add_argument("--update", action="store_true", help="commit to what is measured now")
    storing = commands.add_parser("corpus", help="bytes stored, beside restic's; fail above 1.05 times as many")
    storing.set_defaults(work=store)
    storing.add_argument("--out", type=Path, default=Path(".results"), help="folder of corpus.json")
    storing.add_argument("--tiny", action="store_true", help="a corpus of some MiB, as in the tests")
    for each in (comparing, guarding, storing):
        each.add_argument("--dir", type=Path, default=Path(".results"), help="where the file systems are made")
    return parser


def known_systems(mount_options: Sequence[str] = ()) -> dict[str, systems.System]:
    found: list[systems.System] = [
        systems.PlainDisk(),
        systems.null(),
        systems.Rustfsfs(mount_options=mount_options),
        systems.gocryptfs(),
        systems.bindfs(),
    ]
    return {system.name: system for system in found}


def available(known: dict[str, systems.System], names: Sequence[str]) -> list[systems.System]:
    """Those of `names`, or all; what is not installed is named and left out. Raises UsageError."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no system {unknown[0]}; there are {', '.join(known)}")
    wanted = [system for name, system in known.items() if not names or name in names]
    for system in wanted:
        if (why := system.missing()) is not None:
            print(f"{why}.", file=sys.stderr)
    return [system for system in wanted if system.missing() is None]


@contextmanager
def working_directory(parent: Path) -> Iterator[tuple[Path, Path]]:
    """Where the systems are made, and the workshop beside them."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent.resolve()) as folder:
        workshop = Path(folder, "workshop")
        workshop.mkdir()
        yield Path(folder), workshop


def compare(options: argparse.Namespace) -> int:
    """`make bench`: one table, and bench.md, bench.json and bench.svg in the output folder."""
    workloads = chosen(_names(options.only))
    found = available(known_systems(_names(options.mount_options)), _names(options.systems))
    scale = QUICK if options.quick else FULL
    with working_directory(options.dir) as (base, workshop):
        facts = machine.describe(base)
        results = runner.run(
            found,
            [[workload] for workload in workloads],
            base=base,
            workshop=workshop,
            scale=scale,
            repeats=options.repeat,
            note=screen.note,
        )
    versions = {system.name: system.version() for system in found}
    metrics = metrics_of(workloads)
    table = report.table(metrics, results, [pair for pair in COMPARISONS if set(pair) <= set(results)])
    said = [report.noise_sentence(results, options.repeat), screen.describe(facts | versions), report.NOTES]
    screen.show(table, said)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.md").write_text("\n".join([report.markdown(table), *said, ""]))
    as_json = report.as_json(metrics, results, machine=facts, systems=versions, repeats=options.repeat)
    screen.write_json(as_json, options.out / "bench.json")
    if "null" in results:
        groups = {workload.title: workload.metrics for workload in workloads}
        drawn = chart.compared(groups, results, base="null", systems=[name for name in CHARTED if name in results])
        screen.write_chart(drawn, options.out / "bench.svg")
    print(f"Written to {options.out}: bench.md, bench.json, bench.svg")
    return 0


def watch(options: argparse.Namespace) -> int:
    """`make bench-quick`: one sentence for each key ratio that has become worse, exit code 1.

    All of it on one processor: on a shared machine what takes longest is often to wake another one, and the same ratio
    then spread by 120 % within a run, on one by 40 % (DESIGN.md §15).
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    workloads = chosen(GUARDED)
    wanted = available(known_systems(), ["disk", "null", guard.SYSTEM])
    with working_directory(options.dir) as (base, workshop):
        results = runner.run(
            wanted, [workloads], base=base, workshop=workshop, scale=GUARD, repeats=options.repeat, note=screen.note
        )
    found = guard.measured({metric.key: metric for metric in metrics_of(workloads)}, results)
    for name, values in found.items():
        print(f"{name:<24} {'  '.join(f'{value:5.2f}' for value in values)}")
    if options.update:
        screen.write_json(guard.to_commit(found), RATIOS)
        print(f"Written to {RATIOS}.")
        return 0
    said = guard.failures(json.loads(RATIOS.read_text()), found)
    for sentence in said:
        print(sentence)
    return 1 if said else 0


def store(options: argparse.Namespace) -> int:
    """`make bench-corpus`: one row a part; exit code 1 if all of it takes more than GOAL times restic's bytes."""
    if (why := stored.missing()) is not None:
        print(f"rustfsfs bench: {why}", file=sys.stderr)
        return why.exit_code
    with working_directory(options.dir) as (base, workshop):
        facts = machine.describe(base)
        screen.note("making the corpus")
        parts = corpus.make(workshop, corpus.TINY if options.tiny else corpus.FULL)
        given = [stored.given_bytes(part) for part in parts]
        screen.note("rustfsfs stores it")
        ours, ours_s = zip(*stored.by_rustfsfs(parts, base), strict=True)
        screen.note("restic stores it")
        restic, restic_s = zip(*stored.by_restic(parts, base), strict=True)
    rows = stored.rows([part.name for part in parts], given, ours, restic)
    said = stored.sentences(rows[-1], ours_s=sum(ours_s), restic_s=sum(restic_s))
    screen.show(stored.table(rows), [*said, screen.describe(facts | {"restic": stored.restic_version()})])
    options.out.mkdir(parents=True, exist_ok=True)
    screen.write_json({"machine": facts, "rows": stored.as_json(rows)}, options.out / "corpus.json")
    return 0 if rows[-1].ratio <= stored.GOAL else 1


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
