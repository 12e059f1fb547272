"""rsync -aHAX of a hard tree onto the mount, over a remount, and back; then of a changed one, in place."""

import os
import random
from pathlib import Path

from tests.long.apps import trees
from tests.long.apps.place import Place, ran

PROGRAMS = ("rsync", "setfacl")
EXACT = "--modify-window=-1"  # otherwise a time changed within its second is the same to rsync


def cover(place: Place) -> dict[str, int]:
    source, back = place.scratch / "source", place.scratch / "back"
    there = place.point / "there"
    source.mkdir()
    trees.grow(source, place.draw)
    copy(source, there)
    place.remount()
    copy(there, back, "--sparse")
    entries = compared(source, there, back)
    change(source, place.draw)
    copy(source, there, "--inplace", "--no-whole-file", EXACT)
    place.killed()
    copy(there, back, "--no-whole-file", EXACT)
    return {"entries": entries + compared(source, there, back)}


def copy(source: Path, target: Path, *more: str) -> None:
    ran("rsync", "-aHAX", "--numeric-ids", "--delete", *more, f"{source}/", f"{target}/")


def compared(source: Path, there: Path, back: Path) -> int:
    """The number of entries found the same, by rsync (which reads all the bytes) and by ourselves."""
    want = trees.describe(source)
    for copied in (there, back):
        told = ran("rsync", "-aHAXcn", "--numeric-ids", "--itemize-changes", "--delete", f"{source}/", f"{copied}/")
        assert told == "", f"rsync finds differences in {copied}: {told[:1000]}"
        trees.assert_same(trees.describe(copied), want, f"{copied} after rsync")
    return 2 * len(want)


def change(root: Path, draw: random.Random) -> None:
    """Some files go, some are renamed, some get other bytes, modes or xattrs."""
    for path in draw.sample(trees.plain_files(root), 60):
        kind = draw.randrange(5)
        if kind == 0:
            path.unlink()
        elif kind == 1:
            path.rename(path.with_name(f"f-{path.name}"))
        elif kind == 2:
            with open(path, "r+b") as file:
                file.seek(draw.randrange(path.lstat().st_size + 1))
                file.write(draw.randbytes(300))
        elif kind == 3:
            os.chmod(path, draw.choice(trees.MODES))
        else:
            os.setxattr(path, "user.later", b"more")
