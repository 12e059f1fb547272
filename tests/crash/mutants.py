"""Mutants: the code without one of its syncs, or with two steps in a wrong order. The suite catches every one.

Every call of `sync`, `sync_dir`, `barrier` and `commit` in the whole source is found there, so none can be
forgotten; orderings are listed by hand, and what would make a nonce repeat. A mutant has a process of its own:

    python -m tests.crash.mutants NAME     exit 0: caught; 1: it survived; 2: there is no such mutant
"""

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
SYNCS = {"sync", "sync_dir", "barrier", "commit", "fsync", "fdatasync"}

# site -> why no power cut of this suite can miss it
EXEMPT = {
    "world.py:sync:fdatasync": "the system call that the double stands for; test_publish sees it made",
    "world.py:sync_dir:fsync": "the same",
    "cli/format.py:_write_new:sync": "a recovery key's file, outside of any volume",
    "fuse/ops.py:fsync:barrier": "a handler, above what stories tell; test_promises sees the system call",
    "fuse/ops.py:fsyncdir:barrier": "the same",
    "fuse/ops.py:open:barrier": "nfs=strict, a handler: test_strict sees that the answer waits for it",
    "fuse/ops.py:wrapped:barrier": "the same",
    "store/disks.py:adopt_pack:sync": "no story recalls: test_disks cuts it everywhere",
    "store/disks.py:adopt_pack:sync_dir": "the same",
    "store/disks.py:adopt_pack:sync_dir 2": "the same",
    "volume/attaching.py:_change:commit": "cut off, the next opening says that it has to be attached again",
    "volume/restoring.py:put_in_place:sync": "works on real files, of a volume that is not open: test_restoring",
    "volume/restoring.py:put_in_place:sync_dir": "the same",
    "volume/durability.py:barrier:barrier": "the verb that all others call: its callers are mutants themselves",
    "volume/formatting.py:_all_or_nothing:sync_dir": "of directories that are made before the double is asked",
    "volume/formatting.py:_make_database:sync_dir": "SQLite syncs the directory of a new WAL itself; not relied on",
    "volume/scrubbing.py:_scrub_packs:commit": "bounds a transaction; what it commits is recorded all the same",
    "volume/drives.py:_empty:commit": "the same",
    "volume/scrubbing.py:_finish:commit": "has a pass recorded the sooner; lost, its end is found again",
    "volume/scrubbing.py:_scrub_metadata:commit": "shows the checks what is newest",
    "volume/pagesums.py:_write:sync": "no story empties a WAL: test_pagesums cuts it everywhere",
    "volume/pagesums.py:forget:sync_dir": "behind a failed write only: test_pagesums sees its use",
    "volume/epochs.py:_commit:barrier": "shortens the time the gate is shut; the one inside the gate is what counts",
    "tasks/epochs.py:run_epochs:commit": "says when an epoch ends; stories say it themselves",
    "volume/collecting.py:collect:commit": "frees the sooner; `delete_doomed` looks at what is committed, a mutant",
    "volume/collecting.py:_release:commit": "the same",
    "volume/opening.py:_close:commit": "an orderly end; without it the next opening recovers, as it does here",
    "volume/drives.py:add:commit": "`snapshots.take` comes right behind it, and waits for the op",
    "volume/drives.py:remove:commit": "the same",
    "volume/drives.py:_moved:commit": "were it lost, the disk would be named once more; nothing is deleted for it",
    "volume/snapshots.py:_take:commit": "makes the snapshot the newest; one of an older COMMIT is as whole",
    "volume/from_bucket.py:_made:sync_dir": "works on real files, of a volume that is not open: test_from_bucket",
    "volume/from_bucket.py:_put_journal_aside:sync_dir": "the same",
    "volume/offline.py:work:commit": "what a person said; cut off, he says it again",
    "volume/publishing.py:_copy:commit": "makes the copy the newest; one of an older COMMIT is as whole",
    "volume/publishing.py:publish:barrier": "no story has a bucket; test_publishing sees it before a delete",
    "volume/commands.py:_why_not:commit": "shows a person what is newest; nothing is deleted or answered for it",
    "volume/commands.py:fsck:commit": "the same",
}

