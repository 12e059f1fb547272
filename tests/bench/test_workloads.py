"""Every workload, as small as can be, in a directory that is no mount."""

import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from rustfsfs.bench import caches, cleaning, runner, systems
from rustfsfs.bench.cleaning import interruptible, undisturbed
from rustfsfs.bench.figures import Better
from rustfsfs.bench.job import Job
from rustfsfs.bench.place import Directory
from rustfsfs.bench.scale import FULL, QUICK, TINY
from rustfsfs.bench.workloads import MEMORY, WORKLOADS, Workload, chosen, metrics_of
from rustfsfs.cli import bench
from rustfsfs.cli.main import rustfsfs
from rustfsfs.errors import MachineTrouble, UsageError

ONLY_SEALED = {"overwrite", "sealing"}  # yield nothing where nothing is sealed


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test drops the caches of the whole machine."""
    monkeypatch.setattr(caches, "DROP_CACHES", Path("/nonexistent"))


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_workload_yields_its_figures_and_leaves_nothing(workload: Workload, tmp_path: Path) -> None:
    root, workshop = tmp_path / "root", tmp_path / "workshop"
    root.mkdir()
    workshop.mkdir()
    found: dict[str, float] = {}
    runner.measure(workload, Job(Directory(root), TINY, workshop), found)
    assert set(found) <= {metric.key for metric in workload.metrics}
    assert bool(found) != (workload.name in ONLY_SEALED)
    assert all(value > 0 for value in found.values())
    assert list(root.iterdir()) == []


def test_keys_and_names_are_used_once() -> None:
    keys = [metric.key for metric in metrics_of(WORKLOADS)]
    assert len(keys) == len(set(keys))
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)
    assert MEMORY.better is Better.LOWER


def test_only_those_chosen_run_in_their_own_order() -> None:
    assert [workload.name for workload in chosen(["fsync", "small"])] == ["small", "fsync"]
    assert chosen([]) == list(WORKLOADS)
    with pytest.raises(UsageError, match="there is no workload smal"):
        chosen(["smal"])


def test_sizes_are_whole_blocks_and_fit_the_room_asked_for() -> None:
    for scale in (FULL, QUICK, TINY):
        for size_bytes in (scale.stream_bytes, scale.text_bytes, scale.large_bytes, scale.overwrite_bytes):
            assert size_bytes % (1 << 20) == 0
            assert size_bytes < scale.space_bytes


def test_systems_take_turns_and_each_batch_has_its_own_mount(tmp_path: Path) -> None:
    order: list[str] = []
    disk, other = systems.PlainDisk(), systems.PlainDisk("other")
    fsync, odd = chosen(["fsync"]), chosen(["odd"])
    results = runner.run(
        [disk, other], [fsync, odd], base=tmp_path, workshop=tmp_path, scale=TINY, repeats=2, note=order.append
    )
    assert [text.partition(": ")[2] for text in order[:4]] == [
        "fsync on disk",
        "fsync on other",
        "odd on disk",
        "odd on other",
    ]
    assert len(order) == 8 and all(len(values) == 2 for values in results["other"].values())
    assert list(tmp_path.iterdir()) == []


def test_what_is_counted_once_is_not_repeated(tmp_path: Path) -> None:
    order: list[str] = []
    once = chosen(["overwrite"])
    runner.run(
        [systems.PlainDisk()], [once], base=tmp_path, workshop=tmp_path, scale=TINY, repeats=3, note=order.append
    )
    assert len(order) == 1


def test_too_little_room_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MachineTrouble, match=r"has .* free and the benchmark needs 1.0 PiB"):
        bench.check(tmp_path, 1 << 50)
    with pytest.raises(UsageError, match="is not a directory"):
        bench.check(tmp_path / "none", 1)


def test_the_command_writes_what_it_was_asked_for(tmp_path: Path) -> None:
    folder, figures, drawn = tmp_path / "d", tmp_path / "f.json", tmp_path / "f.svg"
    folder.mkdir()
    arguments = ["bench", str(folder), "--quick", "--only", "fsync", "--json", str(figures), "--chart", str(drawn)]
    done = CliRunner().invoke(rustfsfs, arguments, standalone_mode=False)
    assert done.exception is None, done
    assert "fsync of a 4 KiB append" in done.stdout
    assert '"fsync_p99"' in figures.read_text() and drawn.read_text().startswith("<svg")
    assert list(folder.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), interruptible():
        runner.run(
            [systems.Given(tmp_path)],
            [chosen(["fsync"])],
            base=tmp_path,
            workshop=tmp_path,
            scale=TINY,
            repeats=1,
            note=interrupt,
        )
    assert list(tmp_path.iterdir()) == []


def test_cleaning_up_is_not_interrupted(tmp_path: Path) -> None:
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    with pytest.raises(KeyboardInterrupt), interruptible(), undisturbed():
        signal.raise_signal(signal.SIGINT)  # to this thread: who runs the tests may have others
        cleaning.remove(tmp_path / "tree", tmp_path / "file", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
