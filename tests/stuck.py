"""`rustfsfs mount --foreground` that gets stuck where it is told: the daemon as it is, composed with another world.

python -m tests.stuck VOLUME MOUNTPOINT KEYFILE CONTROL

While CONTROL/hold exists, the worker that opens the volume waits; while CONTROL/hang does, whoever asks for the time,
which the loop's thread does: then CONTROL/hangs appears.
"""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from rustfsfs.cli import exits
from rustfsfs.cli.main import report
from rustfsfs.errors import RustfsfsError
from rustfsfs.mount import MountOptions, serve
from rustfsfs.service import supervision
from rustfsfs.units import Nanoseconds
from rustfsfs.world import RealFiles, real_world
from tests.daemon import LOOK_EVERY_S, KeyFile


class HeldFiles(RealFiles):
    def __init__(self, hold: Path) -> None:
        super().__init__()
        self._hold = hold

    def names(self, path: str) -> list[str]:
        """Recovery begins with the names of the journal's segments."""
        while path.endswith("/journal") and self._hold.exists():
            time.sleep(LOOK_EVERY_S)
        return super().names(path)


def now_or_never(hang: Path) -> Nanoseconds:
    while hang.exists():
        hang.with_name("hangs").touch()
        time.sleep(LOOK_EVERY_S)
    return Nanoseconds(time.time_ns())


def main(volume: str, point: str, key: str, control: str) -> int:
    supervision.EXTEND_EVERY_S = 0.1
    options = MountOptions(
        volume=volume,
        mount_point=point,
        foreground=True,
        read_only=False,
        config_path=None,
        options=frozenset(),
        degraded=False,
        skip_seq=None,
    )
    files = HeldFiles(Path(control) / "hold")
    world = replace(real_world(), files=files, now_ns=partial(now_or_never, Path(control) / "hang"))
    try:
        serve(world, options, KeyFile(Path(key).read_bytes()), lambda trouble: None)
    except RustfsfsError as exc:
        return report(exc)
    return exits.DONE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