# site -> the story that is known to notice its absence, where that is not one of the first
HUNTS = {
    "volume/commands.py:seal:commit": "('write', 'seal'), None",
    "volume/opening.py:_make_ready:commit": "recovery",
    "volume/drives.py:_prepare:sync_dir": "disks",
    "volume/drives.py:remove:commit 2": "disks",
    "volume/snapshots.py:_begin:sync_dir": "snapshots",
    "volume/snapshots.py:close:sync": "snapshots",
    "volume/snapshots.py:_publish:sync_dir": "snapshots",
    "volume/snapshots.py:_replace:barrier": "snapshots",
    "store/disks.py:finish_pack:sync": "kill with an open pack",
    "volume/owning.py:_attempt:barrier": "terms",
}


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in a module, once. For a sync: the statement at `line` becomes `pass`."""

    name: str
    path: str  # below rustfsfs/
    line: int = 0
    old: str = ""
    new: str = ""
    hunt: str = ""  # the story that is known to notice it, told first


ORDERINGS = (
    Mutant(
        "snapshots are deleted before the others are recorded",
        "volume/snapshots.py",
        old="    rows = {row.disk: row for row in disks.all_(volume.metadata)}\n",
        new="    await trio.to_thread.run_sync(delete_others, volume, {s.epoch for s in kept}, dict(volume.disks))\n"
        "    rows = {row.disk: row for row in disks.all_(volume.metadata)}\n    return\n",
    ),
    Mutant(
        "packs go before their rows are committed",
        "volume/collecting.py",
        old="if seq <= min(volume.activity.committed_seq, oldest_seq)",
        new="if seq <= oldest_seq",
    ),
    Mutant(
        "packs go although a snapshot names them",
        "volume/collecting.py",
        hunt="snapshots",
        old="if seq <= min(volume.activity.committed_seq, oldest_seq)",
        new="if seq <= volume.activity.committed_seq",
    ),
    Mutant(
        "segments are dropped that extents name",
        "volume/epochs.py",
        old="named = set(disks.hot_segments(metadata))",
        new="named = set[int]()",
    ),
    Mutant(
        "segments are dropped that a snapshot names",
        "volume/epochs.py",
        hunt="older snapshots",
        old="        named.update(snapshot.segments)\n",
        new="        pass\n",
    ),
    Mutant(
        "the header of a life's first segment does not name the cut",
        "journal/journal.py",
        old="        self._cuts.append(Cut(self.appended_seq, self._tag, self._number + 1))\n",
        new="        self._cuts.append(Cut(1 << 61, self._tag, self._number + 1))\n",
    ),
    Mutant(
        "a failed file is synced again and called good",
        "journal/journal.py",
        old="        if job.failed:\n            self._rewrite(job)\n",
        new="",
    ),
    Mutant(
        "a failed append lets the next record follow in the same file",
        "journal/journal.py",
        old="        file.failed = True\n        try:\n            self._roll()\n",
        new="        try:\n            pass\n",
    ),
    Mutant(
        "the cut of a failed append is named only by the next record",
        "journal/journal.py",
        hunt="recovery after a failed append",
        old="        file.failed = True\n        try:\n            self._roll()\n",
        new="        file.failed = True\n        try:\n            pass\n",
    ),
    Mutant(
        "the Seal op replaces what was overwritten meanwhile",
        "content/ranges.py",
        old="def replace_unchanged(",
        new="def replace_unchanged(current, sources, sealed):\n    return [sealed]\n\n\ndef _replace_unchanged(",
    ),
    Mutant(
        "a dedup hit is not looked up again in the turn that records it",
        "volume/sealing.py",
        old="        known = _usable(volume, piece.chunk_id)\n",
        new="        known = _seen.get(piece.chunk_id)\n",
    ),
    Mutant(
        "inode numbers are not reserved ahead",
        "volume/opening.py",
        hunt="inode numbers",
        old="inode=running.inode_limit if unclean else running.next_inode",
        new="inode=running.next_inode",
    ),
    Mutant(
        "a published header is not written aside first",
        "world.py",
        old='    temporary = path + ".new"\n',
        new="    temporary = path\n",
    ),
    Mutant(
        "recovery counts records beyond a named cut",
        "journal/recovery.py",
        old="            if seq > void_above:\n                break\n",
        new="",
    ),
    Mutant(
        "recovery reads what a failed sync left in memory only",
        "journal/recovery.py",
        hunt="lives of a journal",
        old="            files.forget_pages(fd)\n",
        new="",
    ),
    Mutant(
        "recovery drops the only header that names the cut",
        "journal/recovery.py",
        hunt="recovery after a failed append",
        old="file.name != keeper and ",
        new="",
    ),
    Mutant(
        "what was appended during a sync counts as synced",
        "journal/journal.py",
        hunt="lives of a journal",
        old="            if file.last_seq <= job.target_seq:\n",
        new="            if True:\n",
    ),
    Mutant(
        "segments are dropped whose records are not committed",
        "journal/journal.py",
        hunt="('seal', 'epoch then roll', 'fsync'), None",
        old="all(file.last_seq <= committed_seq and file not in self._unsynced for file in found)",
        new="True",
    ),
    Mutant(
        "segments are dropped that a snapshot in the making names",
        "volume/snapshots.py",
        hunt="snapshots being made",
        old="with volume.journal.pinned(set(made.segments)):",
        new="with volume.journal.pinned(set()):",
    ),
    Mutant(
        "packs go although a snapshot in the making names them",
        "volume/collecting.py",
        hunt="snapshots being made",
        old="oldest_seq = min([*snapshot_seqs, volume.pins.snapshot_seq, volume.pins.dropped_seq])",
        new="oldest_seq = min([*snapshot_seqs, 1 << 62])",
    ),
    Mutant(
        "a disk's header names a snapshot before it is there",
        "volume/snapshots.py",
        hunt="snapshots",
        old="    path = self._path(number)\n        self._files.rename(",
        new="    path = self._path(number)\n"
        "        _renew_header(self._volume, number, self._stores[number], self._epoch)\n        self._files.rename(",
    ),
    Mutant(
        "the header of a new volume comes before the rest",
        "volume/formatting.py",
        hunt="format",
        old='    world.files.mkdir(f"{path}/{JOURNAL}")\n',
        new='    write_volume_header(world.files, path, encoded)\n    world.files.mkdir(f"{path}/{JOURNAL}")\n',
    ),
    Mutant(
        "SQLite does not sync",
        "meta/database.py",
        old="PRAGMA synchronous = FULL;",
        new="PRAGMA synchronous = OFF;",
    ),
)

NONCES = (
    Mutant(
        "all segments of one number have one key",
        "journal/journal.py",
        old="SegmentName(self._number, 0, self._random_bytes(layout.SALT_SIZE))",
        new="SegmentName(self._number, 0, bytes(layout.SALT_SIZE))",
    ),
    Mutant(
        "the first piece of a write has the nonce of its op",
        "journal/layout.py",
        old="nonce = random[(index + 1) * NONCE_SIZE : (index + 2) * NONCE_SIZE]",
        new="nonce = random[index * NONCE_SIZE : (index + 1) * NONCE_SIZE]",
    ),
    Mutant(
        "all frames have one salt",
        "volume/sealing.py",
        old="salt=volume.world.random_bytes(codec.SALT_SIZE)",
        new="salt=bytes(codec.SALT_SIZE)",
    ),
    Mutant(
        "all pack directories have one salt",
        "store/disks.py",
        old="salt = self._world.random_bytes(layout.DIRECTORY_SALT_SIZE)",
        new="salt = bytes(layout.DIRECTORY_SALT_SIZE)",
    ),
    Mutant(
        "all headers of a disk have one salt",
        "store/headers.py",
        old="salt = world.random_bytes(SALT_SIZE)",
        new="salt = bytes(SALT_SIZE)",
    ),
)


def syncs() -> Iterator[Mutant]:
    """One mutant for every call in the source, but for what only measures: no volume depends on that."""
    for relative, source in sources():
        if not relative.startswith("bench/"):
            yield from _syncs_in(relative, source)


def sources() -> Iterator[tuple[str, str]]:
    """(path below rustfsfs/, text) of every module."""
    for path in sorted((ROOT / "rustfsfs").rglob("*.py")):
        yield str(path.relative_to(ROOT / "rustfsfs")), path.read_text()


def _syncs_in(relative: str, source: str) -> Iterator[Mutant]:
    for site, line in _sites(relative, source):
        if site not in EXEMPT:
            yield Mutant(f"without {site}", relative, line=line, hunt=HUNTS.get(site, ""))


def sites_in(relative: str, source: str) -> list[str]:
    """`path:function:call` of every sync in a module; the second such call of a function ends with ` 2`."""
    return [site for site, _line in _sites(relative, source)]


def _sites(relative: str, source: str) -> Iterator[tuple[str, int]]:
    counts: dict[str, int] = {}
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in _own_statements(function):
                called = _called(statement)
                if called in SYNCS:
                    site = f"{relative}:{function.name}:{called}"
                    counts[site] = counts.get(site, 0) + 1
                    yield site + (f" {counts[site]}" if counts[site] > 1 else ""), statement.lineno


def _own_statements(function: ast.AST) -> Iterator[ast.Expr]:
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.Expr):
            yield node
        yield from _own_statements(node)


def _called(statement: ast.Expr) -> str | None:
    """The name of what is called in a statement that is nothing but a call, by `_try` too."""
    call = statement.value.value if isinstance(statement.value, ast.Await) else statement.value
    if not isinstance(call, ast.Call):
        return None
    for argument in call.args:
        if isinstance(argument, ast.Lambda) and isinstance(argument.body, ast.Call):
            call = argument.body
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else None


def mutants() -> dict[str, Mutant]:
    return {mutant.name: mutant for mutant in [*syncs(), *ORDERINGS, *NONCES]}


def source_of(mutant: Mutant) -> str:
    """The mutated module. Raises LookupError if the code has changed under the mutant."""
    source = (ROOT / "rustfsfs" / mutant.path).read_text()
    if mutant.line:
        tree = ast.parse(source)
        found = [n for n in ast.walk(tree) if isinstance(n, ast.Expr) and n.lineno == mutant.line]
        lines = source.splitlines(keepends=True)
        start, end, indent = mutant.line - 1, found[0].end_lineno or mutant.line, found[0].col_offset
        lines[start:end] = [" " * indent + "pass\n"]
        return "".join(lines)
    if source.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: {mutant.path} holds its text {source.count(mutant.old)} times")
    mutated = source.replace(mutant.old, mutant.new)
    if "_seen" in mutant.new:
        mutated = mutated.replace(
            "def _usable(", "_seen = {}\n\n\ndef _usable(volume, wanted):\n"
            "    found = _really_usable(volume, wanted)\n    _seen[wanted] = found\n    return found\n\n\n"
            "def _really_usable("
        )  # fmt: skip
    return mutated


def digest_of(mutant: Mutant) -> str:
    """Names the mutated module as it is now: another text is another mutant."""
    return hashlib.sha256(source_of(mutant).encode()).hexdigest()[:16]


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutated module when it is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = "rustfsfs." + mutant.path.removesuffix(".py").replace("/", ".")
        self._code = compile(source_of(mutant), mutant.path, "exec")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        code: CodeType = self._code
        exec(code, module.__dict__)


def is_caught(mutant: Mutant) -> bool:
    """Run the stories until one fails."""
    sys.meta_path.insert(0, _Importer(mutant))
    from tests.crash import hunt

    logging.getLogger("rustfsfs").disabled = True
    with tempfile.TemporaryDirectory() as folder:
        return hunt.fails(Path(folder), mutant.hunt)


def main() -> int:
    found = mutants().get(sys.argv[1])
    if found is None:
        print(f"there is no mutant {sys.argv[1]!r}")
        return 2
    return 0 if is_caught(found) else 1


if __name__ == "__main__":
    sys.exit(main())
