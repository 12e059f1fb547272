"""tar of a hard tree: packed and unpacked on the mount, compared there and back; an incremental one over a remount."""

import stat
import time
from pathlib import Path
from typing import Any

from tests.long.apps import trees
from tests.long.apps.place import Place, ran

PROGRAMS = ("tar", "setfacl")
ALL = ("--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--sparse", "--numeric-owner")


def cover(place: Place) -> dict[str, int]:
    source, back, there = place.scratch / "source", place.scratch / "back", place.folder("there")
    source.mkdir()
    back.mkdir()
    trees.grow(source, place.draw)
    outward, homeward = place.point / "outward.tar", place.point / "homeward.tar"
    ran("tar", "-c", "-f", outward, *ALL, "-C", source, ".")
    ran("tar", "-x", "-p", "-f", outward, *ALL, "-C", there)
    ran("tar", "--compare", "-f", outward, *ALL, "-C", there)
    place.killed()
    ran("tar", "-c", "-f", homeward, *ALL, "-C", there, ".")
    place.remount()
    ran("tar", "-x", "-p", "-f", homeward, *ALL, "-C", back)
    for tree in (source, there, back):
        ran("tar", "--compare", "-f", homeward, *ALL, "-C", tree)
    want = as_tar_keeps(trees.describe(source))
    for tree in (there, back):
        trees.assert_same(as_tar_keeps(trees.describe(tree)), want, f"{tree} after tar")
    nothing_is_new_after_a_remount(place, there)
    return {"entries": 2 * len(want)}


def as_tar_keeps(tree: dict[str, Any]) -> dict[str, Any]:
    """tar leaves sockets out, and makes two fifos of one with two names."""
    kept = {name: facts for name, facts in tree.items() if not stat.S_ISSOCK(int(facts["mode"], 8))}
    fifos = {name for name, facts in kept.items() if stat.S_ISFIFO(int(facts["mode"], 8))}
    return {name: {**facts, "links": [], "nlink": 0} if name in fifos else facts for name, facts in kept.items()}


def nothing_is_new_after_a_remount(place: Place, tree: Path) -> None:
    """tar tells by inode number and ctime, so both have to last. What is of the future it takes every time."""
    listed = ["--listed-incremental", str(place.scratch / "list"), "--no-check-device", *ALL, "-C", str(tree), "."]
    ran("tar", "-c", "-f", "/dev/null", *listed)
    place.remount()
    later = place.scratch / "later.tar"
    ran("tar", "-c", "-f", later, *listed)
    now_ns = time.time_ns()
    taken = ran("tar", "-t", "-v", "--full-time", "-f", later)
    files = [line for line in taken.splitlines() if not line.startswith("d")]
    of_the_future = as_tar_keeps(trees.describe(tree)).values()
    want = sum(facts["mtime_ns"] > now_ns and not stat.S_ISDIR(int(facts["mode"], 8)) for facts in of_the_future)
    assert len(files) == want, f"tar takes {len(files)} files for changed after a remount, not {want}: {files}"
