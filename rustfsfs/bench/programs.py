"""Programs that are run to their end."""

import os
import shutil
import subprocess
from pathlib import Path

from rustfsfs.errors import MachineTrouble

ADMIN_FOLDERS = ("/usr/sbin", "/sbin")  # not on everybody's PATH: mke2fs


def run(program: str, *arguments: str | Path, **settings: str) -> None:
    """`settings` are added to the environment. Raises MachineTrouble: it is not there, or failed, and what it said."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *ADMIN_FOLDERS]))
    if found is None:
        raise MachineTrouble(f"{program} is not installed")
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, env=os.environ | settings, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise MachineTrouble(f"{program} ended with {done.returncode}: {said}")
