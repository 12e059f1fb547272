"""make test-posix PJDFSTEST=DIR: pjdfstest's assertions on a mount, and again after a remount.

DIR holds a built pjdfstest (the program and its folder tests/), which is no part of this project. Needs perl's prove.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.long.results import Suite, run
from tests.mounted import Mounted

PLANNED = 8798  # assertions for Linux
OPTIONS = "dev,suid,allow_other"  # default_permissions always


def work(suite: Suite) -> None:
    where = os.environ.get("PJDFSTEST", "")
    tests = Path(where) / "tests"
    if not where or not tests.is_dir():
        print("name the folder of a built pjdfstest: make test-posix PJDFSTEST=DIR")
        sys.exit(2)
    if shutil.which("prove") is None:
        print("prove is missing; install the package perl")
        sys.exit(2)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        mounted = Mounted(Path(folder))
        mounted.format()
        mounted.mount("-o", OPTIONS)
        try:
            for name in ("first", "after a remount"):
                suite.count(assertions=prove(mounted, tests, name))
                mounted.remount("-o", OPTIONS)
            mounted.umount()
            assert mounted.fsck("--data") == []
        finally:
            mounted.clean_up()


def prove(mounted: Mounted, tests: Path, name: str) -> int:
    """The number of assertions that passed. Raises AssertionError for one that did not."""
    place = mounted.point / name.replace(" ", "-")
    place.mkdir()
    os.chmod(mounted.point, 0o755)
    done = subprocess.run(
        ["prove", "-r", str(tests.resolve())], cwd=place, capture_output=True, text=True, check=False, timeout=3600
    )
    (mounted.base / f"{name}.log").write_text(done.stdout + done.stderr)
    found = re.search(r"Tests=(\d+)", done.stdout)
    count = int(found[1]) if found else 0
    assert done.returncode == 0 and "Result: PASS" in done.stdout, "\n".join(done.stdout.splitlines()[-40:])
    assert count >= PLANNED, f"only {count} of {PLANNED} assertions were made"
    return count


if __name__ == "__main__":
    run(Suite("posix", minutes=60), work, needs="assertions")
