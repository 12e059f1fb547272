"""make test-rot: 2 000 cases of rot, most through the library, every fortieth through a mount.

A byte of a stored object is flipped, its file cut, two objects of a kind change places, or an older self is put back.
All of it is noticed, no wrong byte is ever returned, the harm stays with its own files; with two copies all damage to
packs, headers and snapshots is mended. As root: the volumes lie in a tmpfs.
"""

import logging
import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.long.results import Suite, run
from tests.mounted import Mounted
from tests.rot.cases import NEEDED_BY_ALL, WAYS, Case, draw_case, judged
from tests.rot.stored import KINDS, Rottable
from tests.volume.on_disk import Key

CASES = 2000
MOUNT_EVERY = 40


@contextmanager
def rottable(copies: int) -> Iterator[Rottable]:
    with tempfile.TemporaryDirectory() as base:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", base], check=True)
        try:
            volume = Rottable(Path(base), copies)
            volume.make()
            yield volume
        finally:
            subprocess.run(["umount", "-l", base], check=False)


def judged_on_mount(volume: Rottable, case: Case) -> str | None:
    """The same promises, as a user meets them: reads through the kernel, `rustfsfs scrub` and `fsck`."""
    with tempfile.TemporaryDirectory() as base:
        mounted = Mounted(Path(base))
        mounted.volume = volume.path
        mounted.key.write_bytes(Key().value)
        refused = mounted.run("mount", volume.path, mounted.point, "--key-file", mounted.key, check=False)
        try:
            if refused.returncode:
                noticed = refused.returncode in (3, 4, 6)
                wanted = noticed and case.stored.kind in NEEDED_BY_ALL
                return None if wanted else f"the mount was refused: {refused.stderr}"
            return _read_and_scrub(volume, case, mounted)
        finally:
            mounted.end()


def _read_and_scrub(volume: Rottable, case: Case, mounted: Mounted) -> str | None:
    failed = set()
    for name, data in volume.contents.items():
        try:
            if (mounted.point / name).read_bytes() != data:
                return f"{name} came back with wrong bytes"
        except OSError:
            failed.add(name)
    scrubbed = mounted.run("scrub", mounted.point, check=False)
    healthy = mounted.status()["healthy"]
    if scrubbed.returncode == 0 and not failed:
        mended_at_opening = case.stored.kind in ("slot", "header", "disk header", "page sums")
        return None if mended_at_opening else "it was not noticed"
    if healthy:
        return "status says that all is well"
    if volume.copies == 1:
        return None
    mounted.run("scrub", mounted.point, "--repair", check=False)
    left = mounted.run("scrub", mounted.point, check=False)
    is_packs = case.stored.kind in ("frame", "directory", "pack header")
    return f"not mended: {left.stdout}" if is_packs and left.returncode else None


def quiet() -> None:
    """The library says of every case what it found: that is judged, not shown."""
    for name in ("rustfsfs", "rustfsfs.notice"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def work(suite: Suite) -> None:
    quiet()
    with ExitStack() as stack:
        volumes = [stack.enter_context(rottable(copies)) for copies in (1, 2)]
        draw = random.Random(suite.seed)
        while suite.has_time and suite.totals.get("cases", 0) < CASES:
            number = suite.totals.get("cases", 0)
            volume = volumes[number % 2]
            kind, way = draw.choice(KINDS), draw.choice(WAYS)
            case = draw_case(volume, kind, way, draw)
            if case is None:
                continue
            on_mount = number % MOUNT_EVERY == number // MOUNT_EVERY % 2  # of both volumes in turn
            try:
                trouble = judged_on_mount(volume, case) if on_mount else judged(volume, case)
            finally:
                volume.restore()
            assert trouble is None, f"{case}, seed {suite.seed}: {trouble}"
            suite.count(cases=1, on_mounts=int(on_mount), **{f"{way}s": 1})


if __name__ == "__main__":
    run(Suite("rot", minutes=30), work, needs="cases")
