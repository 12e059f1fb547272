"""A source tree, by the programs people use: GNU tar, cp, find, rm, and git."""

import os
import shutil
import subprocess
from pathlib import Path

from rustfsfs.bench import caches, material
from rustfsfs.bench.figures import Better, Measured, Metric
from rustfsfs.bench.job import Job
from rustfsfs.bench.timing import timed
from rustfsfs.errors import MachineTrouble

METRICS = (
    Metric("untar", "untar a source tree", "entries/s"),
    Metric("git_status", "git status again", "s", Better.LOWER),
    Metric("git_status_cold", "git status, caches dropped", "s", Better.LOWER),
    Metric("find", "find by size, caches dropped", "entries/s"),
    Metric("tar_cold", "tar, caches dropped", "entries/s"),
    Metric("copy", "cp -a", "entries/s"),
    Metric("remove", "rm -rf", "entries/s"),
)
FOLDER = "src"
GIT_SETTINGS = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "gc.auto",  # else a commit leaves a process behind that packs what we pack
    "GIT_CONFIG_VALUE_0": "0",
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@localhost",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@localhost",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


def source_tree(job: Job) -> Measured:
    """Unpack a tree of `tree_count` files with its git repository, ask git, find, pack it, copy it, remove both.

    Entries are files, directories and what git keeps. The archive lies on a plain disk, in its page cache. "Cold" is
    after all caches of the machine were dropped; without root those figures are left out.
    """
    archive = _archive(job)
    root = Path(job.place.root, "tree")
    root.mkdir()
    yield "untar", _entries_of(archive) / _run_s("tar", "-xf", archive, "-C", root)
    entry_count = _entries_of(archive)
    tree, copy = root / FOLDER, root / "copy"
    if (tree / ".git").exists():
        _run_s("git", "-C", tree, "status")  # the times of all files are new to its index: it reads them all, once
        yield "git_status", _run_s("git", "-C", tree, "status")
        if caches.drop_all():
            yield "git_status_cold", _run_s("git", "-C", tree, "status")
    if caches.drop_all():
        yield "find", entry_count / _run_s("find", tree, "-size", "+1000k")
    if caches.drop_all():
        yield "tar_cold", entry_count / _pack_s(root)
    yield "copy", entry_count / _run_s("cp", "-a", tree, copy)
    yield "remove", 2 * entry_count / _run_s("rm", "-rf", tree, copy)
    root.rmdir()


def _archive(job: Job) -> Path:
    """Of the tree, made once and kept in the workshop."""
    archive, tree = job.workshop / "source.tar", job.workshop / FOLDER
    if archive.exists():
        return archive
    for file in material.source_tree(job.scale.tree_count):
        path = job.workshop / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.contents())
    if shutil.which("git"):
        for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "All"], ["gc", "-q"]):
            _run_s("git", "-C", tree, *arguments)
    unfinished = archive.with_suffix(".new")
    _run_s("tar", "-cf", unfinished, "-C", job.workshop, FOLDER)
    listed = subprocess.run(["tar", "-tf", unfinished], stdout=subprocess.PIPE, check=True).stdout
    _count_of(archive).write_text(str(listed.count(b"\n")))
    shutil.rmtree(tree)
    unfinished.rename(archive)
    return archive


def _count_of(archive: Path) -> Path:
    return archive.with_suffix(".count")


def _entries_of(archive: Path) -> int:
    return int(_count_of(archive).read_text())


def _run_s(*command: str | Path) -> float:
    """Seconds that a program took, its start included. Raises MachineTrouble if it fails."""
    try:
        with timed() as timer:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | GIT_SETTINGS)
    except (FileNotFoundError, subprocess.CalledProcessError) as exc:
        raise MachineTrouble(f"{command[0]} does not work ({exc})") from exc
    return timer.s


def _pack_s(root: Path) -> float:
    """tar through a pipe: GNU tar reads no contents when it sees that they go to /dev/null."""
    with timed() as timer:
        packing = subprocess.Popen(["tar", "-cf", "-", "-C", root, FOLDER], stdout=subprocess.PIPE)
        try:
            subprocess.run(["cat"], stdin=packing.stdout, stdout=subprocess.DEVNULL, check=True)
        finally:
            code = packing.wait()
    assert code == 0, "tar failed"
    return timer.s
