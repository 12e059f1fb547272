"""git on the mount: clone, fsck, gc, pack, push, worktrees; the daemon killed while git packs, and remounts."""

import random
import time
from pathlib import Path

from tests.long.apps.place import Place, end, ran, start

PROGRAMS = ("git", "tar")
COMMITS = 400
FILES = 120
ATTEMPTS = 5
ENDS_S_MAX = 60.0  # git, when its mount is gone
WHO = "A <a@example.org>"
PLAIN = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "user.name=A", "-c", "user.email=a@example.org")


def cover(place: Place) -> dict[str, int]:
    origin, clone = place.scratch / "origin.git", place.point / "clone"
    ran("git", "init", "--quiet", "--bare", "--initial-branch=main", origin)
    ran("git", "fast-import", "--quiet", cwd=origin, text=history(place.draw))
    git(place.point, "clone", "--quiet", f"file://{origin}", str(clone))
    commit(clone, place.draw, 20)
    checked(clone)
    was = git(clone, "rev-parse", "HEAD^{tree}", "HEAD")
    killed_while_packing(place, clone)
    git(clone, "gc", "--quiet", "--prune=now")
    place.remount()
    checked(clone)
    assert git(clone, "rev-parse", "HEAD^{tree}", "HEAD") == was, "HEAD has moved"
    assert (dirty := git(clone, "status", "--porcelain")) == "", dirty
    commits = others(place, clone, origin)
    return {"commits": commits}


def git(folder: Path, *arguments: str) -> str:
    return ran("git", *PLAIN, *arguments, cwd=folder)


def history(draw: random.Random) -> str:
    """Commits on three branches that are merged now and then, for git fast-import."""
    lines: list[str] = []
    for number in range(1, COMMITS + 1):
        branch = draw.choice(["main", "main", "side", "other"]) if number > 5 else "main"
        lines += [f"commit refs/heads/{branch}", f"mark :{number}", f"committer {WHO} {1_700_000_000 + number} +0000"]
        lines += data(f"Commit {number}")
        if number > 5 and draw.random() < 0.1:
            lines.append(f"merge :{draw.randrange(1, number)}")
        for _ in range(draw.randrange(1, 6)):
            mode = draw.choice(["100644", "100644", "100755"])
            lines.append(f"M {mode} inline d{draw.randrange(9)}/f{draw.randrange(FILES)}.c")
            lines += data("\n".join(f"int x{draw.randrange(10**6)};" for _ in range(draw.choice([5, 100, 1500]))))
        if number % 50 == 0:
            lines += [f"tag v{number}", f"from :{number}", f"tagger {WHO} {1_700_000_000 + number} +0000"]
            lines += data(f"Version {number}")
    return "\n".join(lines) + "\n"


def data(text: str) -> list[str]:
    return [f"data {len(text)}", text]


def commit(clone: Path, draw: random.Random, count: int) -> None:
    """As a person does it: write files, add, commit; every object is a loose file."""
    for number in range(count):
        (clone / f"new{draw.randrange(5)}").write_text(f"{number} {draw.random()}\n" * draw.choice([1, 3000]))
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", f"By hand {number}")


def checked(repository: Path) -> None:
    """fsck reads every object; what is loose and unreferenced it only mentions."""
    git(repository, "fsck", "--full", "--strict", "--no-dangling", "--no-progress")


def killed_while_packing(place: Place, clone: Path) -> None:
    """Only a kill while it still packs counts."""
    command = ("git", *PLAIN, "repack", "-a", "-d", "-f", "--window=50", "-q")
    for attempt in range(1, ATTEMPTS + 1):
        packing = start(*command, cwd=clone, output=place.scratch / "log")
        try:
            time.sleep((0.1 + place.draw.random() * 0.4) / attempt)
            if packing.poll() is None:
                place.mounted.kill()
                packing.wait(ENDS_S_MAX)
                break
        finally:
            end(packing)
    assert packing.returncode != 0, "git was never killed while it packed"
    place.mount()
    checked(clone)


def others(place: Place, clone: Path, origin: Path) -> int:
    """A local clone (hard links), a worktree, a push to a bare repository here; all the same commits and trees."""
    local, bare, tree = (place.point / name for name in ("local", "bare.git", "tree"))
    git(place.point, "clone", "--quiet", str(clone), str(local))
    git(place.point, "init", "--quiet", "--bare", str(bare))
    git(clone, "push", "--quiet", "--mirror", str(bare))
    git(clone, "worktree", "add", "--quiet", str(tree), "v50")
    for repository in (local, bare):
        checked(repository)
    place.killed()
    want = git(clone, "rev-list", "--all", "--count")
    assert git(bare, "rev-list", "--all", "--count") == want, "a push has lost commits"
    assert git(clone, "archive", "v50") == git(origin, "archive", "v50")
    assert git(tree, "status", "--porcelain") == ""
    assert git(local, "rev-parse", "HEAD") == git(clone, "rev-parse", "HEAD")
    return int(want)
